/** Several cells at once: what they do together, and how that compares with each alone. */
import { h, hear, memo, toggle } from "../../dom/dom";
import { signed } from "../../text/format";
import { visible } from "../../text/tokens";
import type { Actions } from "../actions";
import type { Outcome, Patch, Selection } from "../message-schema";
import type { LabState } from "../state";

/** So many patches are told one by one. */
const MOST = 6;

export function createSelection(actions: Pick<Actions, "select">, signal: AbortSignal) {
  const clear = h("button", { class: "pw-quiet", pw: "select-none" }, "Clear");
  hear(clear, "click", () => actions.select([]), signal);
  const body = h("div");
  const title = h("b");
  const element = h(
    "section",
    { class: "pw-card pw-selection", pw: "select-effect", label: "effect of the selection" },
    h("h4", "pw-heading", title, clear),
    body,
  );
  const show = memo(({ selection, tokens, hidden }: { selection: Selection; tokens: string[]; hidden: boolean }) => {
    const { cells } = selection;
    title.textContent = cells.length === 1 ? "1 cell selected" : `${cells.length} cells selected`;
    body.replaceChildren(
      ...(hidden ? [h("p", "pw-muted", "Hidden until you have predicted.")] : contents(selection, tokens)),
    );
  });

  return {
    element,
    show({ selection, pair, lab }: LabState, hidden: boolean): void {
      toggle(element, (selection?.cells.length ?? 0) > 0);
      // several prompts have several tokens at a position
      if (selection) show({ selection, tokens: (lab?.pair !== -1 && pair?.corrupted) || [], hidden });
    },
  };
}

function contents(
  { cells, status, joint, parts, synergy, explain, message, hint }: Selection,
  tokens: string[],
): Node[] {
  if (status === "failed")
    return [h("p", { class: "pw-field-error", role: "alert" }, [message, hint].filter(Boolean).join(" "))];
  const sum = parts?.reduce((total, part) => total + (part.effect ?? Number.NaN), 0);
  const rows: [string, number | null | undefined, string][] = [
    ["together", joint?.effect, "pw-joint"],
    ...(cells.length > 1
      ? ([
          ["sum of each alone", sum, ""],
          ["synergy", synergy, "pw-synergy"],
        ] as [string, number | null | undefined, string][])
      : []),
  ];
  const items = cells
    .slice(0, MOST)
    .map((patch, i) => h("li", {}, h("bdi", {}, patchText(patch, tokens)), effect(parts?.[i])));
  return [
    h(
      "div",
      "pw-effects",
      ...rows.flatMap(([name, value, style]) => [h("span", {}, name), h("span", { class: style }, number(value))]),
    ),
    h(
      "ol",
      "pw-patches",
      ...items,
      ...(cells.length > MOST ? [h("li", "pw-muted", `and ${cells.length - MOST} more`)] : []),
    ),
    h("p", "pw-muted pw-small-text", status === "cancelled" ? "Stopped before it was measured." : (explain ?? "")),
  ];
}

function effect(outcome: Outcome | undefined): HTMLElement {
  return h("span", "pw-muted", number(outcome?.effect));
}

function number(value: number | null | undefined): string {
  return value === undefined || value === null ? "…" : signed(value, 2);
}

/** {site: "z", layer: 9, head: 6, pos: 13} -> "z 9.6 at ·to (13)" */
export function patchText({ site, ...patch }: Patch, tokens: readonly string[]): string {
  const { layer, head, pos, src_pos, neuron, ...others } = patch;
  const unit = [layer, head].filter((part) => part !== undefined).join(".");
  const token = (position: string | number) => {
    const text = tokens[Number(position)];
    return text === undefined ? `position ${position}` : `${visible(text)} (${position})`;
  };
  const unitText = [site, unit].filter((part) => part !== "").join(" ");
  const more = Object.entries({ neuron, ...others }).filter(([, value]) => value !== undefined);
  const at = pos === undefined ? "" : ` at ${token(pos)}`;
  const to = src_pos === undefined ? "" : ` to ${token(src_pos)}`;
  return [unitText, ...more.map(([name, value]) => `${name} ${value}`)].join(", ") + at + to;
}
