/** Draws the cells in sight on a 2D context, in CSS pixels. */
import { colourOf, css, neutral } from "./colour-scale";
import { paintColumnLabels, paintRowLabels } from "./labels";
import { type Box, boxOf, EDGE, indexAt, inSight } from "./layout";
import { paintItems } from "./list";
import { paintSigns } from "./markers";
import { paintOutline } from "./outline";
import type { Picture, SeenCell } from "./picture";
import { type Kind, kindAt, type Sheet } from "./sheet";
import type { Theme } from "./theme";

const GAP = 1;

export function paintGrid(context: CanvasRenderingContext2D, picture: Picture): void {
  const { layout, theme, scroll } = picture;
  context.fillStyle = theme.background;
  context.fillRect(0, 0, layout.width, layout.height);
  const cells = seenCells(picture);
  context.save();
  context.beginPath();
  context.rect(layout.gutter, EDGE, layout.sightWidth, layout.sightHeight);
  context.clip();
  context.translate(layout.gutter - scroll.x, EDGE - scroll.y);
  if (layout.form === "list") paintItems(context, picture, cells);
  else {
    paintColours(context, picture);
    paintSigns(context, picture, cells);
  }
  paintOutline(context, picture.sheet, layout, scroll, theme);
  paintMarks(context, picture, cells);
  context.restore();
  paintRowLabels(context, picture);
  if (layout.form === "grid") paintColumnLabels(context, picture);
}

export function seenCells({ layout, sheet, scroll }: Pick<Picture, "layout" | "sheet" | "scroll">): SeenCell[] {
  const { cols, lines } = inSight(layout, scroll);
  const cells: SeenCell[] = [];
  for (let line = lines[0]; line < lines[1]; line++) {
    for (let col = cols[0]; col < cols[1]; col++) {
      const index = indexAt(layout, { line, col });
      const { left, top, width, height } = boxOf(layout, { line, col });
      cells.push({ index, kind: kindAt(sheet, index), box: { left, top, width: width - GAP, height: height - GAP } });
    }
  }
  return cells;
}

const bySign: ReadonlySet<Kind> = new Set(["pending", "unmeasurable", "quiet", "hidden"]);

/** The colours in sight as a picture of one pixel for each cell, enlarged: quick for any number of cells. */
function paintColours(context: CanvasRenderingContext2D, { layout, sheet, theme, scroll, limit }: Picture): void {
  const { cols, lines } = inSight(layout, scroll);
  const [width, height] = [cols[1] - cols[0], lines[1] - lines[0]];
  if (width <= 0 || height <= 0) return;
  const image = context.createImageData(width, height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const index = indexAt(layout, { line: lines[0] + y, col: cols[0] + x });
      const colour = bySign.has(kindAt(sheet, index))
        ? null
        : colourOf(sheet.effect[index] as number, theme.scale, limit);
      if (colour) image.data.set([...colour, 255], 4 * (y * width + x));
    }
  }
  const pixels = theme.pixels(width, height);
  pixels.getContext("2d")?.putImageData(image, 0, 0);
  const { cellWidth, cellHeight } = layout;
  const [left, top] = [cols[0] * cellWidth, lines[0] * cellHeight];
  context.imageSmoothingEnabled = false;
  context.drawImage(pixels, 0, 0, width, height, left, top, width * cellWidth, height * cellHeight);
  context.fillStyle = theme.background;
  for (let x = 1; x <= width; x++) context.fillRect(left + x * cellWidth - GAP, top, GAP, height * cellHeight);
  for (let y = 1; y <= height; y++) context.fillRect(left, top + y * cellHeight - GAP, width * cellWidth, GAP);
}

/** Which cells are selected, were predicted, or lead somewhere that has been seen. */
function paintMarks(context: CanvasRenderingContext2D, picture: Picture, cells: SeenCell[]): void {
  const { theme, selected, visited, ring } = picture;
  for (const { index, box } of cells) {
    if (visited.has(index) && box.width >= 9 && box.height >= 6) {
      context.fillStyle = theme.background;
      context.fillRect(box.left + 1, box.top + box.height - 5, 4, 4);
      context.fillStyle = theme.foreground;
      context.fillRect(box.left + 2, box.top + box.height - 4, 2, 2);
    }
    if (selected.has(index)) outline(context, box, theme.foreground, theme.background);
    if (ring === index) outline(context, box, theme.accent, theme.background);
  }
}

/** Two lines, so that it is seen on every colour. */
function outline(context: CanvasRenderingContext2D, box: Box, outer: string, inner: string): void {
  context.lineWidth = 2;
  context.strokeStyle = outer;
  context.strokeRect(box.left + 1, box.top + 1, box.width - 2, box.height - 2);
  if (box.height < 9) return;
  context.lineWidth = 1;
  context.strokeStyle = inner;
  context.strokeRect(box.left + 2.5, box.top + 2.5, box.width - 5, box.height - 5);
}

/** The colour of a cell as drawn; that of 0 where a sign tells more. */
export function fillOf(sheet: Sheet, index: number, { scale }: Pick<Theme, "scale">, limit: number): string {
  const colour = bySign.has(kindAt(sheet, index)) ? null : colourOf(sheet.effect[index] as number, scale, limit);
  return colour ? css(colour) : neutral(scale);
}
