import { describe, expect, it } from "vitest";
import { asked, initialState, type LabState, type OpenRequest, received } from "../src/state";
import { parsed, stateAfter } from "./fixtures";

const heads = (id: string): OpenRequest => ({ id, method: "heads", params: { layer: 1, pos: 2 } });
const on = (state: LabState, name: string, changes = {}) => received(state, parsed(name, changes));

describe("the state", () => {
  it("is all that a hello says", () => {
    const state = stateAfter("hello");
    expect(state.link).toBe("live");
    expect(state.pair?.answer).toBe(" Mary");
    expect(state.views.main?.id).toBe("v1");
    expect(state.views.detail).toBeNull();
  });

  it("takes in cells and leaves the others unknown", () => {
    const main = stateAfter("hello", "progress_cells").views.main;
    expect([...(main?.recovery ?? [])]).toEqual([0, 1, 0.5, 0, Number.NaN, Number.NaN]);
    expect([...(main?.state ?? [])]).toEqual([1, 1, 1, 1, 0, 0]);
    expect(main?.done).toBe(4);
  });

  it("does not change what was handed out before", () => {
    const before = stateAfter("hello");
    received(before, parsed("progress_cells"));
    expect(before.views.main?.state[1]).toBe(0);
  });

  it("has a finished grid and its checks after the result", () => {
    const main = stateAfter("hello", "progress_cells", "result").views.main;
    expect(main?.status).toBe("done");
    expect(main?.checks[0]?.ok).toBe(true);
  });

  it("drops an attention row when other heads take the place of its own", () => {
    const before = stateAfter("hello", "result", "progress_open", "result_attention");
    const opened = parsed("progress_open") as Extract<ReturnType<typeof parsed>, { type: "progress" }>;
    const after = received(before, { ...opened, view: "v4", open: { ...opened.open, id: "v4" } as typeof opened.open });
    expect(after.views.detail?.id).toBe("v4");
    expect(after.views.attention).toBeNull();
  });

  it("puts a grid with a parent beside, and attention under it", () => {
    const state = stateAfter("hello", "result", "progress_open", "result_attention");
    expect(state.views.main?.id).toBe("v1");
    expect(state.views.detail?.id).toBe("v2");
    expect(state.views.attention?.head).toBe(0);
  });

  it("forgets a request once it is over", () => {
    const waiting = asked(
      stateAfter("hello"),
      { id: "p7f3a-3", method: "attention", params: { layer: 1, head: 0, pos: 2 } },
      [],
    );
    expect(waiting.open.attention?.id).toBe("p7f3a-3");
    expect(on(waiting, "result_attention").open.attention).toBeUndefined();
  });

  it("ignores the view of a request that a newer one has replaced", () => {
    const first = asked(stateAfter("hello"), heads("p7f3a-2"), []);
    const second = asked(first, heads("p7f3a-9"), [heads("p7f3a-2")]);
    const state = on(second, "progress_open");
    expect(state.views.detail).toBeNull();
    expect(state.open.heads?.id).toBe("p7f3a-9");
  });

  it("ignores late news of a view that was replaced", () => {
    const opened = stateAfter("hello", "progress_open");
    const next = received(opened, {
      ...parsed("progress_open"),
      id: "p7f3a-9",
      view: "v5",
      open: { ...opened.views.detail, id: "v5" },
    } as never);
    const late = received(next, parsed("progress_open"));
    expect(late.views.detail?.id).toBe("v5");
  });

  it("shows an error where it belongs and keeps the grid", () => {
    const state = on(asked(stateAfter("hello", "result"), heads("p7f3a-2"), []), "error");
    expect(state.problems.detail?.message).toContain("Layer 99");
    expect(state.views.main?.status).toBe("done");
    expect(state.open.heads).toBeUndefined();
  });

  it("shows an error that belongs nowhere on the page", () => {
    expect(on(stateAfter("hello"), "error", { id: null, view: null }).problems.page?.hint).toContain("Choose");
  });

  it("clears an error with the next request of its kind", () => {
    const failed = on(stateAfter("hello", "progress_open"), "error");
    expect(failed.problems.detail).toBeDefined();
    expect(asked(failed, heads("p7f3a-9"), []).problems.detail).toBeUndefined();
  });

  it("gives back the last good grid when its successor fails before its first cell", () => {
    const good = stateAfter("hello", "result");
    const empty = { ...good.views.main, id: "v8", done: 0, status: "running" };
    const opened = received(good, {
      type: "progress",
      seq: 4,
      id: null,
      view: "v8",
      done: 0,
      total: 6,
      seconds_left: null,
      open: empty,
      cells: null,
    } as never);
    expect(opened.views.main?.id).toBe("v8");
    const failed = on(opened, "error", { id: null, view: "v8" });
    expect(failed.views.main?.id).toBe("v1");
    expect(failed.problems.main?.message).toContain("Layer 99");
  });

  it("does not bring back a grid from cells of a view it never saw", () => {
    const state = on({ ...initialState }, "progress_cells");
    expect(state.views.main).toBeNull();
  });

  it("survives a second hello unchanged but for what it says", () => {
    const state = asked(stateAfter("hello", "progress_open"), heads("p7f3a-9"), []);
    const again = on(state, "hello");
    expect(again.open.heads?.id).toBe("p7f3a-9");
    expect(again.views.detail).toBeNull();
  });
});
