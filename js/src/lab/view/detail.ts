/** What lies behind a cell of the main grid: the finest grid on the way, and beside it what can be asked next. */
import { h, hear, memo, setText, toggle } from "../../dom/dom";
import { crumbsHere } from "../breadcrumb";
import { defaultStep } from "../cells";
import type { GridView } from "../messages";
import { onView, shown, standing, viewsOn } from "../navigation";
import { isHidden } from "../pane-content";
import type { LabState } from "../state";
import { asking, busy, progressText } from "../wording";
import { createAttention } from "./attention";
import type { Deps } from "./context";
import { createSteps } from "./drilldown";
import { createPane } from "./pane";
import { createPattern } from "./pattern";
import { createSelection } from "./selection";
import { createBar } from "./toolbar";

/** `toMain` gives the focus to the main grid. */
export function createDetail(deps: Deps, toMain: () => void, signal: AbortSignal) {
  const { actions, ui } = deps;
  let state: LabState | null = null;
  /** Back to where the shown view was opened. */
  const leave = () => {
    if (!state) return false;
    const back = onView(state).slice(0, -1);
    if (back.length === 0) return false;
    actions.go(back);
    if (viewsOn(state.views, back).filter(({ kind }) => kind === "grid").length === 1) toMain();
    return true;
  };
  const pane = createPane(
    {
      prefix: "detail-",
      maxCellWidth: 34,
      onLeave: leave,
      onOpen(view, index) {
        const step = defaultStep(view, index);
        if (step) actions.take(step, view, index);
        else actions.choose(view, index);
      },
    },
    deps,
    signal,
  );
  const crumb = h("nav", { class: "pw-crumb", pw: "crumb", label: "the way here" });
  const status = h("span", { class: "pw-status", pw: "detail-status" });
  const cancel = h("button", { class: "pw-quiet", pw: "detail-cancel" }, "Cancel");
  const { progress, showBar } = createBar("detail-progress", "cells of the detail measured");
  const selection = createSelection(actions, signal);
  const steps = createSteps(actions, signal);
  const attention = createAttention();
  const pattern = createPattern(deps, leave, signal);
  const empty = h("p", "pw-empty");
  const measured = h("div", "pw-measured", pane.grid.element, pane.legend, pane.checks);
  const side = h("div", "pw-side", selection.element, steps.element, attention.element, pattern.element);
  const body = h("div", "pw-detail-body", empty, measured, side);
  const head = h("div", "pw-head", crumb, status, cancel, ...pane.tools);
  const element = h(
    "section",
    { class: "pw-detail", pw: "detail", label: "detail" },
    head,
    progress,
    ...pane.notes,
    pane.prediction,
    body,
    pane.explain,
  );

  let running: GridView | null = null;
  hear(cancel, "click", () => running && actions.cancel(running), signal);
  hear(
    crumb,
    "click",
    (event) => {
      const at = (event.target as Element).closest<HTMLElement>("[data-at]")?.dataset.at;
      if (state && at) actions.go(standing(state).slice(0, Number(at) + 1));
    },
    signal,
  );
  const showCrumbs = memo((parts: string[]) => crumb.replaceChildren(...trailOf(parts)));

  return {
    element,
    focus: () => pane.focus(),
    /** Scrolls the page as far as is needed to see the title, and some of what is under it. */
    reveal: () => head.scrollIntoView({ block: "nearest" }),
    leave,
    show(now: LabState): void {
      state = now;
      const { main, detail: grid, attention: row } = shown(now);
      const isBusy = busy(now, "detail") && now.link === "live";
      running = isBusy ? grid : null;
      const crumbs = crumbsHere(now);
      showCrumbs(crumbs.length > 1 ? crumbs : []);
      setText(status, grid || isBusy ? progressText(now, "detail") : "");
      toggle(cancel, isBusy && grid !== null);
      showBar(asking(now, "detail") ? 0 : (grid?.done ?? 0), grid?.total ?? 0, isBusy);
      for (const tool of pane.tools) toggle(tool, grid !== null);
      toggle(measured, grid !== null);
      element.style.setProperty("--pw-cells", String(widthOf(grid)));
      pane.show(now, grid, now.problems.detail);
      toggle(empty, grid === null && row === null);
      setText(empty, emptyText(now, main));
      body.classList.toggle("pw-stale", asking(now, "detail") && grid !== null);
      selection.show(now, main !== null && isHidden(now, ui.state, main));
      steps.show(now, ui.state);
      attention.show(row, row?.pair === now.lab?.pair ? (now.pair?.columns ?? null) : null);
      pattern.show(row);
    },
  };
}

function emptyText(state: LabState, main: GridView | null): string {
  if (asking(state, "detail")) return "starting…";
  if (state.link === "stored") return "Cells with a dot lead on to what was measured of them.";
  const step = main?.steps.find(({ reason }) => reason === null);
  const several = main?.patch ? " Shift-click or drag selects several." : "";
  return step ? `Click a cell to look closer: ${step.label}.${several}` : "";
}

/** Width that a grid would like for its cells. */
function widthOf(grid: GridView | null): number {
  if (!grid) return 0;
  if (grid.rows.size === 1 || grid.cols.size === 1) return 330;
  return grid.cols.size * (grid.cols.axis.endsWith("pos") ? 30 : 24);
}

/** "resid_pre › layer 23 at ·to (13) › heads", the last strong, the others lead back. */
function trailOf(parts: string[]): Node[] {
  return parts.map((text, i) => {
    const last = i === parts.length - 1;
    const words = h("bdi", {}, text);
    if (last) return h("b", { "aria-current": "page" }, words);
    const separator = h("i", { "aria-hidden": "true" }, "›");
    return h("span", {}, h("button", { "data-at": i }, words), separator);
  });
}
