/** What a lab shows beside its main grid, on a page without pixels. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { stop } from "../fixtures";
import { answer, begin, end, focusCell, frame, last, part, press, receive, sent, view } from "./page";

beforeEach(() => begin());
afterEach(end);

describe("what is shown beside", () => {
  it("is attention of both prompts, and what can be asked next", async () => {
    const el = view();
    await receive("hello", "result", "progress_open", "lab", "result_attention");
    await answer("lab", (json) => {
      const way = [stop("v1", 1, 2), stop("v2", 1, 0), stop("v3")];
      const ways = [way.slice(0, 1), way.slice(0, 2), way];
      Object.assign(json.lab, { way, ways, views: ["v1", "v2", "v3"], teach: false });
    });
    const bars = [...part(el, "attention").querySelectorAll("li")].map((bar) => bar.getAttribute("aria-label"));
    expect(bars).toEqual([
      "0, 'A': clean 0.500, corrupted 0.250",
      "1, ' Mary': clean 0.250, corrupted 0.500",
      "2, ' to': clean 0.250, corrupted 0.250",
    ]);
    part(el, "steps").querySelector<HTMLElement>('[data-step="entries"]')?.click();
    expect(last()).toMatchObject({
      method: "entries",
      params: { layer: 1, head: 0, parent: [stop("v1", 1, 2), stop("v2", 1, 0), stop("v3")] },
    });
    const steps = [...part(el, "history").querySelectorAll<HTMLElement>("[role=treeitem]")];
    expect(steps.map((step) => [step.dataset.view, step.getAttribute("aria-level")])).toEqual([
      ["v1", "1"],
      ["v2", "2"],
      ["v3", "3"],
    ]);
    steps[1]?.click();
    expect(last()).toMatchObject({ method: "show", params: { view: "v2" } });
  });

  it("is the joint effect and the synergy of a selection", async () => {
    const el = view();
    await receive("hello", "result", "selection");
    const text = part(el, "select-effect").textContent;
    for (const words of ["2 cells selected", "+0.80", "+0.70", "synergy+0.10", "z 0.1"]) expect(text).toContain(words);
    part(el, "select-none").click();
    expect(last()).toMatchObject({ method: "select", params: { cells: [] } });
  });

  it("is the difference to a pinned grid", async () => {
    const el = view();
    await receive("hello", "result");
    part(el, "pin").click();
    expect(last()).toMatchObject({ method: "pin", params: { view: "v1" } });
    await answer("result", (json) => {
      const open = json.open as object;
      Object.assign(json, { view: "v7", open: { ...open, id: "v7", direction: "noise" } });
    });
    await answer("lab", (json) => {
      Object.assign(json.lab as object, { way: [stop("v7")], pinned: "v1", views: ["v1", "v7"], teach: false });
    });
    expect(part(el, "legend").textContent).toContain("difference of effect");
    expect(focusCell(el, "grid").getAttribute("aria-label")).toContain("difference");
  });

  it("is nothing of the values until a cell has been predicted", async () => {
    const el = view();
    await receive("hello", "result");
    part(el, "teach").click();
    expect(last()).toMatchObject({ method: "teach", params: { on: true } });
    await answer("lab", (json) => Object.assign(json.lab as object, { way: [stop("v1")], views: ["v1"], teach: true }));
    const cell = focusCell(el, "grid");
    expect(cell.getAttribute("aria-label")).toContain("hidden");
    const count = sent.length;
    press(cell, "Enter");
    await frame();
    expect(sent).toHaveLength(count);
    expect(cell.getAttribute("aria-label")).toContain("recovery");
    expect(part(el, "prediction").textContent).toMatch(/You marked .* of 6/);
  });
});
