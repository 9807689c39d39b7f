import { describe, expect, it } from "vitest";
import {
  autoLimit,
  colourIndex,
  colourOf,
  darkStops,
  lightStops,
  luminance,
  makeScale,
  neutral,
  type Rgb,
} from "../../src/grid/colour-scale";

const scales = [
  ["light", makeScale(lightStops)],
  ["dark", makeScale(darkStops)],
] as const;
const steps = Array.from({ length: 101 }, (_, i) => i / 100);

describe.each(scales)("the %s scale", (name, scale) => {
  const strength = (value: number) => {
    const light = luminance(colourOf(value, scale, 1) as Rgb);
    return name === "dark" ? light : 1 - light;
  };

  it("has no colour for NaN", () => {
    expect(colourOf(Number.NaN, scale, 1)).toBeNull();
  });

  it("has the neutral colour for 0 only", () => {
    expect(`rgb(${colourOf(0, scale, 1)?.join(" ")})`).toBe(neutral(scale));
    expect(colourOf(0.01, scale, 1)).not.toEqual(colourOf(0, scale, 1));
    expect(colourOf(-0.01, scale, 1)).not.toEqual(colourOf(0, scale, 1));
  });

  it("gets stronger without a turn to both sides", () => {
    for (const sign of [1, -1]) {
      const strengths = steps.map((step) => strength(sign * step));
      for (let i = 1; i < strengths.length; i++)
        expect(strengths[i]).toBeGreaterThanOrEqual((strengths[i - 1] as number) - 1e-9);
    }
  });

  it("shows negative values as strongly as positive ones", () => {
    for (const step of steps) expect(Math.abs(strength(step) - strength(-step))).toBeLessThan(0.12);
  });

  it("tells the sides apart without red and green: blue against red", () => {
    const [r1, , b1] = colourOf(0.5, scale, 1) as Rgb;
    const [r2, , b2] = colourOf(-0.5, scale, 1) as Rgb;
    expect(r1).toBeGreaterThan(b1);
    expect(b2).toBeGreaterThan(r2);
  });

  it("keeps the end colour beyond its limit, infinity included", () => {
    expect(colourOf(7, scale, 1)).toEqual(colourOf(1, scale, 1));
    expect(colourOf(Number.NEGATIVE_INFINITY, scale, 1)).toEqual(colourOf(-1, scale, 1));
  });
});

it("places v and -v at the same distance from the middle", () => {
  const middle = colourIndex(0, 1) as number;
  for (const step of steps) {
    const [up, down] = [colourIndex(step, 0.7) as number, colourIndex(-step, 0.7) as number];
    expect(up - middle).toBe(middle - down);
  }
});

it("spends its colours where they are needed with a smaller limit", () => {
  const scale = makeScale(lightStops);
  expect(colourOf(0.05, scale, 0.05)).toEqual(colourOf(1, scale, 1));
  expect(colourOf(0.05, scale, 0.1)).toEqual(colourOf(0.5, scale, 1));
});

describe("the limit of a grid", () => {
  it.each([
    ["that has no effect", [0, 0, Number.NaN], 1],
    ["of small effects", [0.003, -0.04, 0], 0.05],
    ["at a limit", [0.2, 0.1], 0.2],
    ["of whole effects", [0.98, -0.1], 1],
    ["that overshoots", [3, 0.5, Number.POSITIVE_INFINITY], 1],
  ])("%s", (_, effect, limit) => {
    expect(autoLimit(Float32Array.from(effect))).toBe(limit);
  });
});
