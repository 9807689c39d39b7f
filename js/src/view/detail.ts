/** What lies behind a cell of the main grid: the heads at its position, and the attention of one of them. */
import { drill } from "../drill";
import type { Ask } from "../protocol";
import type { LabState } from "../state";
import { asking, busy, cancelId, chosenHead, crumbs, detailText } from "../wording";
import { createAttention } from "./attention";
import { createChecks } from "./checks";
import { h, memo, setText, toggle } from "./dom";
import { Grid, type Hover } from "./grid";
import { createProblem } from "./problem";
import { showBar } from "./toolbar";

export interface DetailActions {
  ask(ask: Ask): void;
  cancel(id: string): void;
  leave(): void;
  hover(hover: Hover): void;
}

export function createDetail(actions: DetailActions, signal: AbortSignal) {
  const grid = new Grid(
    {
      name: "detail-grid",
      maxCellWidth: 26,
      onOpen(view, cell) {
        const ask = drill(view, cell);
        if (ask) actions.ask(ask);
      },
      onLeave: actions.leave,
      onHover: actions.hover,
    },
    signal,
  );
  const crumb = h("span", { class: "pw-crumb", "data-pw": "crumb" });
  const status = h("span", { class: "pw-status", "data-pw": "detail-status" });
  const cancel = h("button", { type: "button", class: "pw-small", "data-pw": "detail-cancel" }, "Cancel");
  const bar = h("i");
  const progress = h(
    "div",
    { class: "pw-progress", role: "progressbar", "aria-label": "heads measured", "aria-valuemin": 0 },
    bar,
  );
  const problem = createProblem();
  const checks = createChecks();
  const attention = createAttention();
  const empty = h("p", { class: "pw-empty" }, "Click a cell to see which heads carry its effect.");
  const heads = h("div", { class: "pw-heads" }, grid.element);
  const body = h("div", { class: "pw-detail-body" }, empty, heads, attention.element);
  const element = h(
    "section",
    { class: "pw-detail", "data-pw": "detail", "aria-label": "detail" },
    h("h4", { class: "pw-heading" }, crumb, status, cancel),
    progress,
    problem.element,
    checks.banners,
    body,
    checks.line,
  );

  let running: string | null = null;
  cancel.addEventListener("click", () => running !== null && actions.cancel(running), { signal });
  const showCrumbs = memo((parts: string[]) => crumb.replaceChildren(...trail(parts)));

  return {
    element,
    focus: () => grid.focus(),
    show(state: LabState): void {
      const view = state.views.detail;
      const isBusy = busy(state, "detail");
      running = isBusy ? cancelId(state, "detail") : null;
      showCrumbs(crumbs(state));
      setText(status, detailText(state));
      toggle(cancel, isBusy);
      showBar(progress, bar, asking(state, "detail") ? 0 : (view?.done ?? 0), view?.total ?? 0, isBusy);
      problem.show(state.problems.detail);
      checks.show(view);
      toggle(empty, view === null);
      toggle(heads, view !== null);
      body.classList.toggle("pw-stale", asking(state, "detail"));
      if (view) grid.show({ view, chosen: chosenHead(state), strongCols: [], opens: true });
      attention.show(state);
    },
  };
}

/** "resid_pre › layer 23 · ·to (13) › heads", the middle one strong. */
function trail(parts: string[]): (Node | string)[] {
  return parts.flatMap((part, i) => {
    const item = h(i === 1 || parts.length === 1 ? "b" : "span", {}, h("bdi", {}, part));
    return i === 0 ? [item] : [h("span", { class: "pw-separator", "aria-hidden": "true" }, "›"), item];
  });
}
