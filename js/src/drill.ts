/** What a click on a cell asks for. */
import type { Cell } from "./grid/cells";
import type { Ask, GridView } from "./protocol";

/** The finer measurement behind a cell; null where there is none. */
export function drill(view: GridView, cell: Cell): Ask | null {
  if (view.rows.axis !== "layer") return null;
  const layer = Number(view.rows.labels[cell.row]);
  if (view.cols.axis === "pos") return { method: "heads", params: { layer, pos: cell.col } };
  if (view.cols.axis !== "head" || view.pos === null) return null;
  return { method: "attention", params: { layer, head: Number(view.cols.labels[cell.col]), pos: view.pos } };
}
