/** Draws a grid on a 2D context, in CSS pixels. */
import type { GridView } from "../protocol";
import { colourOf, neutral } from "../scale";
import type { Theme } from "../theme";
import { shorten, visible } from "../tokens";
import { effectOf, isTokens, type Kind, kindOf } from "./cells";
import { columnsInSight, EDGE, type Layout, lineOf } from "./layout";

export interface Picture {
  layout: Layout;
  view: GridView;
  theme: Theme;
  scroll: number;
  /** One pixel for each cell, top line first; cells that are drawn by a sign are transparent. */
  pixels: HTMLCanvasElement;
  /** Columns whose label stands out, and the row that does. */
  strongCols: readonly boolean[];
  strongRow: number | null;
}

type Box = { x: number; y: number; w: number; h: number };

const FONT_SIZE = 11;
const SLANT = Math.PI / 3.2;
const LABEL_LENGTH = 12;
const GAP = 1;

/** The colours of all cells as a small picture, to be enlarged when drawn: quick for any number of cells. */
export function paintPixels(canvas: HTMLCanvasElement, view: GridView, theme: Theme, layout: Layout): void {
  const { rows, cols } = layout;
  canvas.width = cols;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  if (!context) return;
  const image = context.createImageData(cols, rows);
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) {
      const index = row * cols + col;
      const colour = drawnBySign(kindOf(view, index)) ? null : colourOf(effectOf(view, index), theme.scale);
      if (colour) image.data.set([...colour, 255], 4 * (lineOf(layout, row) * cols + col));
    }
  }
  context.putImageData(image, 0, 0);
}

function drawnBySign(kind: Kind): boolean {
  return kind === "pending" || kind === "unmeasurable" || kind === "quiet";
}

export function paintGrid(context: CanvasRenderingContext2D, picture: Picture): void {
  const { layout, theme, scroll } = picture;
  context.fillStyle = theme.background;
  context.fillRect(0, 0, layout.width, layout.height);
  context.font = `${FONT_SIZE}px ${theme.font}`;
  context.save();
  context.beginPath();
  context.rect(layout.gutter, EDGE, layout.sightWidth, layout.bodyHeight);
  context.clip();
  context.translate(layout.gutter - scroll, EDGE);
  paintColours(context, picture);
  paintSigns(context, picture);
  context.restore();
  paintRowLabels(context, picture);
  paintColumnLabels(context, picture);
}

function paintColours(context: CanvasRenderingContext2D, { layout, pixels, theme, scroll }: Picture): void {
  const { cellWidth, cellHeight, rows, bodyHeight } = layout;
  const [first, end] = columnsInSight(layout, scroll);
  const [left, width] = [first * cellWidth, (end - first) * cellWidth];
  if (width <= 0) return;
  context.imageSmoothingEnabled = false;
  context.drawImage(pixels, first, 0, end - first, rows, left, 0, width, bodyHeight);
  context.fillStyle = theme.background;
  for (let col = first; col < end; col++) context.fillRect((col + 1) * cellWidth - GAP, 0, GAP, bodyHeight);
  for (let line = 0; line < rows; line++) context.fillRect(left, (line + 1) * cellHeight - GAP, width, GAP);
}

/** A cell without effect is a smaller tile. */
const inset = (side: number) => Math.min(1, side / 4);

/** The signs of all cells of one kind are one path: thousands of cells cost a few strokes. */
function paintSigns(context: CanvasRenderingContext2D, { layout, view, theme, scroll }: Picture): void {
  const boxes = new Map<Kind, Box[]>();
  const [first, end] = columnsInSight(layout, scroll);
  for (let row = 0; row < layout.rows; row++) {
    for (let col = first; col < end; col++) {
      const kind = kindOf(view, row * layout.cols + col);
      if (kind === "exact") continue;
      const box = {
        x: col * layout.cellWidth,
        y: lineOf(layout, row) * layout.cellHeight,
        w: layout.cellWidth - GAP,
        h: layout.cellHeight - GAP,
      };
      const sameKind = boxes.get(kind);
      if (sameKind) sameKind.push(box);
      else boxes.set(kind, [box]);
    }
  }
  fill(context, neutral(theme.scale), boxes.get("quiet"), (path, { x, y, w, h }) =>
    path.rect(x + inset(w), y + inset(h), w - 2 * inset(w), h - 2 * inset(h)),
  );
  fill(
    context,
    theme.muted,
    boxes.get("pending"),
    (path, { x, y, w, h }) => path.rect(x + w / 2 - 1, y + h / 2 - 1, 2, 2),
    0.45,
  );
  fill(context, theme.background, boxes.get("estimate"), (path, { x, y, w, h }) => {
    const size = Math.min(w, h) * 0.6;
    path.moveTo(x + w, y);
    path.lineTo(x + w, y + size);
    path.lineTo(x + w - size, y);
  });
  fill(context, theme.background, boxes.get("infinite"), (path, { x, y, w, h }) => {
    const size = Math.min(w, h) * 0.3;
    path.moveTo(x + w / 2, y + h / 2 - size);
    path.lineTo(x + w / 2 + size, y + h / 2);
    path.lineTo(x + w / 2, y + h / 2 + size);
    path.lineTo(x + w / 2 - size, y + h / 2);
  });
  cross(context, theme.muted, boxes.get("unmeasurable") ?? []);
}

