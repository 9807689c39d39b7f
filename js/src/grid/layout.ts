/** Where cells lie, in CSS pixels.  Pure: no DOM. */
import type { Cell } from "./cells";

export interface GridSize {
  rows: number;
  cols: number;
  /** Width of the room the grid has. */
  width: number;
  /** Room for row labels at the left, and for column labels below. */
  gutter: number;
  labelHeight: number;
  /** Cells are never wider than this. */
  maxCellWidth: number;
  /** Row 0 at the bottom, as layers are. */
  upwards: boolean;
}

export interface Layout extends GridSize {
  cellWidth: number;
  cellHeight: number;
  /** Width of all columns, which may be more than there is room for. */
  contentWidth: number;
  /** Width of the columns in sight. */
  sightWidth: number;
  bodyHeight: number;
  height: number;
}

export const MIN_CELL_WIDTH = 10;
const BODY_HEIGHT = 400;
const [MIN_CELL_HEIGHT, MAX_CELL_HEIGHT] = [7, 32];
/** Room above and beside the cells for the outline of a marked one. */
export const EDGE = 2;

export function layoutGrid(size: GridSize): Layout {
  const room = Math.max(0, size.width - size.gutter - EDGE);
  const cellWidth = clamp(Math.floor(room / Math.max(1, size.cols)), MIN_CELL_WIDTH, size.maxCellWidth);
  const cellHeight = clamp(Math.floor(BODY_HEIGHT / Math.max(1, size.rows)), MIN_CELL_HEIGHT, MAX_CELL_HEIGHT);
  const contentWidth = cellWidth * size.cols;
  const bodyHeight = cellHeight * size.rows;
  return {
    ...size,
    cellWidth,
    cellHeight,
    contentWidth,
    sightWidth: Math.min(contentWidth, room),
    bodyHeight,
    height: EDGE + bodyHeight + size.labelHeight,
  };
}

/** The number of lines of the drawing from the top to a row, and back: the same swap both ways. */
export function lineOf(layout: Pick<Layout, "rows" | "upwards">, row: number): number {
  return layout.upwards ? layout.rows - 1 - row : row;
}

/** The cell under a point relative to the canvas; null on labels and beside the grid. */
export function cellAt(layout: Layout, scroll: number, x: number, y: number): Cell | null {
  const inSight = x - layout.gutter;
  if (inSight < 0 || inSight >= layout.sightWidth) return null;
  const col = Math.floor((inSight + scroll) / layout.cellWidth);
  const line = Math.floor((y - EDGE) / layout.cellHeight);
  if (col < 0 || col >= layout.cols || line < 0 || line >= layout.rows) return null;
  return { row: lineOf(layout, line), col };
}

/** A cell's box relative to the upper left corner of all cells, scrolled or not. */
export function boxOf(layout: Layout, cell: Cell): { left: number; top: number; width: number; height: number } {
  return {
    left: cell.col * layout.cellWidth,
    top: lineOf(layout, cell.row) * layout.cellHeight,
    width: layout.cellWidth,
    height: layout.cellHeight,
  };
}

/** How far to scroll so that a column is wholly in sight, moving as little as possible. */
export function scrollTo(layout: Layout, scroll: number, col: number): number {
  const left = col * layout.cellWidth;
  const right = left + layout.cellWidth;
  if (left < scroll) return left;
  return right > scroll + layout.sightWidth ? right - layout.sightWidth : scroll;
}

/** Columns in sight: [first, last + 1]. */
export function columnsInSight(layout: Layout, scroll: number): [number, number] {
  const first = Math.max(0, Math.floor(scroll / layout.cellWidth));
  const end = Math.min(layout.cols, Math.ceil((scroll + layout.sightWidth) / layout.cellWidth));
  return [first, end];
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}
