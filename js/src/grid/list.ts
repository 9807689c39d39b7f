/** Draws a list: a bar from the middle for each line, and its number. */

import { colourOf, css, neutral } from "./colour-scale";
import { FONT_SIZE } from "./labels";
import type { Box } from "./layout";
import { crosses, diamonds, hatch } from "./markers";
import type { Picture, SeenCell } from "./picture";

const NUMBER_WIDTH = 58;

export function paintItems(context: CanvasRenderingContext2D, picture: Picture, cells: readonly SeenCell[]): void {
  const { layout, sheet, theme, limit } = picture;
  const half = Math.max(0, (layout.cellWidth - NUMBER_WIDTH) / 2);
  const bars = new Map<SeenCell, Box>();
  context.font = `${FONT_SIZE}px ${theme.font}`;
  context.textAlign = "right";
  context.textBaseline = "middle";
  context.fillStyle = theme.line;
  for (const { box } of cells) context.fillRect(half, box.top, 1, box.height + 1);
  for (const cell of cells) {
    const { index, kind, box } = cell;
    const effect = sheet.effect[index] as number;
    if (kind === "pending" || kind === "hidden" || kind === "unmeasurable") continue;
    const length = Math.min(1, Math.abs(effect) / limit) * half;
    const bar = { left: effect < 0 ? half - length : half, top: box.top + 3, width: length, height: box.height - 6 };
    const colour = kind === "quiet" ? null : colourOf(effect, theme.scale, limit);
    context.fillStyle = colour ? css(colour) : neutral(theme.scale);
    context.fillRect(bar.left, bar.top, bar.width, bar.height);
    bars.set(cell, bar);
    context.fillStyle = kind === "exact" ? theme.foreground : theme.muted;
    context.fillText(sheet.tip(index).numbers[0]?.[1] ?? "", layout.cellWidth - 4, box.top + box.height / 2 + 1);
  }
  const boxesOf = (kind: string) => [...bars].filter(([cell]) => cell.kind === kind).map(([, bar]) => bar);
  const middles = (kind: string) =>
    cells.filter((cell) => cell.kind === kind).map(({ box }) => ({ ...box, left: half - 8, width: 16 }));
  hatch(context, theme.background, boxesOf("estimate"));
  diamonds(context, theme.background, boxesOf("infinite"));
  crosses(context, theme.muted, middles("unmeasurable"));
  context.fillStyle = theme.faint;
  for (const { left, top, height } of middles("pending")) context.fillRect(left + 7, top + height / 2 - 1, 2, 2);
}
