/** Pin a grid, and see another beside it: itself, the pinned one, or the difference of both. */
import { h, hear, setText, toggle } from "../../dom/dom";
import { createSegments } from "../../dom/segments";
import { isList } from "../../grid/sheet";
import type { Store } from "../../transport/store";
import type { Actions } from "../actions";
import type { GridView } from "../messages";
import type { PaneContent } from "../pane-content";
import type { LabState } from "../state";
import type { Comparing, UiState } from "../view-state";
import { settingText } from "../wording";

export function createCompare(prefix: string, actions: Pick<Actions, "pin">, ui: Store<UiState>, signal: AbortSignal) {
  const pin = h("button", { class: "pw-quiet", pw: `${prefix}pin` });
  const segments = createSegments<Comparing>(
    "what to see",
    [
      { name: "difference", text: "difference", title: "recovery of this grid minus that of the pinned one" },
      { name: "this", text: "this" },
      { name: "pinned", text: "pinned" },
    ],
    (comparing) => ui.update((now) => ({ ...now, comparing })),
    signal,
  );
  const rank = h("button", {
    class: "pw-quiet",
    pw: `${prefix}rank`,
    title: "the order of the list",
  });
  hear(rank, "click", () => ui.update((now) => ({ ...now, ranked: !now.ranked })), signal);
  const element = h("span", "pw-compare", rank, segments.element, pin);
  let view: GridView | null = null;
  /** This grid is pinned, or compared with the pinned one: a click ends that. */
  let inUse = false;
  hear(pin, "click", () => view && actions.pin(inUse ? null : view.id), signal);

  return {
    element,
    show(state: LabState, content: PaneContent, other: GridView | null): void {
      view = content.view;
      const known = state.views.get(state.lab?.pinned ?? "");
      toggle(rank, isList(content.grid.sheet));
      setText(rank, content.grid.ranked ? "Strongest first" : "In order");
      inUse = known?.id === view.id || other !== null;
      setText(pin, inUse ? "Unpin" : "Pin");
      pin.setAttribute("aria-pressed", String(known?.id === view.id));
      pin.title = known
        ? `pinned: ${known.title}, ${settingText(known)}`
        : "keep this grid, to see the difference of another to it";
      toggle(segments.element, other !== null && !content.hidden);
      segments.element.title = other ? `pinned: ${other.title}, ${settingText(other)}` : "";
      segments.show(content.comparing);
    },
  };
}
