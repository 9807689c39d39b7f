/** The whole front end on a page without pixels: what it sends, what it shows, and that it goes away. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import patchLab from "../../src/lab/index";
import type { FromPage } from "../../src/transport/messages";
import { fromPage, stop, stored, wire } from "../fixtures";

type Listener = (content: unknown, buffers: DataView[]) => void;
// biome-ignore lint/suspicious/noExplicitAny: a message of the fixture, to be changed anywhere
type Json = Record<string, any>;
type Sent = { id: string; method: string; params: Record<string, unknown> };

let sent: FromPage[];
let listeners: Map<string, Set<Listener>>;
let life: AbortController;
let widget: ReturnType<typeof patchLab>;
let seq: number;
let kept: unknown;
const model = {
  send: (message: FromPage) => sent.push(message),
  on: (name: string, listener: Listener) => listeners.set(name, (listeners.get(name) ?? new Set()).add(listener)),
  off: (name: string, listener: Listener) => listeners.get(name)?.delete(listener),
  get: () => kept,
};

/** The panel is drawn in one frame, its grids in the next. */
const frame = async () => {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => requestAnimationFrame(resolve));
};
const post = async (content: unknown, buffers: DataView[]) => {
  seq += 1;
  for (const listener of listeners.get("msg:custom") ?? []) listener({ ...(content as object), seq }, buffers);
  await frame();
};
const receive = async (...names: string[]) => {
  for (const name of names) await post(...wire(name));
};
/** The kernel's message `name` with some of its fields changed. */
const answer = (name: string, change: (json: Json) => void) => {
  const [content, buffers] = wire(name);
  change(content as Json);
  return post(content, buffers);
};
const last = () => sent.at(-1) as unknown as Sent;

function start(): void {
  widget = patchLab();
  widget.initialize({ model, signal: life.signal } as never);
}
function view(): HTMLElement {
  const el = document.createElement("div");
  document.body.append(el);
  widget.render({ model, signal: life.signal, el } as never);
  return el;
}
const part = (el: HTMLElement, name: string) => el.querySelector<HTMLElement>(`[data-pw="${name}"]`) as HTMLElement;
const focusCell = (el: HTMLElement, name: string) =>
  part(el, name).querySelector<HTMLElement>("[role=gridcell]") as HTMLElement;
const press = (element: HTMLElement, key: string, more: KeyboardEventInit = {}) => {
  const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more });
  element.dispatchEvent(event);
  return event;
};
const choose = (element: HTMLElement, value: string) => {
  (element as HTMLSelectElement).value = value;
  element.dispatchEvent(new Event("change", { bubbles: true }));
};
const type = (element: HTMLElement, text: string) => {
  (element as HTMLTextAreaElement).value = text;
  element.dispatchEvent(new Event("input", { bubbles: true }));
};

beforeEach(() => {
  [sent, listeners, life, seq, kept] = [[], new Map(), new AbortController(), 0, null];
  start();
});
afterEach(() => {
  life.abort();
  document.body.replaceChildren();
});

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

