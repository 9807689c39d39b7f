/** The way down: at each view the cell that was chosen, and what can be asked there.  Pure. */

import { asksKernel, knownAnswer } from "./actions";
import { canonical } from "./canonical";
import { cellOf, questionOf, stepsAt } from "./cells";
import { chosenIn, isHidden } from "./content";
import { compact } from "./format";
import type { View } from "./messages";
import type { Step } from "./protocol";
import { axisOf, shortPlace } from "./sheets";
import type { LabState } from "./state";
import { below, pathTo } from "./tree";
import type { UiState } from "./ui";

export interface TrailStep {
  step: Step;
  /** It leads to what is shown. */
  active: boolean;
  disabled: boolean;
}

export interface TrailLine {
  view: View;
  index: number | null;
  place: string;
  value: string;
  steps: TrailStep[];
}

/** A line for each view on the way of which a cell is chosen, or which has none to choose. */
export function trail(state: LabState, ui: UiState): TrailLine[] {
  const path = pathTo(state.views, state.current);
  const offered = new Set<string>();
  return path.flatMap((view) => {
    const index = view.kind === "grid" ? chosenIn(state, ui, view) : null;
    if (view.kind === "grid" && (index === null || index >= view.rows.size * view.cols.size)) return [];
    const next = below(path, view);
    const steps = stepsAt(view, index).flatMap((step) => {
      const question = canonical(questionOf(view, index, step));
      const known = asksKernel(state) || knownAnswer(state, view, index, step) !== null;
      // what has been offered further up need not be offered again
      if (offered.has(question) || !known) return [];
      offered.add(question);
      const active = next !== null && canonical(next.question) === question;
      return [{ step, active, disabled: step.reason !== null }];
    });
    return [{ view, index, steps, ...words(state, ui, view, index) }];
  });
}

function words(state: LabState, ui: UiState, view: View, index: number | null): { place: string; value: string } {
  if (view.kind === "attention" || index === null) return { place: view.crumb, value: "" };
  const place = shortPlace({ rows: axisOf(view.rows), cols: axisOf(view.cols) }, cellOf(view, index));
  if (isHidden(state, ui, view)) return { place, value: "" };
  const known = view.cells !== null && view.cells.state[index] !== 0;
  return { place, value: known ? compact(view.cells?.recovery[index] as number, 3) : "" };
}

/** The texts of the breadcrumb: each view by its name; in front of the last the cell it was opened at. */
export function crumbs(state: LabState): { view: View; text: string }[] {
  const path = pathTo(state.views, state.current);
  return path.map((view, i) => {
    if (i < path.length - 1) return { view, text: view.crumb };
    const parent = state.views.get(view.parent?.view ?? "");
    const cell = view.parent;
    if (parent?.kind !== "grid" || cell?.row == null || cell.col === null) return { view, text: view.crumb };
    const place = shortPlace(
      { rows: axisOf(parent.rows), cols: axisOf(parent.cols) },
      { row: cell.row, col: cell.col },
    );
    return { view, text: place === view.crumb ? place : `${place} › ${view.crumb}` };
  });
}
