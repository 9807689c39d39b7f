/** The way down: at each view the cell that was chosen, and what can be asked there.  Pure. */

import { compact } from "../text/format";
import { canonical } from "../transport/canonical";
import type { Question } from "../transport/messages";
import { asksKernel, knownAnswer } from "./actions";
import { cellOf, questionOf, stepsAt } from "./cells";
import type { CellRef, Step } from "./message-schema";
import type { View } from "./messages";
import { standing, viewsOn } from "./navigation";
import { chosenIn, isHidden } from "./pane-content";
import { axisOf, shortPlace } from "./sheets";
import type { LabState } from "./state";
import type { UiState } from "./view-state";
import type { Views } from "./view-tree";
import type { Way } from "./ways";
import { asking } from "./wording";

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
  const path = viewsOn(state.views, standing(state));
  const offered = new Set<string>();
  return path.flatMap((view, i) => {
    const index = view.kind === "grid" ? chosenIn(state, view) : null;
    if (view.kind === "grid" && (index === null || index >= view.rows.size * view.cols.size)) return [];
    const next = path[i + 1]?.question ?? askedAt(state, view);
    const steps = stepsAt(view, index).flatMap((step) => {
      const question = canonical(questionOf(view, index, step));
      const known = asksKernel(state) || knownAnswer(state, view, index, step) !== null;
      // what has been offered further up need not be offered again
      if (offered.has(question) || !known) return [];
      offered.add(question);
      const active = next !== null && canonical(next) === question;
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

/** What has been asked at the cell where one stands, and is not there yet. */
function askedAt({ open, moved }: LabState, view: View): Question | null {
  const asked = open.detail;
  if (!asked || moved?.request !== asked.id || moved.before === null || moved.way.at(-1)?.view !== view.id) return null;
  const { parent: _, ...params } = asked.params;
  return { method: asked.method, params };
}

/** The texts of the breadcrumb of a way: each view by its name; in front of the last the cell from which one came. */
export function crumbs({ views }: LabState, way: Way): { view: View; text: string }[] {
  const path = viewsOn(views, way);
  return path.map((view, i) => {
    const place = i > 0 && i === path.length - 1 ? placeAt(views, way[i - 1]) : "";
    return { view, text: [place, view.crumb].filter((text, at, all) => text && text !== all[at - 1]).join(" › ") };
  });
}

/** The texts of the breadcrumb where one stands; while a view is asked for, the last is the cell. */
export function crumbsHere(state: LabState): string[] {
  const way = standing(state);
  const texts = crumbs(state, way).map(({ text }) => text);
  return asking(state, "detail") ? [...texts, placeAt(state.views, way.at(-1)) || "…"] : texts;
}

/** The cell of a stop in words; "" where none is chosen. */
function placeAt(views: Views, stop: CellRef | undefined): string {
  const view = views.get(stop?.view ?? "");
  if (view?.kind !== "grid" || stop?.row == null || stop.col === null) return "";
  return shortPlace({ rows: axisOf(view.rows), cols: axisOf(view.cols) }, { row: stop.row, col: stop.col });
}
