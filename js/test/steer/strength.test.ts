/** The strength slider's scale, and ladders read at any strength. */
import { describe, expect, it } from "vitest";
import type { Ladder } from "../../src/steer/messages";
import {
  barsAt,
  curveTokens,
  highest,
  klAt,
  placeOf,
  probabilityAt,
  roundUp,
  rungAt,
  STEPS,
  strengthAt,
} from "../../src/steer/strength";

const ladder: Ladder = {
  row: "r1",
  key: "k",
  strengths: Float32Array.of(-2, -0.5, 0, 0.5, 2),
  tokens: [" a", " b", " c"],
  base: Float32Array.of(0.5, 0.25, 0.125),
  probabilities: Float32Array.of(0, 0, 1, 0.25, 0.25, 0.5, 0.5, 0.25, 0.125, 0.25, 0.5, 0.125, 0, 1, 0),
  kl: Float32Array.of(4, 1, 0, 1, 4),
};

describe("the strength slider", () => {
  it("is fine around 0 and reaches its limit", () => {
    expect([0, 1, 10, 50, STEPS, -STEPS].map((place) => strengthAt(place, 5))).toEqual([0, 0.0005, 0.05, 1.25, 5, -5]);
  });

  it("gives each place its own strength, and back", () => {
    for (let place = -STEPS; place <= STEPS; place++) expect(placeOf(strengthAt(place, 3), 3)).toBe(place);
  });

  it("stays at its end beyond the limit", () => {
    expect(placeOf(7, 5)).toBe(STEPS);
    expect(placeOf(-7, 5)).toBe(-STEPS);
  });
});

describe("a ladder", () => {
  it("says what was computed at its rungs", () => {
    for (const [i, strength] of ladder.strengths.entries()) {
      expect(klAt(ladder, strength)).toBe(ladder.kl[i]);
      expect(probabilityAt(ladder, 2, strength)).toBe(ladder.probabilities[i * 3 + 2]);
    }
  });

  it("is straight between them and level beyond its ends", () => {
    expect(klAt(ladder, 1.25)).toBeCloseTo(2.5);
    expect(probabilityAt(ladder, 1, -1.25)).toBeCloseTo(0.125);
    expect([klAt(ladder, 9), klAt(ladder, -9)]).toEqual([4, 4]);
    expect(rungAt(Float32Array.of(1), 5)).toEqual({ low: 0, part: 0 });
  });

  it("lists the likeliest tokens at a strength with what they were", () => {
    expect(barsAt(ladder, 2, 2)).toEqual([
      { token: 1, base: 0.25, steered: 1 },
      { token: 0, base: 0.5, steered: 0 },
    ]);
    expect(barsAt(ladder, 0, 9).map(({ base, steered }) => base === steered)).toEqual([true, true, true]);
  });

  it("has its curves' tokens and its whole bar", () => {
    expect(curveTokens(ladder)).toEqual([0, 1, 2]);
    expect(highest(ladder)).toBe(1);
    expect([0.3, 1, 1.2, 7, 0].map(roundUp)).toEqual([0.5, 1, 2, 10, 1]);
  });
});
