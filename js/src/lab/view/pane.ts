/** A grid with all that belongs to it: comparison, prediction, legend, checks, explanation, and what to do with it. */
import { toggle } from "../../dom/dom";
import { createProblem } from "../../dom/problem";
import { Grid } from "../../grid/grid";
import type { By, SelectionChange } from "../../grid/input";
import type { Problem } from "../../transport/messages";
import { indexOfPatch, patchOf } from "../cells";
import type { Patch } from "../message-schema";
import type { GridView } from "../messages";
import { createPaneContent, limitKey, type PaneContent, pinnedFor } from "../pane-content";
import type { LabState } from "../state";
import { createChecks } from "./checks";
import { createCompare } from "./compare";
import type { Deps } from "./context";
import { createExplain } from "./explain";
import { createLegend } from "./legend";
import { createPaneMenu } from "./pane-menu";
import { createPrediction } from "./prediction";

export interface PaneOptions {
  /** Put in front of the values of data-pw. */
  prefix: "" | "detail-";
  maxCellWidth: number;
  onOpen(view: GridView, index: number, by: By): void;
  onLeave(): boolean;
}

export function createPane({ prefix, maxCellWidth, onOpen, onLeave }: PaneOptions, deps: Deps, signal: AbortSignal) {
  const { actions, ui } = deps;
  let state: LabState | null = null;
  let content: PaneContent | null = null;
  const contentOf = createPaneContent();

  const grid = new Grid(
    {
      name: `${prefix}grid`,
      maxCellWidth,
      onLeave,
      onHover: deps.hover,
      onTheme: deps.theme,
      onOpen(index, by) {
        if (!content) return;
        const { view, hidden } = content;
        if (hidden) return ui.update((now) => ({ ...now, marks: { ...now.marks, [view.id]: index } }));
        onOpen(view, index, by);
      },
      onSelect(change) {
        if (!content?.view.patch || content.hidden || !state) return;
        const { view } = content;
        ui.update((now) => ({ ...now, dragged: change.final ? null : { view: view.id, indices: change.indices } }));
        if (change.final) actions.select(selectionWith(state, view, change));
      },
    },
    signal,
  );
  const limit = (value: number | null) => {
    if (!content) return;
    const key = limitKey(content.view, content.comparing);
    ui.update(({ limits: { [key]: _, ...limits }, ...now }) => ({
      ...now,
      limits: value === null ? limits : { ...limits, [key]: value },
    }));
  };
  const legend = createLegend(prefix, { limit }, signal);
  const checks = createChecks(`${prefix}checks`);
  const explain = createExplain(`${prefix}explain`, (folded) => ui.update((now) => ({ ...now, folded })), signal);
  const problem = createProblem();
  const prediction = createPrediction(signal, () => {
    const id = content?.view.id ?? "";
    ui.update(({ marks: { [id]: _, ...marks }, ...now }) => ({ ...now, marks }));
  });
  const compare = createCompare(prefix, actions, ui, signal);
  const menu = createPaneMenu(prefix, deps, signal);

  return {
    grid,
    /** What is drawn, by name. */
    title: () => content?.grid.sheet.title ?? "",
    legend: legend.element,
    checks: checks.line,
    /** Above the grid: what went wrong. */
    notes: [problem.element, checks.banners],
    prediction: prediction.element,
    explain: explain.element,
    tools: [compare.element, menu.element],
    focus: () => grid.focus(),

    show(now: LabState, view: GridView | null, trouble: Problem | undefined): void {
      state = now;
      content = view && contentOf(now, ui.state, view);
      problem.show(trouble);
      checks.show(content?.hidden ? null : view);
      const shown = content;
      legend.show(
        shown && { sheet: shown.grid.sheet, limit: shown.grid.limit, middle: shown.middle, name: shown.unit },
      );
      explain.show(view?.explain ?? "", ui.state.folded ?? ui.state.narrow);
      for (const element of [legend.element, grid.element]) toggle(element, prefix === "" || view !== null);
      prediction.show(now, ui.state, content);
      if (!view || !content) return;
      grid.show(content.grid);
      compare.show(now, content, pinnedFor(now, view));
      menu.show(now, content);
    },
  };
}

/** The selection with these cells of a view; with `adds`, what is selected in other grids stays. */
function selectionWith(state: LabState, view: GridView, { indices, adds }: SelectionChange): Patch[] {
  const others = adds ? (state.selection?.cells ?? []).filter((patch) => indexOfPatch(view, patch) === null) : [];
  return [...others, ...indices.map((index) => patchOf(view, index)).filter((patch) => patch !== null)];
}
