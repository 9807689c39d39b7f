import { describe, expect, it } from "vitest";
import { asked } from "../src/state";
import {
  busy,
  cancelId,
  chosenCell,
  chosenHead,
  crumbs,
  detailText,
  explanation,
  progressText,
  spokenProgress,
} from "../src/wording";
import { mainGrid, stateAfter } from "./fixtures";

const withMain = (changes: object) => {
  const state = stateAfter("hello");
  return { ...state, views: { ...state.views, main: mainGrid(changes) } };
};

describe("progress", () => {
  it.each([
    [{ status: "running", done: 328, total: 420, seconds_left: 0.2 }, "328 of 420 cells · 0.2 s left"],
    [{ status: "running", done: 0, total: 420, seconds_left: null }, "0 of 420 cells"],
    [{ status: "queued" }, "queued"],
    [{ status: "done", total: 420 }, "420 cells"],
    [{ status: "cancelled", done: 212, total: 420 }, "stopped at 212 of 420 cells"],
    [{ status: "failed", done: 3, total: 420 }, "failed at 3 of 420 cells"],
  ])("%o", (changes, text) => {
    expect(progressText(withMain(changes), "main")).toBe(text);
  });

  it("tells a silent kernel, a lost one, and a start", () => {
    const state = stateAfter("hello");
    expect(progressText({ ...state, silent: true }, "main")).toBe("waiting for the kernel…");
    expect(progressText({ ...stateAfter("hello", "result"), silent: true }, "main")).toBe("6 cells");
    expect(progressText({ ...state, link: "lost" }, "main")).toBe("not connected");
    expect(progressText(asked(state, { id: "x-1", method: "sweep", params: {} }, []), "main")).toBe("starting…");
  });

  it("of the detail gives way to what it is", () => {
    const running = stateAfter("hello", "progress_open");
    expect(detailText(stateAfter("hello"))).toBe("");
    expect(detailText(running)).toBe("0 of 4 cells");
    const { detail } = running.views;
    const done = { ...running, views: { ...running.views, detail: detail && { ...detail, status: "done" as const } } };
    expect(detailText(done)).toBe("z at position 2");
  });

  it("is spoken in percent while it goes on", () => {
    expect(spokenProgress(withMain({ status: "running", done: 328, total: 420 }))).toBe("Grid: 78 percent measured");
    expect(spokenProgress(withMain({ status: "done", total: 420 }))).toBe("Grid: 420 cells");
  });
});

describe("what can be cancelled", () => {
  it("is a running grid, by its request or else by its own id", () => {
    expect(busy(stateAfter("hello"), "main")).toBe(true);
    expect(cancelId(stateAfter("hello"), "main")).toBe("v1");
    expect(cancelId(stateAfter("hello", "progress_open"), "detail")).toBe("p7f3a-2");
    expect(busy(stateAfter("hello", "result"), "main")).toBe(false);
  });
  it("is a request whose view has not been opened", () => {
    const state = asked(stateAfter("hello", "result"), { id: "x-1", method: "sweep", params: {} }, []);
    expect(busy(state, "main")).toBe(true);
    expect(cancelId(state, "main")).toBe("x-1");
  });
});

describe("the way to the detail", () => {
  const opened = stateAfter("hello", "result", "progress_open", "result_attention");

  it("names layer, token and position", () => {
    expect(crumbs(opened)).toEqual(["resid_pre", "layer 1 · ·to (2)", "heads"]);
    expect(chosenCell(opened)).toMatchObject({ row: 1, col: 2 });
    expect(chosenHead(opened)).toMatchObject({ row: 1, col: 0 });
  });
  it("follows a click before the kernel has answered", () => {
    const clicked = asked(opened, { id: "x-1", method: "heads", params: { layer: 0, pos: 1 } }, []);
    expect(crumbs(clicked)[1]).toBe("layer 0 · ·John (1)");
    expect(chosenCell(clicked)).toEqual({ row: 0, col: 1 });
  });
  it("forgets a head of a grid that has been replaced", () => {
    const { detail } = opened.views;
    const replaced = { ...opened, views: { ...opened.views, detail: detail && { ...detail, id: "v9" } } };
    expect(chosenHead(replaced)).toBeNull();
  });
});

it("the explanation goes with the direction", () => {
  expect(explanation("logit_diff", "denoise", " Mary", " John")).toMatch(
    /run of the corrupted prompt.*·Mary minus that of ·John.*suffices/,
  );
  expect(explanation("mine", "noise", " Mary", " John")).toMatch(
    /run of the clean prompt.*the result, mine,.*necessary/,
  );
});
