import { describe, expect, it } from "vitest";
import { makeActions } from "../../src/lab/actions";
import { crumbs, crumbsHere, trail } from "../../src/lab/breadcrumb";
import { defaultStep, indexOfPatch, patchOf, questionOf, selectedIn, stepsAt } from "../../src/lab/cells";
import type { GridView } from "../../src/lab/messages";
import { standing } from "../../src/lab/navigation";
import { initialState, type LabState } from "../../src/lab/state";
import { initialUi } from "../../src/lab/view-state";
import { answered, comparable, mainGridOf, visitedCells } from "../../src/lab/view-tree";
import { canonical } from "../../src/transport/canonical";
import type { Question } from "../../src/transport/messages";
import { fromPage, mainGrid, opened, standingAt, stateAfter, stop, viewOf } from "../fixtures";

const heads = opened("progress_open") as GridView;
const parts = opened("result_parts") as GridView;
const neurons = opened("result_neurons") as GridView;
const attention = opened("result_attention");

describe("steps", () => {
  it("ask for what the cell gives", () => {
    const step = defaultStep(mainGrid(), 5);
    expect(step?.method).toBe("heads");
    expect(step && questionOf(mainGrid(), 5, step)).toEqual({ method: "heads", params: { site: "z", pos: 2 } });
  });

  it("on a head ask for its attention from the same position", () => {
    const step = defaultStep(heads, 2);
    const { parent: _, ...params } = (fromPage.attention?.params ?? {}) as Record<string, unknown>;
    expect(step && questionOf(heads, 2, step)).toEqual({ method: "attention", params });
  });

  it("leave out what can't be asked, and offer some only at some cells", () => {
    expect(stepsAt(mainGrid(), 5).map(({ reason }) => reason === null)).toEqual([true, false]);
    expect(stepsAt(parts, 0)).toHaveLength(1);
    expect(stepsAt({ ...parts, rows: { ...parts.rows, values: ["z", "pattern"] } }, 0)).toHaveLength(0);
    const step = stepsAt(parts, 3)[0];
    expect(step && questionOf(parts, 3, step).params).toEqual({ layer: 1, head: 0, site: "k_per_head" });
  });

  it("of a view without cells need none", () => {
    expect(stepsAt(attention, null).map(({ method }) => method)).toEqual(["entries"]);
    expect(stepsAt(mainGrid(), null)).toEqual([]);
  });
});

describe("patches", () => {
  it("are what a cell stands for", () => {
    expect(patchOf(mainGrid(), 5)).toEqual({ site: "resid_pre", layer: 1, pos: 2 });
    expect(patchOf(heads, 3)).toEqual({ site: "z", pos: 2, layer: 1, head: 1 });
    expect(patchOf(parts, 4)).toEqual({ layer: 1, head: 0, site: "k_per_head", pos: 1 });
    expect(patchOf(neurons, 3)).toEqual({ site: "mlp_post", layer: 1, pos: 2, neuron: 3 });
    expect(patchOf({ ...heads, patch: null }, 3)).toBeNull();
  });

  it.each([
    ["main", mainGrid()],
    ["heads", heads],
    ["parts", parts],
    ["neurons", neurons],
  ])("are found again in the grid: %s", (_, view) => {
    for (let index = 0; index < view.rows.size * view.cols.size; index++) {
      const patch = patchOf(view, index);
      expect(patch && indexOfPatch(view, patch)).toBe(index);
    }
  });

  it.each([
    [{ site: "resid_post", layer: 1, pos: 2 }],
    [{ site: "resid_pre", layer: 1 }],
    [{ site: "resid_pre", layer: 9, pos: 2 }],
    [{ site: "resid_pre", layer: 1, pos: 2, head: 0 }],
  ])("that are no cells of the grid are not marked: %o", (patch) => {
    expect(selectedIn(mainGrid(), [patch]).size).toBe(0);
  });
});

