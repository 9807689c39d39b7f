/** Where one stands: the way from a main grid down, with the cell chosen in each view on it.  Pure; the kernel does the same.
 *  Views are answers, and one answer may serve many cells, so the cell that was clicked is told apart from the view. */
import type { CellRef } from "./message-schema";

export type Way = CellRef[];
export type Ways = Way[];

/** The part of a way that ends at a view; null where that is not on it. */
export function upTo(way: Way, view: string): Way | null {
  const at = way.findIndex((stop) => stop.view === view);
  return at < 0 ? null : way.slice(0, at + 1);
}

/** The way to a cell of a view, which is on the way. */
export function toCell(way: Way, view: string, { row, col }: Omit<CellRef, "view">): Way {
  return [...(upTo(way, view) ?? []).slice(0, -1), { view, row, col }];
}

/** From the cell at the end of a way on to a view; back up to it where it is on the way. */
export function beyond(ways: Ways, way: Way, view: string): Way {
  const onward = [...way, { view, row: null, col: null }];
  return upTo(way, view) ?? ways.find((known) => samePlace(known, onward)) ?? onward;
}

/** The ways to all places, with this one taken. */
export function taken(ways: Ways, way: Way): Ways {
  const parts = way.map((_, i) => way.slice(0, i + 1));
  const old = ways.map((known) => parts.find((part) => samePlace(part, known)) ?? known);
  return [...old, ...parts.filter((part) => !ways.some((known) => samePlace(part, known)))];
}

/** Whether two ways lead to the same place: all but their last cells are equal. */
export function samePlace(a: Way, b: Way): boolean {
  const last = a.length - 1;
  return a.length === b.length && a.every((stop, i) => (i < last ? sameCell(stop, b[i]) : stop.view === b[i]?.view));
}

export function sameWay(a: Way, b: Way): boolean {
  return a.length === b.length && a.every((stop, i) => sameCell(stop, b[i]));
}

function sameCell(a: CellRef, b: CellRef | undefined): boolean {
  return a.view === b?.view && a.row === b.row && a.col === b.col;
}
