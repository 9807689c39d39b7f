/** A view at the size of a word. */
import { autoLimit, colourOf } from "../../grid/colour-scale";
import type { Theme } from "../../grid/theme";
import type { View } from "../messages";
import { unpatched } from "../sheets";

export function paintThumbnail(canvas: HTMLCanvasElement, view: View, { scale, line }: Theme): void {
  const context = canvas.getContext("2d");
  const picture = context && pictureOf(view);
  if (!context || !picture) return;
  const { effect, rows, cols, upwards } = picture;
  const limit = autoLimit(effect);
  const [width, height] = [canvas.width, canvas.height];
  const image = context.createImageData(width, height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const row = Math.floor((y * rows) / height);
      const col = Math.floor((x * cols) / width);
      const colour = colourOf(effect[(upwards ? rows - 1 - row : row) * cols + col] as number, scale, limit);
      if (colour) image.data.set([...colour, 255], 4 * (y * width + x));
    }
  }
  context.putImageData(image, 0, 0);
  context.strokeStyle = line;
  context.strokeRect(0.5, 0.5, width - 1, height - 1);
}

function pictureOf(view: View): { effect: Float32Array; rows: number; cols: number; upwards: boolean } | null {
  if (view.kind === "attention") {
    if (!view.clean) return null;
    const rows = view.pos === null ? view.tokens.length : 1;
    return { effect: view.clean, rows, cols: view.clean.length / rows, upwards: false };
  }
  if (!view.cells) return null;
  const middle = unpatched(view.direction);
  const effect = view.cells.recovery.map((recovery) => recovery - middle);
  return { effect, rows: view.rows.size, cols: view.cols.size, upwards: view.rows.axis === "layer" };
}