describe("the tree", () => {
  const state: LabState = standingAt(stateAfter("hello", "result", "progress_open", "result_attention"), [
    stop("v1", 1, 2),
    stop("v2", 1, 0),
    stop("v3"),
  ]);
  const views = state.views;

  it("finds what has been asked before", () => {
    const question = { method: "heads", params: { pos: 2, site: "z" } };
    expect(answered(views, question, mainGrid())?.id).toBe("v2");
    expect(answered(views, question, { ...mainGrid(), metric: "prob_diff" })).toBeNull();
    expect(mainGridOf(views, { pair: 0, site: "resid_pre", metric: "logit_diff", direction: "denoise" })?.id).toBe(
      "v1",
    );
    expect(mainGridOf(views, { pair: 0, site: "mlp_out", metric: "logit_diff", direction: "denoise" })).toBeNull();
  });

  it("knows the cells that lead on", () => {
    expect([...visitedCells(state.lab?.ways ?? [], mainGrid())]).toEqual([5]);
  });

  it("compares only grids of the same axes", () => {
    expect(comparable(mainGrid(), mainGrid({ id: "v9" }))).toBe(true);
    expect(comparable(mainGrid(), mainGrid())).toBe(false);
    expect(comparable(mainGrid(), { ...heads, rows: mainGrid().rows })).toBe(false);
  });

  it("tells the way", () => {
    expect(crumbsHere(state)).toEqual(["resid_pre", "heads", "head 1.0 › attention"]);
    expect(crumbs(state, [stop("v1", 1, 2), stop("v2")]).at(-1)?.text).toBe("layer 1 at ·to (2) › heads");
    expect(crumbs(state, [stop("v1", 0, 2), stop("v2")]).at(-1)?.text).toBe("layer 0 at ·to (2) › heads");
  });

  it("offers what can be asked at each cell on the way", () => {
    const lines = trail(state, initialUi);
    expect(lines.map(({ place }) => place)).toEqual(["layer 1 at ·to (2)", "head 1.0", "attention"]);
    const [main, head] = lines.map(({ steps }) =>
      steps.map(({ step, active, disabled }) => [step.method, active, disabled]),
    );
    expect(main).toEqual([
      ["heads", true, false],
      ["neurons", false, true],
    ]);
    expect(head).toEqual([
      ["attention", true, false],
      ["parts", false, false],
    ]);
  });

  it("has one text for equal questions", () => {
    expect(canonical({ b: [1, { c: "x", d: null }], a: 1 })).toBe(
      canonical({ a: 1, b: [1, { c: "x" }], e: undefined }),
    );
    expect(canonical({ a: 1 })).not.toBe(canonical({ a: "1" }));
  });
});

describe("actions", () => {
  const make = (state: LabState) => {
    const sent: Question[] = [];
    const holder = {
      state,
      update(change: (now: LabState) => LabState) {
        holder.state = change(holder.state);
      },
    };
    const port = { request: (question: Question) => sent.push(question), cancel: () => {} };
    return { sent, holder, actions: makeActions(holder, () => port) };
  };
  const known = stateAfter("hello", "result", "progress_open");
  const step = defaultStep(mainGrid(), 5);
  if (!step) throw new Error("the main grid leads on");

  it("ask the kernel, and name the cell", () => {
    const { sent, actions } = make(stateAfter("hello", "result"));
    actions.take(step, mainGrid(), 5);
    expect(sent).toEqual([{ method: "heads", params: { site: "z", pos: 2, parent: [stop("v1", 1, 2)] } }]);
  });

  it("go to what has been measured without asking again", () => {
    const whole = viewOf(known, "v2") as GridView;
    const cells = { values: new Float32Array(4), recovery: new Float32Array(4), state: new Uint8Array(4) };
    const views = new Map(known.views).set("v2", { ...whole, status: "done", cells });
    const { sent, actions } = make({ ...known, views });
    actions.take(step, mainGrid(), 5);
    expect(sent).toEqual([{ method: "show", params: { view: "v2", way: [stop("v1", 1, 2), stop("v2")] } }]);
  });

  it("without a kernel go where there is something, and nowhere else", () => {
    const whole = viewOf(known, "v2") as GridView;
    const cells = { values: new Float32Array(4), recovery: new Float32Array(4), state: new Uint8Array(4) };
    const views = new Map(known.views).set("v2", { ...whole, status: "done", cells });
    const { sent, holder, actions } = make({ ...known, views, link: "stored" });
    actions.take(step, mainGrid(), 0);
    expect(standing(holder.state)).toEqual([stop("v1", 0, 0)]);
    actions.take(step, mainGrid(), 5);
    expect(standing(holder.state)).toEqual([stop("v1", 1, 2), stop("v2")]);
    actions.set({ direction: "noise" });
    actions.select([{ site: "z" }]);
    expect(standing(holder.state).at(-1)?.view).toBe("v2");
    actions.set({});
    expect(standing(holder.state)).toEqual([stop("v1", 1, 2)]);
    actions.pin("v1");
    expect(holder.state.lab?.pinned).toBe("v1");
    expect(sent).toEqual([]);
  });

  it("do nothing before there is a lab", () => {
    const { sent, actions } = make({ ...initialState, link: "stored" });
    actions.set({ site: "z" });
    actions.go([stop("v1")]);
    expect(sent).toEqual([]);
  });
});