describe("keys", () => {
  it("move one focusable cell, and are kept from the notebook", async () => {
    const el = view();
    await receive("hello", "result");
    const cell = focusCell(el, "grid");
    const heard = vi.fn();
    el.addEventListener("keydown", heard);
    expect(cell.getAttribute("aria-label")).toContain("layer 1, token 'A' (0)");
    press(cell, "End");
    expect(cell.getAttribute("aria-label")).toBe("layer 1, token ' to' (2), recovery 0.95, logit difference 4.00");
    expect(cell.getAttribute("aria-colindex")).toBe("3");
    expect(cell.parentElement?.getAttribute("aria-rowindex")).toBe("1");
    expect(press(cell, "ArrowDown").defaultPrevented).toBe(true);
    press(cell, "x");
    press(cell, "Enter", { shiftKey: true });
    expect(heard).not.toHaveBeenCalled();
    press(cell, "Escape");
    press(cell, "s", { ctrlKey: true });
    expect(heard).toHaveBeenCalledTimes(2);
  });

  it("open the heads, go there, ask for attention, and come back", async () => {
    const el = view();
    await receive("hello", "result");
    const main = focusCell(el, "grid");
    main.focus();
    press(main, "End");
    press(main, "Enter");
    const { id } = last();
    expect(last()).toMatchObject({ method: "heads", params: { site: "z", pos: 2, parent: [stop("v1", 1, 2)] } });
    await answer("progress_open", (json) =>
      Object.assign(json, { id, open: { ...(json.open as object), request: id } }),
    );
    await answer("lab", (json) => Object.assign(json.lab, { teach: false }));
    const heads = focusCell(el, "detail-grid");
    expect(document.activeElement).toBe(heads);
    expect(part(el, "crumb").textContent).toBe("resid_pre›layer 1 at ·to (2) › heads");
    press(heads, "Enter");
    expect(last()).toMatchObject({ method: "attention", params: { layer: 1, head: 0, pos: 2 } });
    press(heads, "Escape");
    expect(last()).toMatchObject({ method: "show", params: { view: "v1" } });
    expect(document.activeElement).toBe(main);
  });

  it("go to the prompts by a slash", async () => {
    const el = view();
    await receive("hello", "result");
    press(focusCell(el, "grid"), "/");
    expect(document.activeElement).toBe(part(el, "edit-clean"));
    press(part(el, "edit-clean"), "Escape");
    expect(part(el, "edit-clean").closest<HTMLElement>("[role=group]")?.hidden).toBe(true);
  });

  it("select with the space bar and with Shift", async () => {
    const el = view();
    await receive("hello", "result");
    const cell = focusCell(el, "grid");
    press(cell, " ");
    expect(last()).toMatchObject({ method: "select", params: { cells: [{ site: "resid_pre", layer: 1, pos: 0 }] } });
    await frame();
    expect(cell.getAttribute("aria-selected")).toBe("true");
    press(cell, "ArrowRight", { shiftKey: true });
    press(cell, "ArrowDown", { shiftKey: true });
    expect((last().params.cells as unknown[]).length).toBe(4);
    await frame();
    press(cell, "Escape");
    expect(last()).toMatchObject({ method: "select", params: { cells: [] } });
  });
});

describe("typed prompts", () => {
  it("are previewed after a pause, with what is wrong under the field", async () => {
    const el = view();
    await receive("hello", "result");
    part(el, "edit").click();
    type(part(el, "edit-corrupted"), "A Mary Ann");
    type(part(el, "edit-corrupted"), "A Mary Ann to");
    await vi.waitFor(() => expect(last().params).toMatchObject({ corrupted: "A Mary Ann to" }), 5000);
    const previews = sent.filter((message) => message.type === "request" && message.method === "preview");
    expect(previews).toHaveLength(2); // on opening, and after the pause
    expect(last().params).toMatchObject({ corrupted: "A Mary Ann to", answer: " Mary", distractor: " John" });
    await answer("preview", (json) => Object.assign(json, { id: last().id }));
    expect(part(el, "error").textContent).toContain("2 tokens");
    expect(part(el, "grid").dataset.view).toBe("v1");
  });

  it("are measured with Enter, and refused where they stand", async () => {
    const el = view();
    await receive("hello", "result");
    part(el, "edit").click();
    type(part(el, "edit-answer"), " Maryann");
    press(part(el, "edit-answer"), "Enter");
    expect(last()).toMatchObject({ method: "set_pair", params: { answer: " Maryann" } });
    await answer("error_field", (json) => Object.assign(json, { id: last().id }));
    expect(part(el, "error").textContent).toContain("2 tokens");
    expect(part(el, "edit-answer").getAttribute("aria-invalid")).toBe("true");
  });

  it("offer what the model expects in place of an answer that is left from other prompts", async () => {
    const el = view();
    await receive("hello", "result");
    part(el, "edit").click();
    const use = part(el, "edit-likelier");
    expect(use.parentElement?.hidden).toBe(true);
    await answer("preview_top", (json) => Object.assign(json, { id: last().id }));
    expect(use.parentElement?.textContent).toBe(
      "After these prompts the model hardly expects ' Ann' or ' Tom'. use ·Mary / ·John",
    );
    use.click();
    press(part(el, "edit-clean"), "Enter");
    expect(last()).toMatchObject({ method: "set_pair", params: { answer: 7, distractor: 8 } });
  });

  it("may have an answer chosen from the model's own tokens", async () => {
    const el = view();
    await receive("hello", "result");
    part(el, "edit").click();
    await answer("preview_top", (json) => Object.assign(json, { id: last().id }));
    const [first] = part(el, "top-tokens").querySelectorAll("button");
    part(el, "edit-distractor").focus();
    first?.click();
    press(part(el, "edit-distractor"), "Enter");
    expect(last().params).toMatchObject({ answer: " Mary", distractor: 7 });
  });
});

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

