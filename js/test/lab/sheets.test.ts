import { describe, expect, it } from "vitest";
import { countKinds, isList, kindAt } from "../../src/grid/sheet";
import type { AttentionView, GridView } from "../../src/lab/messages";
import { judge } from "../../src/lab/prediction";
import { comparedBy, differenceOf, hiddenSheet, kindOf, patternOf, sheetOf } from "../../src/lab/sheets";
import { mainGrid, opened } from "../fixtures";

const grid = (recovery: number[], state: number[], more: Partial<GridView> = {}) =>
  mainGrid({
    cells: {
      recovery: Float32Array.from(recovery),
      values: Float32Array.from(recovery, (r) => 11 * r - 6.5),
      state: Uint8Array.from(state),
    },
    noise_floor: 1e-3,
    ...more,
  });
const filled = (first: number[], rest: number) => [...first, ...Array<number>(6 - first.length).fill(rest)];
const kinds = (view: GridView, count: number) =>
  Array.from({ length: count }, (_, i) => kindAt(sheetOf(view, "logit difference"), i));

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
    expect(kindOf(state, recovery, recovery, 1e-3)).toBe(kind);
  });

  it("count the effect from the run that is patched", () => {
    const view = grid(filled([1, 0, 0.25], 1), filled([1, 1, 1], 1), { direction: "noise" });
    expect(kinds(view, 3)).toEqual(["quiet", "exact", "exact"]);
    expect([...sheetOf(view, "").effect.slice(0, 3)]).toEqual([0, -1, -0.75]);
  });

  it("are pending where nothing is known at all", () => {
    const sheet = sheetOf(opened("progress_open") as GridView, "");
    expect(countKinds(sheet).pending).toBe(4);
    expect([...sheet.effect].every(Number.isNaN)).toBe(true);
  });
});

describe("cells in words", () => {
  const sheet = sheetOf(mainGrid(), "logit difference");

  it("name place, recovery and metric for reading aloud", () => {
    expect(sheet.spoken(5)).toBe("layer 1, token ' to' (2), recovery 0.95, logit difference 4.00");
  });

  it("say what is unusual", () => {
    const view = grid(filled([Number.NaN, Number.NaN, 0.5], 0), filled([0, 3, 2], 1), { reason: "the same answer" });
    const odd = sheetOf(view, "logit difference");
    expect(odd.spoken(0)).toBe("layer 0, token 'A' (0), not measured");
    expect(odd.spoken(1)).toContain("the same answer");
    expect(odd.spoken(2)).toMatch(/recovery 0.50.*estimate$/);
    expect(sheetOf({ ...view, status: "running" }, "").spoken(0)).toContain("not measured yet");
  });

  it("have no numbers while they are pending", () => {
    expect(sheetOf(grid(filled([Number.NaN], 0), filled([0], 1)), "").tip(0).numbers).toEqual([]);
    expect(sheet.tip(2).numbers).toEqual([
      ["recovery", "0.500"],
      ["logit difference", "−1.000"],
    ]);
  });

  it("show spaces at a glance, and heads by their usual name", () => {
    expect(sheet.tip(5).place).toBe("layer 1 at ·to (2)");
    expect(sheetOf(opened("progress_open") as GridView, "").tip(3).place).toBe("head 1.1");
  });
});

describe("the difference of two grids", () => {
  const one = grid([0.5, 0.2, Number.NaN, 0.1, 0.0002, 1], [1, 2, 0, 1, 1, 1]);
  const other = grid([0.2, 0.2, 0.5, Number.NaN, 0, 1], [1, 1, 1, 3, 1, 1]);
  const sheet = differenceOf(one, other);

  it("is of recoveries, and knows where it is not known", () => {
    expect(sheet.effect[0]).toBeCloseTo(0.3);
    expect(Array.from({ length: 6 }, (_, i) => kindAt(sheet, i))).toEqual([
      "exact",
      "estimate",
      "pending",
      "unmeasurable",
      "quiet",
      "quiet",
    ]);
  });

  it("is of what the patch did where the directions are opposite", () => {
    const noise = grid([0.2, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1], { direction: "noise" });
    expect(comparedBy(one, noise)).toBe("effect");
    expect(differenceOf(one, noise).effect[0]).toBeCloseTo(0.5 - 0.8);
    expect(differenceOf(one, noise).effect[1]).toBeCloseTo(0.2);
    expect(comparedBy(one, other)).toBe("recovery");
  });

  it("tells both sides", () => {
    expect(sheet.tip(0).numbers).toEqual([
      ["difference", "+0.300"],
      ["this", "0.500"],
      ["pinned", "0.200"],
    ]);
  });
});

describe("predict first", () => {
  it("hides every value, also from those who listen", () => {
    const hidden = hiddenSheet(sheetOf(mainGrid(), "logit difference"));
    expect(countKinds(hidden).hidden).toBe(6);
    expect(hidden.spoken(5)).toBe("layer 1 at ·to (2), hidden, Enter to predict");
    expect(hidden.tip(5).numbers).toEqual([]);
    expect([...hidden.effect].every(Number.isNaN)).toBe(true);
  });

  it("ranks a prediction by size of effect", () => {
    const effect = Float32Array.from([0.1, -0.9, 0.5, Number.NaN]);
    expect(judge(effect, 2)).toEqual({ rank: 2, of: 3, best: 1 });
    expect(judge(effect, 1)).toEqual({ rank: 1, of: 3, best: 1 });
    expect(judge(effect, 3)).toBeNull();
  });
});

describe("forms", () => {
  it("of one line of neurons or layers is a list; of tokens it is not", () => {
    const axis = (name: string, size: number) => ({ axis: name, size, label: String });
    expect(isList({ rows: axis("layer", 1), cols: axis("neuron", 16384) })).toBe(true);
    expect(isList({ rows: axis("layer", 30), cols: axis("sender", 1) })).toBe(true);
    expect(isList({ rows: axis("layer", 1), cols: axis("pos", 14) })).toBe(false);
    expect(isList({ rows: axis("layer", 1), cols: axis("head", 1) })).toBe(false);
    expect(isList({ rows: axis("layer", 30), cols: axis("head", 9) })).toBe(false);
  });

  it("of a pattern has each token's attention to each", () => {
    const sheet = patternOf(opened("result_pattern") as AttentionView, "clean");
    expect([sheet.rows.axis, sheet.cols.axis, sheet.effect.length]).toEqual(["dest_pos", "src_pos", 9]);
    expect(sheet.tip(3).place).toContain("from ");
  });
});
