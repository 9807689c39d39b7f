/** What a pane draws of a view: as it is, hidden, or compared with the pinned one.  Pure. */
import { remember } from "../dom/memo";
import { autoLimit } from "../grid/colour-scale";
import type { GridContent } from "../grid/grid";
import { coordinates, flatIndex, indexOn, inPatch, selectedIn } from "./cells";
import type { GridView } from "./messages";
import { onView, standing } from "./navigation";
import { comparedBy, differenceOf, hiddenSheet, sheetOf, unpatched } from "./sheets";
import type { LabState } from "./state";
import type { Comparing, UiState } from "./view-state";
import { comparable, visitedCells } from "./view-tree";
import { pairText } from "./wording";

export interface PaneContent {
  view: GridView;
  grid: GridContent;
  /** Recovery in the middle of the scale; 0 in a difference. */
  middle: number;
  unit: string;
  /** What is compared; null where there is nothing to compare with. */
  comparing: Comparing | null;
  hidden: boolean;
}

export function createPaneContent() {
  const sheet = remember(sheetOf);
  const pinnedSheet = remember(sheetOf);
  const difference = remember(differenceOf);
  const hide = remember(hiddenSheet);
  const auto = remember(autoLimit);
  const selected = remember(selectedIn);
  const visited = remember(visitedCells);

  return (state: LabState, ui: UiState, view: GridView): PaneContent => {
    const metric = metricLabel(state, view.metric);
    const pinned = pinnedFor(state, view);
    const comparing = pinned ? ui.comparing : null;
    const hidden = isHidden(state, ui, view);
    const plain = comparing === "pinned" && pinned ? pinnedSheet(pinned, metric) : sheet(view, metric);
    const seen = comparing === "difference" && pinned ? difference(view, pinned) : plain;
    const shown = hidden ? hide(seen) : { ...seen, id: view.id };
    const key = limitKey(view, comparing);
    return {
      view,
      hidden,
      comparing,
      middle: comparing === "difference" ? 0 : unpatched((comparing === "pinned" && pinned ? pinned : view).direction),
      unit: comparing === "difference" && pinned ? `difference of ${comparedBy(view, pinned)}` : "recovery",
      grid: {
        sheet: comparing === "difference" && pinned ? { ...shown, title: differenceTitle(state, view, pinned) } : shown,
        limit: ui.limits[key] ?? auto(seen.effect),
        chosen: chosenIn(state, view),
        selected:
          ui.dragged?.view === view.id ? new Set(ui.dragged.indices) : selected(view, state.selection?.cells ?? []),
        visited: visited(state.lab?.ways ?? [], view),
        ring: state.lab?.teach ? (ui.marks[view.id] ?? null) : null,
        strongCols: differing(state, view),
        strongRow: markedRow(state, view),
        ranked: ui.ranked,
        stage: stageOf(view),
        opens: hidden || view.steps.some((step) => step.reason === null),
      },
    };
  };
}

/** "Difference to resid_pre": the pinned grid by what is another there. */
function differenceTitle({ lab }: LabState, view: GridView, pinned: GridView): string {
  const others = (["site", "metric", "direction"] as const).filter((name) => view[name] !== pinned[name]);
  const pair = view.pair === pinned.pair ? [] : [pairText(lab, pinned.pair)];
  return `Difference to ${[...others.map((name) => pinned[name]), ...pair].join(", ") || pinned.title}`;
}

export function limitKey(view: GridView, comparing: Comparing | null): string {
  return comparing === "difference" ? `${view.id} difference` : view.id;
}

export function metricLabel(state: LabState, metric: string): string {
  return state.lab?.metrics.find((one) => one.name === metric)?.label ?? metric;
}

/** The pinned grid, where it can be compared with this one. */
export function pinnedFor(state: LabState, view: GridView): GridView | null {
  const pinned = state.views.get(state.lab?.pinned ?? "");
  return pinned?.kind === "grid" && comparable(pinned, view) ? pinned : null;
}

/** Values are hidden until the student has marked a cell. */
export function isHidden(state: LabState, ui: UiState, view: GridView): boolean {
  return (state.lab?.teach ?? false) && ui.marks[view.id] === undefined;
}

/** The cell of a grid at which one stands, or stood where that grid is still on view. */
export function chosenIn(state: LabState, view: GridView): number | null {
  const stop = [...standing(state), ...onView(state)].find((one) => one.view === view.id);
  return stop ? flatIndex(view, stop) : null;
}

function differing({ lab, pair }: LabState, view: GridView): readonly boolean[] {
  if (!pair || view.cols.axis !== "pos" || view.pair !== lab?.pair) return [];
  const side = pair.clean.length === view.cols.size ? 0 : 1;
  const marked: boolean[] = [];
  pair.columns.forEach((column, i) => {
    const position = column[side];
    if (position !== null) marked[position] = pair.differs[i] ?? false;
  });
  return marked;
}

/** The row of a grid that the cell one came from lies in, where no column is. */
function markedRow(state: LabState, { id, rows, cols }: GridView): number | null {
  const way = onView(state);
  const cell = way[way.findIndex((stop) => stop.view === id) - 1];
  const from = state.views.get(cell?.view ?? "");
  const index = from?.kind === "grid" && cell ? flatIndex(from, cell) : null;
  if (from?.kind !== "grid" || index === null) return null;
  const at = Object.entries(coordinates(from, index)).map(([axis, value]) => [inPatch(axis), value] as const);
  const known: Record<string, string | number> = { ...from.patch, ...Object.fromEntries(at) };
  const place = (axis: GridView["rows"]) => {
    const value = known[axis.axis];
    return axis.size > 1 && value !== undefined ? indexOn(axis, value) : null;
  };
  return place(cols) === null ? place(rows) : null;
}

/** Changes when a list should be ranked anew: once there are numbers, and when all are final. */
function stageOf({ cells, status }: GridView): string {
  return status === "running" || status === "queued" ? (cells ? "running" : "empty") : status;
}
