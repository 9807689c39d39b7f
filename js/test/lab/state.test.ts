import { describe, expect, it } from "vitest";
import type { GridView } from "../../src/lab/messages";
import { shown, standing } from "../../src/lab/navigation";
import { type OpenRequest, slotOf } from "../../src/lab/requests";
import { asked, type LabState, received } from "../../src/lab/state";
import { opened, parsed, standingAt, stateAfter, stop, viewOf } from "../fixtures";

const request = (id: string, method: string, params: Record<string, unknown> = {}): OpenRequest => ({
  id,
  method,
  params,
  slot: slotOf(method),
});
const on = (state: LabState, name: string, changes = {}) => received(state, parsed(name, changes));
const at = (state: LabState) => standing(state).at(-1)?.view;
const cellsOf = (state: LabState, id: string) => (viewOf(state, id) as GridView).cells;

describe("the state", () => {
  it("is all that a hello says", () => {
    const state = stateAfter("hello");
    expect(state.link).toBe("live");
    expect(state.pair?.answer).toBe(" Mary");
    expect([...state.views.keys()]).toEqual(["v1"]);
    expect(at(state)).toBe("v1");
    expect(state.selection?.status).toBe("none");
  });

  it("takes in estimates, and exact cells in their place", () => {
    const estimated = stateAfter("hello", "progress_estimate");
    expect([...(cellsOf(estimated, "v1")?.state ?? [])]).toEqual([1, 2, 2, 1, 0, 0]);
    const exact = on(estimated, "progress_cells");
    expect([...(cellsOf(exact, "v1")?.state ?? [])]).toEqual([1, 1, 1, 1, 0, 0]);
    expect([...(cellsOf(exact, "v1")?.recovery ?? [])]).toEqual([0, 1, 0.5, 0, Number.NaN, Number.NaN]);
    expect((viewOf(exact, "v1") as GridView).done).toBe(4);
  });

  it("does not change what was handed out before", () => {
    const before = stateAfter("hello");
    on(before, "progress_cells");
    expect(cellsOf(before, "v1")?.state[1]).toBe(0);
  });

  it("has a view as soon as it is opened, and goes there with the lab", () => {
    const open = stateAfter("hello", "progress_open");
    expect(viewOf(open, "v2").status).toBe("queued");
    expect(at(open)).toBe("v1");
    expect(at(on(open, "lab"))).toBe("v2");
  });

  it("gives an opened view its first cells, of which nothing was known", () => {
    const open = stateAfter("hello", "progress_open");
    const state = on(open, "progress_cells", { view: "v2", total: 4 });
    expect([...(cellsOf(state, "v2")?.state ?? [])]).toEqual([0, 1, 1, 0]);
    expect(viewOf(state, "v2").status).toBe("running");
  });

  it("has a finished grid and its checks after the result", () => {
    const main = viewOf(stateAfter("hello", "progress_cells", "result"), "v1") as GridView;
    expect(main.status).toBe("done");
    expect(main.checks[0]?.ok).toBe(true);
  });

  it("forgets views that the lab no longer has", () => {
    const state = stateAfter("hello", "progress_open", "result_attention", "lab");
    expect([...state.views.keys()]).toEqual(["v1", "v2"]);
  });

  it("keeps the arrays it has where a hello keeps them back", () => {
    const state = on(stateAfter("hello", "progress_cells", "result"), "hello_kept");
    const kept = viewOf(state, "v1");
    expect(kept.kept).toBe((kept as GridView).cells === null);
  });

  it("is not moved by news of views it does not know", () => {
    const state = stateAfter("hello");
    expect(on(state, "progress_cells", { view: "v9" })).toBe(state);
  });
});

describe("going back", () => {
  const there = () => stateAfter("hello", "progress_open", "lab");

  it("shows a view at once, and stays there until the kernel has heard", () => {
    const going = asked(there(), request("p-1", "show", { view: "v1", way: [stop("v1")] }));
    expect(at(going)).toBe("v1");
    expect(at(on(going, "lab"))).toBe("v1");
    const back = on(on(going, "lab"), "result", { id: "p-1" });
    expect(back.open.show).toBeUndefined();
    expect(at(back)).toBe("v1"); // news of the lab may come later than the result
    expect(at(on(back, "lab"))).toBe("v2");
  });

  it("shows main grid, detail and attention of the way", () => {
    const state = standingAt(stateAfter("hello", "progress_open", "result_attention"), [
      stop("v1", 1, 2),
      stop("v2", 1, 0),
      stop("v3"),
    ]);
    const { main, detail, attention } = shown(state);
    expect([main?.id, detail?.id, attention?.id]).toEqual(["v1", "v2", "v3"]);
    expect(shown(standingAt(state, [stop("v1")])).detail).toBeNull();
  });
});

