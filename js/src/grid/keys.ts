/** What keys do on a grid (the ARIA grid pattern).  Pure: no DOM. */
import type { Place } from "./layout";

export interface Keyed {
  key: string;
  ctrlKey: boolean;
  metaKey: boolean;
  altKey: boolean;
  shiftKey: boolean;
}
export type Action =
  /** With `extends`, the cells between are selected. */
  { kind: "move"; to: Place; extends: boolean } | { kind: "activate" } | { kind: "select" } | { kind: "leave" };
export interface Extent {
  lines: number;
  cols: number;
  /** Lines that PageUp and PageDown move by. */
  page: number;
}

/** The action of a key pressed at a place; null when the key is not the grid's. */
export function actionOf(event: Keyed, at: Place, extent: Extent): Action | null {
  if (event.altKey) return null;
  const to = event.ctrlKey || event.metaKey ? corner(event.key, extent) : moved(event.key, at, extent);
  if (to) return { kind: "move", to: within(to, extent), extends: event.shiftKey };
  if (event.shiftKey || event.ctrlKey || event.metaKey) return null;
  if (event.key === "Enter") return { kind: "activate" };
  if (event.key === " ") return { kind: "select" };
  return event.key === "Escape" ? { kind: "leave" } : null;
}

function moved(key: string, { line, col }: Place, { lines, cols, page }: Extent): Place | null {
  switch (key) {
    case "ArrowUp":
      return { line: line - 1, col };
    case "ArrowDown":
      return { line: line + 1, col };
    case "ArrowLeft":
      return { line, col: col - 1 };
    case "ArrowRight":
      return { line, col: col + 1 };
    case "PageUp":
      return { line: line - page, col };
    case "PageDown":
      return { line: line + page, col };
    // a list has one column: there they go to its ends
    case "Home":
      return { line: cols === 1 ? 0 : line, col: 0 };
    case "End":
      return { line: cols === 1 ? lines - 1 : line, col: cols - 1 };
    default:
      return null;
  }
}

/** First cell of the top line, or last cell of the bottom one. */
function corner(key: string, { lines, cols }: Extent): Place | null {
  if (key === "Home") return { line: 0, col: 0 };
  return key === "End" ? { line: lines - 1, col: cols - 1 } : null;
}

function within({ line, col }: Place, { lines, cols }: Extent): Place {
  const clamp = (value: number, count: number) => Math.max(0, Math.min(count - 1, value));
  return { line: clamp(line, lines), col: clamp(col, cols) };
}
