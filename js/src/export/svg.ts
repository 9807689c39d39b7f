/** A grid as an SVG picture of its own, with title, labels, legend and the signs of its cells. */
import { seenLabel } from "../grid/labels";
import { byStrength, downwards, upwards } from "../grid/order";
import { sides } from "../grid/outline";
import { fillOf } from "../grid/paint";
import { isList, isTokens, kindAt, listAxis, type Sheet } from "../grid/sheet";
import type { Theme } from "../grid/theme";
import { brief } from "../text/format";

export interface SvgContent {
  sheet: Sheet;
  title: string;
  /** What was measured, in a line. */
  caption: string;
  limit: number;
  middle: number;
  theme: Pick<Theme, "scale" | "background" | "foreground" | "muted">;
}

const [TOP, GAP, FONT] = [34, 1, 11];
/** Glyphs are about this wide. */
const GLYPH = 6.6;
/** Of a list only the strongest are drawn. */
const MOST_ITEMS = 40;

export function toSvg(whole: SvgContent): string {
  const content = isList(whole.sheet) ? { ...whole, sheet: strongest(whole.sheet) } : whole;
  const { sheet, theme } = content;
  const { rows, cols } = sheet;
  const drawn = rows.size;
  const labels = (axis: Sheet["rows"], count: number) => Array.from({ length: count }, (_, i) => seenLabel(axis, i));
  const [rowLabels, colLabels] = [labels(rows, drawn), labels(cols, cols.size)];
  const [w, h] = [clamp(700 / cols.size, 6, 40), clamp(420 / drawn, content === whole ? 8 : 16, 28)];
  const left = 16 + Math.max(...rowLabels.map((label) => label.length)) * GLYPH;
  const slanted = isTokens(cols.axis);
  const below = slanted ? Math.max(...colLabels.map((label) => label.length)) * GLYPH * 0.85 + 14 : 22;
  const order = (rows.axis === "layer" ? upwards : downwards)(drawn);
  const y = (row: number) => TOP + order.lineOf(row) * h;
  const bottom = TOP + drawn * h;
  const { outlined } = sheet;
  const width = Math.max(left + cols.size * w + 16, 420, 32 + outlined.length * GLYPH);
  const height = bottom + below + (outlined ? 60 : 44);

  const tiles: string[] = [];
  for (let row = 0; row < drawn; row++)
    for (let col = 0; col < cols.size; col++) {
      const index = row * cols.size + col;
      const [x, top] = [left + col * w, y(row)];
      tiles.push(rect(x, top, w - GAP, h - GAP, fillOf(sheet, index, theme, content.limit)));
      tiles.push(sign(sheet, index, x, top, w - GAP, h - GAP, theme));
    }
  const seen = { cols: [0, cols.size], lines: [0, drawn] } as const;
  const outline = sides(sheet, order, seen)
    .map(([x, y0, x1, y1]) => `M${r(left + x * w)} ${r(TOP + y0 * h)}L${r(left + x1 * w)} ${r(TOP + y1 * h)}`)
    .join("");
  const [everyRow, everyCol] = [Math.ceil(13 / h), Math.ceil((slanted ? 12 : 20) / w)];
  const rowTexts = rowLabels.map((label, row) =>
    row % everyRow ? "" : words(left - 6, y(row) + h / 2 + 4, label, theme.muted, "end"),
  );
  const colTexts = colLabels.map((label, col) => {
    if (col % everyCol) return "";
    const x = left + (col + 0.5) * w;
    if (!slanted) return words(x, bottom + 14, label, theme.muted, "middle");
    return words(x, bottom + 8, label, theme.muted, "end", `transform="rotate(-56 ${r(x)} ${r(bottom + 8)})"`);
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${r(width)}" height="${r(height)}" viewBox="0 0 ${r(width)} ${r(height)}" font-family="system-ui, sans-serif" font-size="${FONT}">`,
    `<title>${escaped(content.title)}</title>`,
    rect(0, 0, width, height, theme.background),
    `<g font-weight="600" font-size="13">${words(16, 20, content.title, theme.foreground, "start")}</g>`,
    ...tiles,
    ...[theme.background, theme.foreground].map(
      (style, i) => `<path d="${outline}" fill="none" stroke="${style}" stroke-width="${3.5 - 2 * i}"/>`,
    ),
    ...rowTexts,
    ...colTexts,
    ...legend(content, 16, bottom + below + 10),
    words(16, bottom + below + 36, outlined, theme.muted, "start"),
    words(16, height - 8, content.caption, theme.muted, "start"),
    "</svg>",
  ].join("");
}

/** The strongest of a list, one under the other. */
function strongest(sheet: Sheet): Sheet {
  const { rowAt } = byStrength(sheet.effect);
  const chosen = Array.from({ length: Math.min(MOST_ITEMS, sheet.effect.length) }, (_, line) => rowAt(line));
  const along = listAxis(sheet);
  const label = (i: number) => {
    const index = chosen[i] as number;
    return `${along.axis} ${along.label(index)}: ${sheet.tip(index).numbers[0]?.[1] ?? ""}`;
  };
  return {
    ...sheet,
    rows: { axis: "item", size: chosen.length, label },
    cols: { axis: "", size: 1, label: () => "" },
    effect: Float32Array.from(chosen, (index) => sheet.effect[index] as number),
    kinds: Uint8Array.from(chosen, (index) => sheet.kinds[index] as number),
    significant: sheet.significant && Uint8Array.from(chosen, (index) => sheet.significant?.[index] ?? 0),
  };
}

function legend({ theme, limit, middle }: SvgContent, x: number, y: number): string[] {
  const [low, high] = [`≤ ${brief(middle - limit)}`, `≥ ${brief(middle + limit)}`];
  const { stops } = theme.scale;
  const colours = stops.map((c, i) => `<stop offset="${i / (stops.length - 1)}" stop-color="rgb(${c.join(",")})"/>`);
  return [
    `<defs><linearGradient id="scale">${colours.join("")}</linearGradient></defs>`,
    words(x, y + 9, low, theme.muted, "start"),
    rect(x + 56, y, 110, 10, "url(#scale)"),
    words(x + 172, y + 9, high, theme.muted, "start"),
  ];
}

function sign(
  sheet: Sheet,
  index: number,
  x: number,
  y: number,
  w: number,
  h: number,
  { background, muted }: SvgContent["theme"],
): string {
  const [cx, cy, s] = [x + w / 2, y + h / 2, Math.min(w, h) * 0.27];
  const path = (d: string, style: string) => `<path d="${d}" ${style}/>`;
  switch (kindAt(sheet, index)) {
    case "quiet":
      return path(`M${r(x)} ${r(y)}h${r(w)}v${r(h)}h${r(-w)}z`, `fill="none" stroke="${background}" stroke-width="3"`);
    case "pending":
    case "hidden":
      return rect(x, y, w, h, background) + rect(cx - 1, cy - 1, 2, 2, muted);
    case "estimate":
      return path(
        `M${r(x)} ${r(y + h / 2)}L${r(x + w / 2)} ${r(y)}M${r(x)} ${r(y + h)}L${r(x + w)} ${r(y)}M${r(x + w / 2)} ${r(y + h)}L${r(x + w)} ${r(y + h / 2)}`,
        `stroke="${background}" stroke-width="1.4" stroke-opacity="0.75"`,
      );
    case "infinite":
      return path(`M${r(cx)} ${r(cy - s)}l${r(s)} ${r(s)}l${r(-s)} ${r(s)}l${r(-s)} ${r(-s)}z`, `fill="${background}"`);
    case "unmeasurable": {
      const cross = `M${r(cx - s)} ${r(cy - s)}l${r(2 * s)} ${r(2 * s)}m0 ${r(-2 * s)}l${r(-2 * s)} ${r(2 * s)}`;
      return rect(x, y, w, h, background) + path(cross, `stroke="${muted}"`);
    }
    default:
      return "";
  }
}

function rect(x: number, y: number, w: number, h: number, fill: string): string {
  return `<rect x="${r(x)}" y="${r(y)}" width="${r(w)}" height="${r(h)}" fill="${fill}"/>`;
}

function words(x: number, y: number, content: string, fill: string, anchor: string, more = ""): string {
  return `<text x="${r(x)}" y="${r(y)}" fill="${fill}" text-anchor="${anchor}" ${more}>${escaped(content)}</text>`;
}

// characters that XML does not allow are shown by `visible` in tokens, and do not occur elsewhere
function escaped(content: string): string {
  return content.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

function r(value: number): number {
  return Math.round(value * 100) / 100;
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}
