/** The signs that tell the states of cells apart without colour.  All of one kind are one path: thousands cost a few strokes. */
import { neutral } from "./colour-scale";
import type { Box } from "./layout";
import type { Picture, SeenCell } from "./picture";
import type { Kind } from "./sheet";

/** A cell without effect is a smaller tile. */
export const inset = (side: number) => Math.min(1.5, side / 4);

export function paintSigns(context: CanvasRenderingContext2D, { theme }: Picture, cells: readonly SeenCell[]): void {
  const of = (kind: Kind) => cells.filter((cell) => cell.kind === kind).map((cell) => cell.box);
  fill(context, neutral(theme.scale), of("quiet"), (path, { left, top, width, height }) => {
    path.rect(left + inset(width), top + inset(height), width - 2 * inset(width), height - 2 * inset(height));
  });
  fill(context, theme.soft, of("hidden"), (path, { left, top, width, height }) => path.rect(left, top, width, height));
  fill(context, theme.faint, of("pending"), (path, { left, top, width, height }) =>
    path.rect(left + width / 2 - 1, top + height / 2 - 1, 2, 2),
  );
  hatch(context, theme.background, of("estimate"));
  diamonds(context, theme.background, of("infinite"));
  crosses(context, theme.muted, of("unmeasurable"));
}

/** Slanted lines over an estimate: as wide as its cell, and the same on every colour. */
export function hatch(context: CanvasRenderingContext2D, style: string, boxes: readonly Box[]): void {
  const path = new Path2D();
  const step = 5;
  for (const { left, top, width, height } of boxes) {
    const right = left + width;
    for (let x = left + step - ((left + top) % step); x < right + height; x += step) {
      const [from, to] = [Math.max(0, x - right), Math.min(height, x - left)];
      if (to <= from) continue;
      path.moveTo(x - from, top + from);
      path.lineTo(x - to, top + to);
    }
  }
  context.strokeStyle = style;
  context.lineWidth = 1.4;
  context.globalAlpha = 0.75;
  context.stroke(path);
  context.globalAlpha = 1;
}

export function diamonds(context: CanvasRenderingContext2D, style: string, boxes: readonly Box[]): void {
  fill(context, style, boxes, (path, { left, top, width, height }) => {
    const [x, y, size] = [left + width / 2, top + height / 2, Math.min(width, height) * 0.32];
    path.moveTo(x, y - size);
    path.lineTo(x + size, y);
    path.lineTo(x, y + size);
    path.lineTo(x - size, y);
  });
}

export function crosses(context: CanvasRenderingContext2D, style: string, boxes: readonly Box[]): void {
  const path = new Path2D();
  for (const { left, top, width, height } of boxes) {
    const [x, y, size] = [left + width / 2, top + height / 2, Math.min(width, height) * 0.25];
    path.moveTo(x - size, y - size);
    path.lineTo(x + size, y + size);
    path.moveTo(x + size, y - size);
    path.lineTo(x - size, y + size);
  }
  context.strokeStyle = style;
  context.lineWidth = 1;
  context.stroke(path);
}

function fill(
  context: CanvasRenderingContext2D,
  style: string,
  boxes: readonly Box[],
  shape: (path: Path2D, box: Box) => void,
): void {
  if (boxes.length === 0) return;
  const path = new Path2D();
  for (const box of boxes) shape(path, box);
  context.fillStyle = style;
  context.fill(path);
}
