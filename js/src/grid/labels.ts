/** The labels of rows and columns. */
import { shorten, visible } from "../text/tokens";
import { EDGE, inSight, type Layout } from "./layout";
import type { Picture } from "./picture";
import { type Axis, isTokens, listAxis, type Sheet } from "./sheet";
import type { Theme } from "./theme";

export const FONT_SIZE = 11;
const SLANT = Math.PI / 3.2;
const LENGTH = 12;
const [LEAST_GUTTER, MOST_GUTTER] = [34, 116];
/** Labels that are measured to find the widest; of more than these, numbers, the last is the widest. */
const MEASURED = 600;

/** A label with what can't be seen in tokens made visible. */
export function seenLabel({ axis, label }: Axis, index: number): string {
  return axis.endsWith("pos") ? visible(label(index)) : label(index);
}

export function labelOf(axis: Axis, index: number): string {
  return isTokens(axis.axis) ? shorten(seenLabel(axis, index), LENGTH) : shorten(axis.label(index), 24);
}

/** The axis that the row labels tell of. */
function rowAxis(sheet: Sheet, layout: Pick<Layout, "form">): Axis {
  return layout.form === "list" ? listAxis(sheet) : sheet.rows;
}

export function paintRowLabels(context: CanvasRenderingContext2D, picture: Picture): void {
  const { layout, sheet, theme, scroll, strongRow } = picture;
  const axis = rowAxis(sheet, layout);
  const every = interval(axis, layout);
  const [first, end] = inSight(layout, scroll).lines;
  context.textAlign = "right";
  context.textBaseline = "middle";
  const strongLine = strongRow === null ? null : layout.order.lineOf(strongRow);
  for (let line = first; line < end; line++) {
    const row = layout.order.rowAt(line);
    const strong = line === strongLine;
    const crowded = strongLine !== null && Math.abs(line - strongLine) * layout.cellHeight < FONT_SIZE + 2;
    if ((row % every !== 0 || crowded) && !strong) continue;
    const y = EDGE + (line + 0.5) * layout.cellHeight - scroll.y;
    if (y < 0 || y > EDGE + layout.sightHeight) continue;
    context.font = `${strong ? "600 " : ""}${FONT_SIZE}px ${theme.font}`;
    context.fillStyle = strong ? theme.foreground : theme.muted;
    context.fillText(labelOf(axis, row), layout.gutter - 6, y);
  }
}

/** Every how many rows there is room for a label. */
function interval(axis: Axis, { cellHeight, form, lines }: Layout): number {
  if (form === "list" || lines <= 8) return 1;
  const least = (FONT_SIZE + 1) / cellHeight;
  if (isTokens(axis.axis)) return Math.max(1, Math.ceil(least));
  return [5, 10, 20, 50].find((n) => n >= least) ?? 100;
}

export function paintColumnLabels(context: CanvasRenderingContext2D, picture: Picture): void {
  const { layout, sheet, theme, scroll, strongCols } = picture;
  const slanted = isTokens(sheet.cols.axis);
  const apart = (slanted ? FONT_SIZE : labelWidth(sheet.cols)) / layout.cellWidth;
  const every = slanted ? Math.ceil(apart) : roundInterval(apart);
  const labelled = labelledCols(layout.cols, { every, apart }, strongCols);
  const y = EDGE + layout.sightHeight + 7;
  context.textBaseline = slanted ? "middle" : "top";
  context.textAlign = slanted ? "right" : "center";
  for (const col of labelled) {
    const x = layout.gutter - scroll.x + (col + 0.5) * layout.cellWidth;
    const strong = strongCols[col] ?? false;
    if (x < layout.gutter || x > layout.gutter + layout.sightWidth) continue;
    context.font = `${strong ? "600 " : ""}${FONT_SIZE}px ${theme.font}`;
    context.fillStyle = strong ? theme.foreground : theme.muted;
    context.save();
    context.translate(x, y);
    if (slanted) context.rotate(-SLANT);
    context.fillText(labelOf(sheet.cols, col), 0, 0);
    context.restore();
  }
}

/** The columns that are labelled: every so many, and the strong ones, with nothing so near that both could not be read. */
export function labelledCols(
  count: number,
  { every, apart }: { every: number; apart: number },
  strong: readonly boolean[],
): number[] {
  const near = (col: number | undefined, other: number) => col !== undefined && Math.abs(other - col) < apart;
  const standOut: number[] = [];
  strong.forEach((is, col) => {
    if (is && !near(standOut.at(-1), col)) standOut.push(col);
  });
  const others = Array.from({ length: Math.ceil(count / every) }, (_, i) => i * every);
  return [...standOut, ...others.filter((col) => !standOut.some((one) => near(one, col)))];
}

/** What the widest label of an axis of numbers takes, in pixels. */
function labelWidth(axis: Axis): number {
  return 7 * labelOf(axis, axis.size - 1).length + 6;
}

function roundInterval(least: number): number {
  return [1, 2, 5, 10, 20, 50, 100, 200, 500].find((n) => n >= least) ?? 1000;
}

/** The height that the column labels need, and the width that the row labels do. */
export function labelRoom(
  context: CanvasRenderingContext2D | null,
  sheet: Sheet,
  form: Layout["form"],
  font: Theme["font"],
): { labelHeight: number; gutter: number } {
  const rows = rowAxis(sheet, { form });
  const gutter = Math.ceil(widest(context, rows, font)) + 12;
  const slanted = form === "grid" && isTokens(sheet.cols.axis);
  const length = slanted ? widest(context, sheet.cols, font) * Math.sin(SLANT) : 0;
  return {
    gutter: Math.max(LEAST_GUTTER, Math.min(MOST_GUTTER, gutter)),
    labelHeight: form === "list" ? 4 : Math.ceil(length + FONT_SIZE + (slanted ? 6 : 10)),
  };
}

function widest(context: CanvasRenderingContext2D | null, axis: Axis, font: string): number {
  if (!context) return 50;
  context.font = `600 ${FONT_SIZE}px ${font}`;
  const indices = axis.size > MEASURED ? [axis.size - 1] : Array.from({ length: axis.size }, (_, i) => i);
  return Math.max(0, ...indices.map((index) => context.measureText(labelOf(axis, index)).width));
}