describe("trouble", () => {
  it("is told as a sentence with its hint, and the grid stays", async () => {
    const el = view();
    await receive("hello", "result", "progress_open", "lab", "error");
    expect(part(el, "error").getAttribute("role")).toBe("alert");
    expect(part(el, "error").textContent).toBe(
      "Layer 99 does not exist: this model has layers 0 to 1. Choose a layer from 0 to 1.",
    );
    expect(part(el, "grid").dataset.view).toBe("v1");
  });

  it("of a check is a banner", async () => {
    const el = view();
    await receive("hello");
    await answer("result", (json) => {
      const check = (json.open as { checks: { ok: boolean; value: number; text: string }[] }).checks[0];
      if (check) [check.ok, check.value, check.text] = [false, 0.03, "Nothing changes."];
    });
    const told = part(el, "check-failed").textContent;
    expect(told).toContain("identity 0.030 (limit 1e−4)");
    expect(told).not.toContain("..");
  });

  it("of the kernel is told with the line to run again", async () => {
    const el = view();
    await answer("hello", (json) => Object.assign(json.views[0], { code: "exp = ..." }));
    for (const closed of listeners.get("comm_live_update") ?? []) closed(undefined, []);
    await frame();
    expect(part(el, "error").textContent).toContain("kernel is gone");
    expect(part(el, "rerun").textContent).toBe("exp = ...");
    expect((part(el, "run") as HTMLButtonElement).disabled || part(el, "run").hidden).toBe(true);
    const count = sent.length;
    press(focusCell(el, "grid"), "Enter");
    expect(sent).toHaveLength(count);
  });
});

describe("without a kernel", () => {
  beforeEach(() => {
    life.abort();
    [sent, listeners, life, kept] = [[], new Map(), new AbortController(), stored];
    start();
  });

  it("the stored grid is there, and can be looked at", async () => {
    const el = view();
    await frame();
    expect(part(el, "root").dataset.link).toBe("stored");
    expect(part(el, "status").textContent).toBe("saved · 6 cells");
    const cell = focusCell(el, "grid");
    press(cell, "End");
    expect(cell.getAttribute("aria-label")).toContain("recovery 0.95");
    expect(part(el, "run").hidden).toBe(true);
    expect(part(el, "edit").hidden).toBe(true);
  });

  it("the still picture of it is hidden, for as long as it is there", async () => {
    const rule = () => [...document.head.querySelectorAll("style")].map((style) => style.textContent).join();
    const el = view();
    await frame();
    const { id } = (stored as Json).content.lab;
    expect(rule()).toContain(`.patchwidget-picture[data-lab="${CSS.escape(id)}"]`);
    expect(part(el, "root").checkVisibility()).toBe(true);
    life.abort();
    expect(rule()).toBe("");
  });

  it("nothing is asked of anybody but for a kernel", async () => {
    const el = view();
    await frame();
    press(focusCell(el, "grid"), "Enter");
    choose(part(el, "direction"), "noise");
    expect(sent.every(({ type }) => type === "hello" || type === "page")).toBe(true);
  });

  it("gives way to a kernel that answers", async () => {
    const el = view();
    await receive("hello");
    expect(part(el, "root").dataset.link).toBe("live");
    expect(part(el, "status").textContent).toContain("2 of 6 exact");
  });
});
