import { describe, expect, it } from "vitest";
import { createCost } from "../../src/lab/cost";
import type { Preview } from "../../src/lab/message-schema";
import type { GridView } from "../../src/lab/messages";
import type { LabState } from "../../src/lab/state";
import { parsed, stateAfter, viewOf } from "../fixtures";

const whole = stateAfter("hello", "result");
const words = (count: number) => Array.from({ length: count }, () => " a");
const typed = (clean: number, corrupted: number): Preview => ({
  ...parsed<"preview">("preview"),
  clean: words(clean),
  corrupted: words(corrupted),
  problems: [],
});
/** The lab at a main grid of 30 layers, of prompts of 3 tokens. */
function lab(preview: Preview | null, changes: Partial<GridView> = {}): LabState {
  const grid = viewOf(whole, "v1") as GridView;
  const view = { ...grid, rows: { ...grid.rows, size: 30 }, ...changes };
  return { ...whole, preview, views: new Map([["v1", view]]) };
}
const running = { status: "running", done: 10, total: 90, seconds_left: 8 } as const; // 0.1 s for each of 3 tokens

describe("the cost of typed prompts", () => {
  it("is cells alone where no pace has been seen", () => {
    expect(createCost()(lab(typed(1000, 1000)))).toBe("30,000 cells");
  });

  it("is of the prompt that is patched, or of heads, of which there are as many in every prompt", () => {
    const cost = createCost();
    expect(cost(lab(typed(9, 10)))).toBe("300 cells");
    expect(cost(lab(typed(9, 10), { direction: "noise" }))).toBe("270 cells");
    const heads = { axis: "head", size: 9, labels: null, values: null };
    expect(cost(lab(typed(9, 10), { cols: heads }))).toBe("270 cells");
  });

  it.each([
    [3, "90 cells, about 9 s"],
    [6, "180 cells, about 36 s"],
    [30, "900 cells, about 15 min"],
    [300, "9,000 cells, about 25 h"],
  ])("of %i tokens is in time what their length makes of the pace that was seen", (tokens, text) => {
    const cost = createCost();
    cost(lab(null, running));
    expect(cost(lab(typed(tokens, tokens)))).toBe(text);
    expect(cost(lab(typed(tokens, tokens), { site: "mlp_out" }))).not.toContain("about");
  });

  it("is not told of what can't be measured", () => {
    const cost = createCost();
    expect(cost(lab(null))).toBe("");
    expect(cost(lab({ ...typed(4, 4), problems: [{ field: "clean", message: "no", hint: null }] }))).toBe("");
    expect(cost(lab(typed(0, 0)))).toBe("");
  });
});
