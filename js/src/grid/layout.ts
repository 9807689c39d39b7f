/** Where cells lie, in CSS pixels.  Pure: no DOM.
 *
 * A line is a row as it is seen, counted from the top; `Order` tells which row lies on which line. */
import type { Order } from "./order";

export type Form = "grid" | "list";
export type Scroll = { x: number; y: number };
/** A cell as it is seen. */
export type Place = { line: number; col: number };
export type Box = { left: number; top: number; width: number; height: number };

export interface GridSize {
  form: Form;
  cols: number;
  order: Order;
  /** Width of the room the grid has. */
  width: number;
  /** Room for row labels at the left, and for column labels below. */
  gutter: number;
  labelHeight: number;
  /** Cells are never wider than this; a list has one column, as wide as the room. */
  maxCellWidth: number;
}

export interface Layout extends GridSize {
  lines: number;
  cellWidth: number;
  cellHeight: number;
  /** All cells, which may be more than there is room for. */
  contentWidth: number;
  contentHeight: number;
  /** The cells in sight. */
  sightWidth: number;
  sightHeight: number;
  height: number;
}

export const MIN_CELL_WIDTH = 10;
const [MIN_CELL_HEIGHT, MAX_CELL_HEIGHT, ITEM_HEIGHT] = [6, 32, 18];
/** The height that cells share, and the most they take before they are scrolled. */
const [BODY_HEIGHT, MAX_BODY_HEIGHT] = [400, 560];
/** Room above and beside the cells for the outline of a marked one. */
export const EDGE = 2;

export function layoutGrid(size: GridSize): Layout {
  const lines = size.order.count;
  const room = Math.max(0, size.width - size.gutter - EDGE);
  const [cellWidth, cellHeight] = size.form === "list" ? [room, ITEM_HEIGHT] : cellSize(size, lines, room);
  const contentWidth = cellWidth * size.cols;
  const contentHeight = cellHeight * lines;
  const most = size.form === "list" ? BODY_HEIGHT - (BODY_HEIGHT % ITEM_HEIGHT) : MAX_BODY_HEIGHT;
  const sightHeight = Math.min(contentHeight, most);
  return {
    ...size,
    lines,
    cellWidth,
    cellHeight,
    contentWidth,
    contentHeight,
    sightWidth: Math.min(contentWidth, room),
    sightHeight,
    height: EDGE + sightHeight + size.labelHeight,
  };
}

function cellSize({ cols, maxCellWidth }: GridSize, lines: number, room: number): [number, number] {
  return [
    clamp(Math.floor(room / Math.max(1, cols)), MIN_CELL_WIDTH, maxCellWidth),
    clamp(Math.floor(BODY_HEIGHT / Math.max(1, lines)), MIN_CELL_HEIGHT, MAX_CELL_HEIGHT),
  ];
}

/** The place under a point relative to the canvas; null on labels and beside the cells. */
export function placeAt(layout: Layout, scroll: Scroll, x: number, y: number): Place | null {
  const [dx, dy] = [x - layout.gutter, y - EDGE];
  if (dx < 0 || dx >= layout.sightWidth || dy < 0 || dy >= layout.sightHeight) return null;
  return {
    line: Math.min(layout.lines - 1, Math.floor((dy + scroll.y) / layout.cellHeight)),
    col: Math.min(layout.cols - 1, Math.floor((dx + scroll.x) / layout.cellWidth)),
  };
}

/** The place nearest to a point, which may lie anywhere. */
export function nearestPlace(layout: Layout, scroll: Scroll, x: number, y: number): Place {
  const within = (value: number, size: number) => clamp(value, 0, Math.max(0, size - 1));
  const line = Math.floor((within(y - EDGE, layout.sightHeight) + scroll.y) / layout.cellHeight);
  const col = Math.floor((within(x - layout.gutter, layout.sightWidth) + scroll.x) / layout.cellWidth);
  return { line: within(line, layout.lines), col: within(col, layout.cols) };
}

export function indexAt(layout: Layout, place: Place): number {
  return layout.order.rowAt(place.line) * layout.cols + place.col;
}

export function placeOf(layout: Layout, index: number): Place {
  return { line: layout.order.lineOf(Math.floor(index / layout.cols)), col: index % layout.cols };
}

/** A cell's box relative to the upper left corner of all cells, scrolled or not. */
export function boxOf(layout: Layout, { line, col }: Place): Box {
  const { cellWidth, cellHeight } = layout;
  return { left: col * cellWidth, top: line * cellHeight, width: cellWidth, height: cellHeight };
}

/** The flat indices of the cells of a rectangle between two corners. */
export function between(layout: Layout, a: Place, b: Place): number[] {
  const [top, bottom] = [Math.min(a.line, b.line), Math.max(a.line, b.line)];
  const [left, right] = [Math.min(a.col, b.col), Math.max(a.col, b.col)];
  const indices: number[] = [];
  for (let line = top; line <= bottom; line++) {
    for (let col = left; col <= right; col++) indices.push(indexAt(layout, { line, col }));
  }
  return indices;
}

/** How far to scroll so that a place is wholly in sight, moving as little as possible. */
export function scrollTo(layout: Layout, scroll: Scroll, place: Place): Scroll {
  const { left, top } = boxOf(layout, place);
  return {
    x: nearer(scroll.x, left, layout.cellWidth, layout.sightWidth),
    y: nearer(scroll.y, top, layout.cellHeight, layout.sightHeight),
  };
}

/** Columns before the first marked one that are seen too. */
const BEFORE = 2;

/** How far to the right a grid opens: so that its first marked column is in sight. */
export function openingAt({ cellWidth, contentWidth, sightWidth }: Layout, marked: readonly boolean[]): number {
  const first = marked.indexOf(true);
  return clamp((first - BEFORE) * cellWidth, 0, Math.max(0, contentWidth - sightWidth));
}

function nearer(scroll: number, start: number, size: number, sight: number): number {
  if (start < scroll) return start;
  return start + size > scroll + sight ? start + size - sight : scroll;
}

/** Columns and lines in sight: [first, last + 1] of each. */
export function inSight(layout: Layout, scroll: Scroll): { cols: [number, number]; lines: [number, number] } {
  const range = (from: number, size: number, cell: number, count: number): [number, number] => [
    clamp(Math.floor(from / cell), 0, count),
    clamp(Math.ceil((from + size) / cell), 0, count),
  ];
  return {
    cols: range(scroll.x, layout.sightWidth, Math.max(1, layout.cellWidth), layout.cols),
    lines: range(scroll.y, layout.sightHeight, layout.cellHeight, layout.lines),
  };
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}
