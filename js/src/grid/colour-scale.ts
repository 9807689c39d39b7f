/** The diverging colour map of an effect: negative and positive are equally visible, also to the colour-blind. */

export type Rgb = readonly [number, number, number];

/** Colours from one end to the other, evenly spaced; the middle one is 0. */
export type Stops = readonly Rgb[];

// On a light page strength is darkness, on a dark page it is light: the stronger, the further from the background.
export const lightStops: Stops = [
  [16, 78, 148],
  [67, 138, 196],
  [146, 197, 222],
  [243, 244, 246],
  [246, 178, 148],
  [212, 92, 78],
  [165, 18, 38],
];
export const darkStops: Stops = [
  [124, 194, 255],
  [56, 126, 204],
  [36, 76, 124],
  [36, 40, 47],
  [122, 50, 44],
  [208, 82, 64],
  [255, 152, 122],
];

const HALF = 255;
const SIZE = 2 * HALF + 1;

/** A table of colours from the strongest negative effect to the strongest positive; its middle is exactly that of 0. */
export interface Scale {
  readonly stops: Stops;
  readonly table: readonly Rgb[];
}

export function makeScale(stops: Stops): Scale {
  return { stops, table: Array.from({ length: SIZE }, (_, i) => between(stops, i / (SIZE - 1))) };
}

/** The entry of a value, the same distance from the middle for v and -v; null for NaN, which has no colour.
 *  `limit` is the effect from which on the end colour is used. */
export function colourIndex(value: number, limit: number): number | null {
  if (Number.isNaN(value)) return null;
  const strength = Math.min(1, Math.abs(value) / limit);
  return HALF + Math.sign(value) * Math.round(HALF * strength);
}

export function colourOf(value: number, scale: Scale, limit: number): Rgb | null {
  const index = colourIndex(value, limit);
  return index === null ? null : (scale.table[index] as Rgb);
}

export function css([r, g, b]: Rgb): string {
  return `rgb(${r} ${g} ${b})`;
}

/** The colour of 0, which is that of no effect. */
export function neutral(scale: Scale): string {
  return css(scale.table[HALF] as Rgb);
}

/** The scale as a CSS background, from the negative end at the left. */
export function ramp({ stops }: Scale): string {
  return `linear-gradient(90deg, ${stops.map(css).join(", ")})`;
}

/** The limits that the range slider offers: 1, 2, 5 and their tenths. */
export const LIMITS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50] as const;

/** The smallest limit that holds every finite effect, but no more than 1, the whole way between both runs. */
export function autoLimit(effect: Float32Array): number {
  let most = 0;
  for (const value of effect) if (Number.isFinite(value)) most = Math.max(most, Math.abs(value));
  if (most === 0) return 1;
  return LIMITS.find((limit) => limit >= Math.min(1, most) - 1e-6) ?? 1;
}

/** Relative luminance as WCAG defines it, 0 to 1. */
export function luminance(rgb: Rgb): number {
  const [r, g, b] = rgb.map((channel) => {
    const c = channel / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function between(stops: Stops, fraction: number): Rgb {
  const at = fraction * (stops.length - 1);
  const low = Math.min(Math.floor(at), stops.length - 2);
  const [a, b] = [stops[low] as Rgb, stops[low + 1] as Rgb];
  const mix = (i: 0 | 1 | 2) => Math.round(a[i] + (at - low) * (b[i] - a[i]));
  return [mix(0), mix(1), mix(2)];
}
