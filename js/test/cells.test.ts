import { describe, expect, it } from "vitest";
import { drill } from "../src/drill";
import { effectOf, kindOf, numbers, shortPlace, spoken, stateInWords } from "../src/grid/cells";
import { mainGrid, stateAfter } from "./fixtures";

const grid = (recovery: number[], state: number[], more = {}) =>
  mainGrid({ recovery: Float32Array.from(recovery), state: Uint8Array.from(state), noise_floor: 1e-3, ...more });

describe("kinds of cells", () => {
  it.each([
    ["pending", Number.NaN, 0, "pending"],
    ["exact", 0.5, 1, "exact"],
    ["estimated", 0.5, 2, "estimate"],
    ["not measurable", Number.NaN, 3, "unmeasurable"],
    ["exact but without a recovery", Number.NaN, 1, "unmeasurable"],
    ["of an unknown state", 0.5, 9, "unmeasurable"],
    ["infinite", Number.NEGATIVE_INFINITY, 1, "infinite"],
    ["within the noise", -0.0005, 1, "quiet"],
    ["an estimate of nearly nothing", 0.0005, 2, "estimate"],
  ])("%s", (_, recovery, state, kind) => {
    expect(kindOf(grid([recovery], [state]), 0)).toBe(kind);
  });

  it("count the effect from the run that is patched", () => {
    const noise = grid([1, 0, 0.25], [1, 1, 1], { direction: "noise" });
    expect([0, 1, 2].map((i) => kindOf(noise, i))).toEqual(["quiet", "exact", "exact"]);
    expect([0, 1, 2].map((i) => effectOf(noise, i))).toEqual([0, -1, -0.75]);
  });
});

describe("cells in words", () => {
  it("name place, recovery and metric for reading aloud", () => {
    expect(spoken(mainGrid(), { row: 1, col: 2 })).toBe(
      "layer 1, token ' to' (2), recovery 0.95, logit difference 4.00",
    );
  });

  it("say what is unusual", () => {
    const view = grid([Number.NaN, Number.NaN, 0.5], [0, 3, 2], { reason: "the prompts have the same answer" });
    expect(spoken(view, { row: 0, col: 0 })).toBe("layer 0, token 'A' (0), not measured");
    expect(spoken(view, { row: 0, col: 1 })).toContain("the prompts have the same answer");
    expect(spoken(view, { row: 0, col: 2 })).toMatch(/recovery 0.50.*estimate$/);
    expect(stateInWords({ ...view, status: "running" }, 0)).toBe("not measured yet");
  });

  it("have no numbers while they are pending", () => {
    expect(numbers(grid([Number.NaN], [0]), { row: 0, col: 0 })).toEqual([]);
    expect(numbers(mainGrid(), { row: 0, col: 2 })).toEqual([
      ["recovery", "0.500"],
      ["logit difference", "−1.000"],
    ]);
  });

  it("show spaces at a glance", () => {
    expect(shortPlace(mainGrid(), { row: 1, col: 2 })).toBe("layer 1 · ·to (2)");
  });
});

describe("a click", () => {
  const { main, detail } = stateAfter("hello", "progress_open").views;
  if (!main || !detail) throw new Error("the fixture has both grids");

  it("on a token asks for the heads there", () => {
    expect(drill(main, { row: 1, col: 2 })).toEqual({ method: "heads", params: { layer: 1, pos: 2 } });
  });
  it("on a head asks for its attention from the same position", () => {
    expect(drill(detail, { row: 1, col: 0 })).toEqual({ method: "attention", params: { layer: 1, head: 0, pos: 2 } });
  });
  it("goes by labels where only some layers were measured", () => {
    const some = { ...main, rows: { axis: "layer", labels: ["10", "20"] } };
    expect(drill(some, { row: 1, col: 0 })?.params).toMatchObject({ layer: 20 });
  });
  it("leads nowhere on other grids", () => {
    expect(drill({ ...detail, pos: null }, { row: 0, col: 0 })).toBeNull();
    expect(drill({ ...main, rows: { axis: "head", labels: ["0"] } }, { row: 0, col: 0 })).toBeNull();
  });
});
