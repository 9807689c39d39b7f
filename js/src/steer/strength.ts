/** The strength slider's scale, and what a ladder says at any strength.  Pure. */
import type { Ladder } from "./messages";

/** Steps of the slider from the middle to an end. */
export const STEPS = 100;

/** The strength at a place of the slider, -STEPS to STEPS: fine around 0, and of three digits. */
export function strengthAt(place: number, limit: number): number {
  const t = place / STEPS;
  return Number((limit * Math.sign(t) * t * t).toPrecision(3));
}

/** The nearest place of a strength. */
export function placeOf(strength: number, limit: number): number {
  const t = Math.sqrt(Math.min(1, Math.abs(strength) / limit));
  return Math.round(Math.sign(strength) * t * STEPS) || 0;
}

/** Where a strength lies in a ladder: between rung `low` and the next one, `part` of the way. Beyond the ends, the end. */
export function rungAt(strengths: Float32Array, strength: number): { low: number; part: number } {
  let low = 0;
  let high = strengths.length - 1;
  if (high < 0 || strength <= at(strengths, 0)) return { low: 0, part: 0 };
  if (strength >= at(strengths, high)) return { low: Math.max(0, high - 1), part: high > 0 ? 1 : 0 };
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (at(strengths, middle) <= strength) low = middle;
    else high = middle;
  }
  const [a, b] = [at(strengths, low), at(strengths, high)];
  return { low, part: Math.fround(strength) === a ? 0 : (strength - a) / (b - a) };
}

const at = (numbers: Float32Array, i: number) => numbers[i] as number;

/** One number of a ladder at any strength: on a straight line between those that were computed. */
function between(numbers: Float32Array, { low, part }: { low: number; part: number }, width = 1, column = 0): number {
  const from = at(numbers, low * width + column);
  return part === 0 ? from : from + part * (at(numbers, (low + 1) * width + column) - from);
}

export function klAt(ladder: Ladder, strength: number): number {
  return between(ladder.kl, rungAt(ladder.strengths, strength));
}

export function probabilityAt(ladder: Ladder, token: number, strength: number): number {
  return between(ladder.probabilities, rungAt(ladder.strengths, strength), ladder.tokens.length, token);
}

export interface Bar {
  token: number;
  base: number;
  steered: number;
}

/** The likeliest next tokens at a strength, likeliest first. */
export function barsAt(ladder: Ladder, strength: number, count: number): Bar[] {
  const rung = rungAt(ladder.strengths, strength);
  const width = ladder.tokens.length;
  const bars: Bar[] = [];
  for (let token = 0; token < width; token++) {
    bars.push({ token, base: at(ladder.base, token), steered: between(ladder.probabilities, rung, width, token) });
  }
  return bars.sort((a, b) => b.steered - a.steered || b.base - a.base).slice(0, count);
}

/** The highest probability in a ladder: what a whole bar stands for. */
export function highest({ base, probabilities }: Ladder): number {
  return Math.max(1e-6, base.reduce(larger, 0), probabilities.reduce(larger, 0));
}

const larger = (a: number, b: number) => Math.max(a, b);

/** The tokens to draw as curves: the likeliest without steering, and those that are likeliest at either end. */
export function curveTokens(ladder: Ladder): number[] {
  const width = ladder.tokens.length;
  const best = (numbers: Float32Array) => numbers.reduce((top, p, i) => (p > at(numbers, top) ? i : top), 0);
  const rung = (i: number) => ladder.probabilities.subarray(i * width, (i + 1) * width);
  const last = ladder.strengths.length - 1;
  return width === 0 ? [] : [...new Set([best(ladder.base), best(rung(last)), best(rung(0))])];
}

/** The next of 1, 2, 5 times a power of ten. */
export function roundUp(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((step) => step * power >= value * (1 - 1e-9)) ?? 10) * power;
}