describe("requests", () => {
  it.each([
    ["set", "main"],
    ["set_pair", "prompts"],
    ["heads", "detail"],
    ["neurons", "detail"],
    ["select", "selection"],
    ["pin", "other"],
  ])("%s belong to %s", (method, slot) => {
    expect(slotOf(method)).toBe(slot);
  });

  it("are over with their result", () => {
    const waiting = asked(stateAfter("hello"), request("p-1", "heads"));
    expect(on(waiting, "result", { id: "p-2" }).open.detail?.id).toBe("p-1");
    expect(on(waiting, "result", { id: "p-1" }).open).toEqual({});
  });

  it("of one kind are one: the newest", () => {
    const waiting = asked(asked(stateAfter("hello"), request("p-1", "heads")), request("p-2", "neurons"));
    expect(waiting.open.detail?.id).toBe("p-2");
    expect(on(waiting, "result", { id: "p-1" }).open.detail?.id).toBe("p-2");
  });

  it("take what went wrong before away", () => {
    const failed = on(asked(stateAfter("hello"), request("p-1", "heads")), "error", { id: "p-1", view: null });
    expect(failed.problems.detail?.message).toContain("Layer 99");
    expect(asked(failed, request("p-2", "heads")).problems).toEqual({});
  });
});

describe("errors", () => {
  it("belong to the place that asked", () => {
    const waiting = asked(stateAfter("hello"), request("p-1", "set"));
    expect(on(waiting, "error", { id: "p-1", view: null }).problems.main?.message).toContain("Layer 99");
    expect(on(stateAfter("hello"), "error", { id: null, view: null }).problems.page?.hint).toContain("Choose");
  });

  it("of a view mark it as failed and keep what was measured", () => {
    const state = on(stateAfter("hello", "progress_cells"), "error", { view: "v1", id: null });
    expect(viewOf(state, "v1").status).toBe("failed");
    expect(cellsOf(state, "v1")?.recovery[1]).toBe(1);
    expect(state.problems.main).toBeDefined();
  });

  it("of what was typed belong under their field, and the grid stays", () => {
    const waiting = asked(stateAfter("hello", "result"), request("p-1", "set_pair"));
    const refused = on(waiting, "error_field", { id: "p-1" });
    expect(refused.fields[0]?.field).toBe("answer");
    expect(refused.problems).toEqual({});
    expect(refused.open).toEqual({});
    expect(shown(refused).main?.status).toBe("done");
    expect(asked(refused, request("p-2", "set_pair")).fields).toEqual([]);
  });
});

describe("previews", () => {
  it("are taken only of what was typed last", () => {
    const waiting = asked(stateAfter("hello"), request("p-2", "preview"));
    expect(on(waiting, "preview", { id: "p-1" }).preview).toBeNull();
    const shown = on(waiting, "preview", { id: "p-2" });
    expect(shown.preview?.corrupted).toHaveLength(4);
    expect(shown.fields[0]?.message).toContain("2 tokens");
    expect(on(shown, "preview_top", { id: "p-2" }).fields).toEqual([]);
  });
});

describe("selections", () => {
  const cells = [{ site: "resid_pre", layer: 1, pos: 2 }];

  it("are seen at once, and measured later", () => {
    const waiting = asked(stateAfter("hello"), request("p-1", "select", { cells }));
    expect(waiting.selection).toMatchObject({ cells, status: "queued", joint: null });
    expect(on(waiting, "selection", { id: "p-1" }).selection?.synergy).toBe(0.1);
    expect(on(waiting, "selection", { id: "p-1" }).open).toEqual({});
  });

  it("that are older than the page's own do not take its place", () => {
    const waiting = asked(stateAfter("hello"), request("p-2", "select", { cells }));
    expect(on(waiting, "selection", { id: "p-1" }).selection?.cells).toEqual(cells);
    expect(on(waiting, "lab", { id: null }).selection?.cells).toEqual(cells);
  });

  it("come from Python as well", () => {
    expect(on(stateAfter("hello"), "selection", { id: null }).selection?.cells).toHaveLength(2);
  });
});

it("the fixture opens what the tests speak of", () => {
  expect(opened("progress_open").id).toBe("v2");
  expect(opened("result_attention").parent).toMatchObject({ view: "v2" });
});
