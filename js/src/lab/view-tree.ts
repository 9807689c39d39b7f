/** The views that there are: which of them answers a question, and which can be compared. */
import { canonical } from "../transport/canonical";
import type { Question } from "../transport/messages";
import { flatIndex } from "./cells";
import type { Setting } from "./message-schema";
import type { GridView, View } from "./messages";
import type { Ways } from "./ways";

export type Views = ReadonlyMap<string, View>;

/** The cells of a grid from which one has gone on to another view. */
export function visitedCells(ways: Ways, grid: GridView): Set<number> {
  const cells = ways.flatMap((way) => way.slice(0, -1)).filter(({ view }) => view === grid.id);
  return new Set(cells.map((cell) => flatIndex(grid, cell)).filter((index) => index !== null));
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
  return [...views.values()].find((view) => view.parent === null && of(view)) ?? null;
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
