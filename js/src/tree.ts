/** The tree of views: where one stands, the way there, and what has been seen before. */
import { canonical } from "./canonical";
import { flatIndex } from "./cells";
import type { AttentionView, GridView, View } from "./messages";
import type { Question, Setting } from "./protocol";

export type Views = ReadonlyMap<string, View>;

/** From the main grid down to the view one stands at. */
export function pathTo(views: Views, id: string | null): View[] {
  const path: View[] = [];
  for (let at = id; at !== null; ) {
    const view = views.get(at);
    if (!view || path.includes(view)) break;
    path.unshift(view);
    at = view.parent?.view ?? null;
  }
  return path;
}

/** What is on the page: the main grid, the finest other grid on the way, and the attention of one of its heads. */
export interface Shown {
  main: GridView | null;
  detail: GridView | null;
  attention: AttentionView | null;
}

export function shownAt(views: Views, id: string | null): Shown {
  const path = pathTo(views, id);
  const grids = path.filter((view) => view.kind === "grid");
  const last = path.at(-1);
  return {
    main: grids[0] ?? null,
    detail: grids.length > 1 ? (grids.at(-1) ?? null) : null,
    attention: last?.kind === "attention" ? last : null,
  };
}

/** The view below this one on the way to where one stands. */
export function below(path: readonly View[], view: View): View | null {
  return path[path.indexOf(view) + 1] ?? null;
}

/** The cells of a grid that a view was opened at. */
export function visitedCells(views: Views, grid: GridView): Set<number> {
  const cells = [...views.values()].filter((view) => view.parent?.view === grid.id);
  return new Set(cells.map((view) => flatIndex(grid, view.parent)).filter((index) => index !== null));
}

export function roots(views: Views): View[] {
  return [...views.values()].filter((view) => view.parent === null || !views.has(view.parent.view));
}

export function childrenOf(views: Views, id: string): View[] {
  return [...views.values()].filter((view) => view.parent?.view === id);
}

export function settingOf({ pair, site, metric, direction }: Setting): Setting {
  return { pair, site, metric, direction };
}

/** The view that answers a question under a setting; null where there is none.  What a question asks tells its site itself. */
export function answered(views: Views, question: Question, { pair, metric, direction }: Setting): View | null {
  const wanted = canonical([question, pair, metric, direction]);
  const is = (view: View) => canonical([view.question, view.pair, view.metric, view.direction]) === wanted;
  return [...views.values()].find(is) ?? null;
}

/** The main grid of a setting. */
export function mainGridOf(views: Views, setting: Setting): View | null {
  const of = (view: View) => canonical(settingOf(view)) === canonical(settingOf(setting));
  return roots(views).find(of) ?? null;
}

/** Whether the difference of two grids can be drawn. */
export function comparable(a: GridView, b: GridView): boolean {
  const same = (side: "rows" | "cols") => a[side].axis === b[side].axis && a[side].size === b[side].size;
  return a.id !== b.id && same("rows") && same("cols");
}

/** Whether there is something to show of it. */
export function isWhole(view: View): boolean {
  return !view.kept && (view.kind === "grid" ? view.cells !== null : view.clean !== null);
}
