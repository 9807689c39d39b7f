/** The border around what is significant. */
import { inSight, type Layout, type Scroll } from "./layout";
import type { Order } from "./order";
import type { Sheet } from "./sheet";
import type { Theme } from "./theme";

type Seen = { readonly cols: readonly [number, number]; readonly lines: readonly [number, number] };

const WIDTH = 1.5;

/** The sides of outlined cells that no other outlined cell lies beyond: x0, y0, x1, y1, counted in columns and lines. */
export function sides({ significant }: Pick<Sheet, "significant">, { rowAt, count }: Order, seen: Seen) {
  const found: [number, number, number, number][] = [];
  if (!significant) return found;
  const width = significant.length / count;
  const is = (line: number, col: number) =>
    line >= 0 && line < count && col >= 0 && col < width && significant[rowAt(line) * width + col];
  for (let y = seen.lines[0]; y < seen.lines[1]; y++) {
    for (let x = seen.cols[0]; x < seen.cols[1]; x++) {
      if (!is(y, x)) continue;
      if (!is(y - 1, x)) found.push([x, y, x + 1, y]);
      if (!is(y + 1, x)) found.push([x, y + 1, x + 1, y + 1]);
      if (!is(y, x - 1)) found.push([x, y, x, y + 1]);
      if (!is(y, x + 1)) found.push([x + 1, y, x + 1, y + 1]);
    }
  }
  return found;
}

/** Draws it in the gaps between the cells, with a seam, so that it is seen beside every colour. */
export function paintOutline(
  context: CanvasRenderingContext2D,
  sheet: Sheet,
  layout: Layout,
  scroll: Scroll,
  { background, foreground }: Theme,
): void {
  const path = new Path2D();
  const { cellWidth, cellHeight, order } = layout;
  const middle = (at: number, size: number) => Math.max(WIDTH / 2, at * size - 0.5); // of the gap
  for (const [x0, y0, x1, y1] of sides(sheet, order, inSight(layout, scroll))) {
    path.moveTo(middle(x0, cellWidth), middle(y0, cellHeight));
    path.lineTo(middle(x1, cellWidth), middle(y1, cellHeight));
  }
  context.lineCap = "square";
  for (const [style, width] of [
    [background, WIDTH + 2],
    [foreground, WIDTH],
  ] as const) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.stroke(path);
  }
}