function fill(
  context: CanvasRenderingContext2D,
  style: string,
  boxes: Box[] | undefined,
  shape: (path: Path2D, box: Box) => void,
  alpha = 1,
): void {
  if (!boxes) return;
  const path = new Path2D();
  for (const box of boxes) shape(path, box);
  context.globalAlpha = alpha;
  context.fillStyle = style;
  context.fill(path);
  context.globalAlpha = 1;
}

function cross(context: CanvasRenderingContext2D, style: string, boxes: Box[]): void {
  context.beginPath();
  for (const { x, y, w, h } of boxes) {
    const [cx, cy, size] = [x + w / 2, y + h / 2, Math.min(w, h) * 0.25];
    context.moveTo(cx - size, cy - size);
    context.lineTo(cx + size, cy + size);
    context.moveTo(cx + size, cy - size);
    context.lineTo(cx - size, cy + size);
  }
  context.strokeStyle = style;
  context.lineWidth = 1;
  context.stroke();
}

function paintRowLabels(context: CanvasRenderingContext2D, { layout, view, theme, strongRow }: Picture): void {
  const every = layout.rows <= 8 ? 1 : 5;
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (let row = 0; row < layout.rows; row++) {
    const strong = row === strongRow;
    const crowded = strongRow !== null && !strong && Math.abs(row - strongRow) * layout.cellHeight < FONT_SIZE + 2;
    if ((row % every !== 0 || crowded) && !strong) continue;
    context.fillStyle = strong ? theme.foreground : theme.muted;
    const y = EDGE + (lineOf(layout, row) + 0.5) * layout.cellHeight;
    context.fillText(view.rows.labels[row] ?? "", layout.gutter - 6, y);
  }
}

function paintColumnLabels(context: CanvasRenderingContext2D, picture: Picture): void {
  const { layout, view, theme, scroll, strongCols } = picture;
  const slanted = isTokens(view.cols.axis);
  const every = slanted ? Math.ceil(FONT_SIZE / layout.cellWidth) : Math.ceil(18 / layout.cellWidth);
  const [first, end] = columnsInSight(layout, scroll);
  const y = EDGE + layout.bodyHeight + 7;
  context.textBaseline = slanted ? "middle" : "top";
  context.textAlign = slanted ? "right" : "center";
  for (let col = first; col < end; col++) {
    const x = layout.gutter - scroll + (col + 0.5) * layout.cellWidth;
    if (col % every !== 0 || x < layout.gutter || x > layout.gutter + layout.sightWidth) continue;
    const strong = strongCols[col] ?? false;
    context.font = `${strong ? "600 " : ""}${FONT_SIZE}px ${theme.font}`;
    context.fillStyle = strong ? theme.foreground : theme.muted;
    context.save();
    context.translate(x, y);
    if (slanted) context.rotate(-SLANT);
    context.fillText(columnLabel(view, col), 0, 0);
    context.restore();
  }
}

function columnLabel(view: GridView, col: number): string {
  const label = view.cols.labels[col] ?? "";
  return isTokens(view.cols.axis) ? shorten(visible(label), LABEL_LENGTH) : label;
}

/** The height that the column labels need. */
export function labelHeight(context: CanvasRenderingContext2D | null, view: GridView, font: string): number {
  if (!isTokens(view.cols.axis)) return FONT_SIZE + 10;
  if (!context) return 60;
  context.font = `600 ${FONT_SIZE}px ${font}`;
  const widest = Math.max(0, ...view.cols.labels.map((_, col) => context.measureText(columnLabel(view, col)).width));
  return Math.ceil(widest * Math.sin(SLANT) + FONT_SIZE + 6);
}
