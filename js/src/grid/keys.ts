/** What keys do on a grid (the ARIA grid pattern).  Pure: no DOM. */
import type { Cell } from "./cells";

const PAGE = 5;

export interface Keyed {
  key: string;
  ctrlKey: boolean;
  metaKey: boolean;
  altKey: boolean;
  shiftKey: boolean;
}
export type Action = { kind: "move"; to: Cell } | { kind: "activate" } | { kind: "leave" };

/** The action of a key pressed on a cell; null when the key is not the grid's. */
export function actionOf(
  event: Keyed,
  at: Cell,
  size: { rows: number; cols: number; upwards: boolean },
): Action | null {
  if (event.altKey || event.shiftKey) return null;
  const all = event.ctrlKey || event.metaKey;
  if (all) return event.key === "Home" || event.key === "End" ? corner(event.key, size) : null;
  if (event.key === "Enter" || event.key === " ") return { kind: "activate" };
  if (event.key === "Escape") return { kind: "leave" };
  const up = size.upwards ? 1 : -1;
  switch (event.key) {
    case "ArrowUp":
      return move(at.row + up, at.col, size);
    case "ArrowDown":
      return move(at.row - up, at.col, size);
    case "ArrowLeft":
      return move(at.row, at.col - 1, size);
    case "ArrowRight":
      return move(at.row, at.col + 1, size);
    case "PageUp":
      return move(at.row + PAGE * up, at.col, size);
    case "PageDown":
      return move(at.row - PAGE * up, at.col, size);
    case "Home":
      return move(at.row, 0, size);
    case "End":
      return move(at.row, size.cols - 1, size);
    default:
      return null;
  }
}

/** First cell of the top row, or last cell of the bottom row, as the grid is seen. */
function corner(key: "Home" | "End", size: { rows: number; cols: number; upwards: boolean }): Action {
  const top = size.upwards ? size.rows - 1 : 0;
  const bottom = size.upwards ? 0 : size.rows - 1;
  return key === "Home" ? move(top, 0, size) : move(bottom, size.cols - 1, size);
}

function move(row: number, col: number, size: { rows: number; cols: number }): Action {
  const within = (value: number, count: number) => Math.max(0, Math.min(count - 1, value));
  return { kind: "move", to: { row: within(row, size.rows), col: within(col, size.cols) } };
}
