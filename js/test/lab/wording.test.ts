import { describe, expect, it } from "vitest";
import { asked, type LabState } from "../../src/lab/state";
import { patchText } from "../../src/lab/view/selection";
import { asking, busy, progressText, spokenProgress } from "../../src/lab/wording";
import { mainGrid, stateAfter } from "../fixtures";

const withMain = (changes: object): LabState => {
  const state = stateAfter("hello");
  return { ...state, views: new Map([["v1", mainGrid(changes)]]) };
};
const request = (method: string, slot: "main" | "detail") => ({ id: "p-1", method, params: {}, slot });

describe("progress", () => {
  it.each([
    [{ status: "running", done: 328, total: 420, seconds_left: 0.2 }, "328 of 420 exact · 0.2 s left"],
    [{ status: "running", done: 0, total: 420, seconds_left: null }, "0 of 420 exact"],
    [{ status: "queued" }, "queued"],
    [{ status: "done", total: 420 }, "420 cells"],
    [{ status: "cancelled", done: 212, total: 420 }, "stopped at 212 of 420 cells"],
    [{ status: "failed", done: 3, total: 420 }, "failed at 3 of 420 cells"],
    [{ status: "running", done: 105, total: 420, seconds_left: 3, pairs: 8 }, "25% of 8 pairs · 3.0 s left"],
    [{ status: "cancelled", done: 105, total: 420, pairs: 8 }, "stopped at 25% of 8 pairs"],
  ])("%o", (changes, text) => {
    expect(progressText(withMain(changes), "main")).toBe(text);
  });

  it("tells of the connection first", () => {
    const state = withMain({ status: "running" });
    expect(progressText({ ...state, link: "lost" }, "main")).toBe("not connected");
    expect(progressText({ ...state, silent: true }, "main")).toBe("waiting for the kernel…");
    expect(progressText({ ...state, link: "stored" }, "main")).toMatch(/^saved · /);
  });

  it("is of what has been asked, until its view is opened", () => {
    const state = asked(withMain({ status: "done" }), request("set", "main"));
    expect(asking(state, "main")).toBe(true);
    expect(progressText(state, "main")).toBe("starting…");
    const opened = { ...state, views: new Map([["v1", mainGrid({ status: "running", request: "p-1" })]]) };
    expect(asking(opened, "main")).toBe(false);
    expect(busy(opened, "main")).toBe(true);
  });

  it("is said in short", () => {
    expect(spokenProgress(withMain({ status: "running", done: 105, total: 420 }))).toMatch(/25 percent measured$/);
    expect(spokenProgress(withMain({ status: "done", total: 420 }))).toMatch(/420 cells$/);
  });
});

describe("patches in words", () => {
  it.each([
    [{ site: "resid_pre", layer: 9, pos: 2 }, "resid_pre 9 at ·to (2)"],
    [{ site: "z", layer: 9, head: 6, pos: 1 }, "z 9.6 at ·John (1)"],
    [{ site: "z", layer: 9, head: 6 }, "z 9.6"],
    [{ site: "mlp_post", layer: 3, neuron: 77, pos: 2 }, "mlp_post 3, neuron 77 at ·to (2)"],
    [{ site: "pattern", layer: 1, head: 0, pos: 2, src_pos: 0 }, "pattern 1.0 at ·to (2) to A (0)"],
  ])("%o", (patch, text) => {
    expect(patchText(patch, ["A", " John", " to"])).toBe(text);
  });

  it("have their position alone where several prompts have several tokens there", () => {
    expect(patchText({ site: "z", layer: 9, head: 6, pos: 2 }, [])).toBe("z 9.6 at position 2");
  });
});
