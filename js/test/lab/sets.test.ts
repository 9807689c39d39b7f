/** Several pairs: the mean, its outline, and the menu that leads to each pair. */
import { describe, expect, it } from "vitest";
import { downwards, upwards } from "../../src/grid/order";
import { sides } from "../../src/grid/outline";
import type { GridView } from "../../src/lab/messages";
import { differenceOf, hiddenSheet, sheetOf } from "../../src/lab/sheets";
import { received } from "../../src/lab/state";
import { pairText } from "../../src/lab/wording";
import { opened, parsed, stateAfter } from "../fixtures";

const mean = () => opened("result_mean") as GridView;
const seen = { cols: [0, 2], lines: [0, 2] } as const;

describe("the outline", () => {
  it("has the sides between what is significant and what is not", () => {
    const one = sides({ significant: Uint8Array.of(0, 1, 0, 0) }, downwards(2), seen);
    expect(one).toEqual([
      [1, 0, 2, 0],
      [1, 1, 2, 1],
      [1, 0, 1, 1],
      [2, 0, 2, 1],
    ]);
  });

  it("goes around neighbours together", () => {
    expect(sides({ significant: Uint8Array.of(1, 1, 1, 1) }, downwards(2), seen)).toHaveLength(8);
    expect(sides({ significant: Uint8Array.of(1, 1, 0, 0) }, downwards(2), seen)).toHaveLength(6);
  });

  it("lies where the cells lie: layers from the bottom up", () => {
    const [top] = sides({ significant: Uint8Array.of(1, 0, 0, 0) }, upwards(2), seen);
    expect(top).toEqual([0, 1, 1, 1]);
  });

  it("is drawn of what is in sight only", () => {
    const far = { cols: [0, 1], lines: [1, 2] } as const;
    expect(sides({ significant: Uint8Array.of(0, 1, 0, 0) }, downwards(2), far)).toEqual([]);
    expect(sides({ significant: null }, downwards(2), seen)).toEqual([]);
  });
});

describe("a mean over pairs", () => {
  const sheet = sheetOf(mean(), "logit difference");

  it("says which cells are significant, and what an outline means", () => {
    expect(sheet.spoken(1)).toBe("layer 0, role S2, recovery 1.00, logit difference 3.50, significant");
    expect(sheet.tip(1)).toMatchObject({ place: "layer 0 at role S2", note: "significant" });
    expect(sheet.spoken(4)).toBe("layer 1, role S2, recovery 0.07, logit difference −3.00");
    expect(sheet.outlined).toMatch(/^outlined: significant at 0.05/);
  });

  it("names a position at which the prompts have different tokens by its number alone", () => {
    const cols = { axis: "pos", size: 3, labels: [" a", "[1]", " b"], values: null };
    const byToken = sheetOf({ ...mean(), cols }, "logit difference");
    expect(byToken.spoken(1)).toMatch(/^layer 0, position \[1\], /);
    expect(byToken.tip(1).place).toBe("layer 0 at position [1]");
    expect(byToken.tip(2).place).toBe("layer 0 at ·b (2)");
  });

  it("is outlined neither while it is hidden nor in a difference", () => {
    expect(hiddenSheet(sheet)).toMatchObject({ significant: null, outlined: "" });
    expect(differenceOf(mean(), { ...mean(), id: "v7" })).toMatchObject({ significant: null, outlined: "" });
  });

  it("keeps its outline when a snapshot leaves the arrays out", () => {
    const state = received(stateAfter("hello"), parsed("result_mean"));
    const hello = parsed<"hello">("hello");
    const bare = { ...mean(), cells: null, significant: null, kept: true };
    const view = received(state, { ...hello, views: [...hello.views, bare] }).views.get("v6") as GridView;
    expect([...(view.significant ?? [])]).toEqual([0, 1, 1, 0, 0, 1]);
  });
});

it("pairs are called as in the menu", () => {
  const { lab } = stateAfter("hello", "lab_mean");
  expect(pairText(lab, -1)).toBe("mean of 8 pairs");
  expect(pairText(lab, 0)).toBe("A John to");
  expect(pairText(lab, 9)).toBe("another pair");
});
