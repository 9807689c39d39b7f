/** The whole front end on a page without pixels: what it sends, what it shows, and that it goes away. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fromPage, stop } from "../fixtures";
import {
  answer,
  begin,
  choose,
  end,
  frame,
  last,
  life,
  listeners,
  model,
  part,
  receive,
  sent,
  view,
  widget,
} from "./page";

beforeEach(() => begin());
afterEach(end);

describe("the panel", () => {
  it("says hello as soon as it starts", () => {
    expect(sent[0]).toMatchObject({ v: 2, type: "hello" });
  });

  it("has all the elements that outside checks look for, once", async () => {
    const el = view();
    await receive("hello", "result");
    const names =
      "root prompts grid legend site metric direction run cancel progress status detail crumb history select-effect explain";
    for (const name of names.split(" ")) expect(el.querySelectorAll(`[data-pw="${name}"]`), name).toHaveLength(1);
  });

  it("shows prompts, baselines and the state of the sweep", async () => {
    const el = view();
    await receive("hello", "progress_cells");
    const text = part(el, "prompts").textContent;
    for (const words of ["·John·Mary", "+4.50", "−6.50", "answer", "distractor"]) expect(text).toContain(words);
    expect(part(el, "status").textContent).toBe("4 of 6 exact · 0.2 s left");
    expect(part(el, "cancel").hidden).toBe(false);
    expect(part(el, "run").hidden).toBe(true);
    expect(part(el, "progress").getAttribute("aria-valuenow")).toBe("4");
    expect(part(el, "legend").textContent).toContain("pending");
  });

  it("cancels a sweep that the kernel began by the id of its view", async () => {
    const el = view();
    await receive("hello");
    part(el, "cancel").click();
    expect(sent.at(-1)).toEqual({ v: 2, type: "cancel", id: "v1" });
  });

  it("says that it is there as long as there is a view, and then that it is gone", async () => {
    const states = () => sent.flatMap((message) => ("state" in message ? [message.state] : []));
    const end = widget.render({ model, signal: life.signal, el: document.createElement("div") } as never);
    expect(states()).toEqual(["gone", "visible"]); // the first in the hello, when there was no view yet
    (end as () => void)();
    expect(states()).toEqual(["gone", "visible", "gone"]);
  });

  it("says for whom it waits, and stops that", async () => {
    const el = view();
    await receive("hello", "queue");
    expect(part(el, "queue").textContent).toContain("waiting for another lab, “When John and Mary went…” (37 %)");
    expect(part(el, "status").hidden).toBe(true);
    part(el, "stop-other").click();
    expect({ ...last(), id: "p7f3a-25" }).toEqual(fromPage.stop);
    await answer("queue", (json) => Object.assign(json, { id: last().id, ahead: null }));
    expect(part(el, "queue").hidden).toBe(true);
    expect(part(el, "status").hidden).toBe(false);
  });

  it("tells which pair is being recorded, before any cell is known", async () => {
    const el = view();
    await receive("hello", "result_mean");
    await answer("result_mean", (json) => Object.assign(json.open, { status: "running", done: 0 }));
    await answer("progress_recorded", (json) => Object.assign(json, { view: "v6" }));
    await answer("lab_mean", (json) => Object.assign(json.lab, { way: [stop("v6")], views: ["v1", "v2", "v6"] }));
    expect(part(el, "status").textContent).toBe("recording pair 5 of 8");
    expect(part(el, "progress").getAttribute("aria-valuenow")).toBe("4");
    await answer("progress_recorded", (json) => Object.assign(json, { view: "v6", recorded: 8 }));
    expect(part(el, "status").textContent).toBe("0% of 8 pairs");
  });

  it("measures again on Run", async () => {
    const el = view();
    await receive("hello", "progress_cells", "result");
    part(el, "run").click();
    expect(last()).toMatchObject({ method: "sweep", params: { view: "v1" } });
    await frame();
    expect(part(el, "run").hidden).toBe(true);
  });

  it("offers the mean of all pairs first, and edits the first one beside it", async () => {
    const el = view();
    await receive("hello", "result_mean", "lab_mean");
    const menu = part(el, "pairs") as HTMLSelectElement;
    expect([...menu.options].map(({ text }) => text)).toEqual(["mean of 8 pairs", "A John to"]);
    expect(menu.value).toBe("-1");
    expect(part(el, "prompts").textContent).toContain("The first of 8 pairs");
    choose(menu, "0");
    expect(last()).toMatchObject({ method: "set", params: { pair: 0 } });
    part(el, "edit").click();
    expect((part(el, "edit-clean") as HTMLTextAreaElement).value).toBe("A John to");
  });

  it("says under the grid what an outline means", async () => {
    const el = view();
    await answer("hello", (json) => Object.assign(json.lab, { way: [stop("v6")] }));
    await receive("result_mean");
    expect(part(el, "legend").textContent).toContain("outlined: significant at 0.05 (Benjamini-Hochberg over 6 cells)");
  });

  it("asks for another site, metric or direction", async () => {
    const el = view();
    await receive("hello", "result");
    choose(part(el, "direction"), "noise");
    expect(last()).toMatchObject({ method: "set", params: { direction: "noise" } });
    await frame();
    expect((part(el, "direction") as HTMLSelectElement).value).toBe("noise");
    expect(part(el, "status").textContent).toBe("starting…");
    expect(part(el, "grid").dataset.view).toBe("v1");
  });

  it("shows what the model can't do, and does not offer it", async () => {
    const el = view();
    await receive("hello");
    const disabled = [...part(el, "site").querySelectorAll("option")].filter((option) => option.disabled);
    expect(disabled.map((option) => option.value)).toContain("resid_mid");
  });

  it("shows the same state in a second view", async () => {
    const first = view();
    await receive("hello", "progress_cells");
    const second = view();
    await frame();
    expect(part(second, "status").textContent).toBe(part(first, "status").textContent);
    expect(part(second, "grid").dataset.cols).toBe("3");
  });

  it("leaves nothing behind", async () => {
    const el = view();
    await receive("hello");
    life.abort();
    expect(el.childElementCount).toBe(0);
    expect([...listeners.values()].every((set) => set.size === 0)).toBe(true);
    expect(document.head.querySelector("style")).toBeNull();
    const count = sent.length;
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(sent).toHaveLength(count);
  });

  it("removes one view by its clean-up and keeps the other", async () => {
    const el = document.createElement("div");
    const cleanUp = widget.render({ model, signal: life.signal, el } as never) as () => void;
    const other = view();
    cleanUp();
    await receive("hello");
    expect(el.childElementCount).toBe(0);
    expect(part(other, "prompts").textContent).toContain("·Mary");
  });
});
