/** The whole front end on a page without pixels: what it sends, what it shows, and that it goes away. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import patchLab from "../src/index";
import type { FromPage } from "../src/protocol";
import { wire } from "./fixtures";

type Listener = (content: unknown, buffers: DataView[]) => void;

let sent: FromPage[];
let listeners: Map<string, Set<Listener>>;
let life: AbortController;
let widget: ReturnType<typeof patchLab>;
const model = {
  send: (message: FromPage) => sent.push(message),
  on: (name: string, listener: Listener) => listeners.set(name, (listeners.get(name) ?? new Set()).add(listener)),
  off: (name: string, listener: Listener) => listeners.get(name)?.delete(listener),
};

const frame = () => new Promise((resolve) => setTimeout(resolve, 40));
const receive = async (...names: string[]) => {
  for (const name of names) for (const listener of listeners.get("msg:custom") ?? []) listener(...wire(name));
  await frame();
};

function view(): HTMLElement {
  const el = document.createElement("div");
  document.body.append(el);
  widget.render({ model, signal: life.signal, el } as never);
  return el;
}
const part = (el: HTMLElement, name: string) => el.querySelector<HTMLElement>(`[data-pw="${name}"]`) as HTMLElement;
const focusCell = (el: HTMLElement, name: string) =>
  part(el, name).querySelector<HTMLElement>("[role=gridcell]") as HTMLElement;
const press = (element: HTMLElement, key: string) => {
  const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true });
  element.dispatchEvent(event);
  return event;
};

beforeEach(() => {
  [sent, listeners, life] = [[], new Map(), new AbortController()];
  widget = patchLab();
  widget.initialize({ model, signal: life.signal } as never);
});
afterEach(() => {
  life.abort();
  document.body.replaceChildren();
});

describe("the widget", () => {
  it("says hello as soon as it starts", () => {
    expect(sent[0]).toMatchObject({ v: 1, type: "hello" });
  });

  it("shows prompts, baselines and the state of the sweep", async () => {
    const el = view();
    await receive("hello", "progress_cells");
    expect(part(el, "prompts").textContent).toContain("·John·Mary");
    expect(part(el, "prompts").textContent).toContain("+4.50");
    expect(part(el, "prompts").textContent).toContain("−6.50");
    expect(part(el, "status").textContent).toBe("4 of 6 cells · 0.2 s left");
    expect(part(el, "cancel").hidden).toBe(false);
    expect(part(el, "run").hidden).toBe(true);
    expect(part(el, "progress").getAttribute("aria-valuenow")).toBe("4");
  });

  it("cancels a sweep that the kernel began by the id of its view", async () => {
    const el = view();
    await receive("hello");
    part(el, "cancel").click();
    expect(sent.at(-1)).toEqual({ v: 1, type: "cancel", id: "v1" });
  });

  it("measures again on Run", async () => {
    const el = view();
    await receive("hello", "progress_cells", "result");
    part(el, "run").click();
    expect(sent.at(-1)).toMatchObject({ type: "request", method: "sweep", params: {} });
    await frame();
    expect(part(el, "run").hidden).toBe(true);
  });

  it("has one focusable cell that keys move, and keeps those keys from the notebook", async () => {
    const el = view();
    await receive("hello", "progress_cells", "result");
    const cell = focusCell(el, "grid");
    const heard = vi.fn();
    el.addEventListener("keydown", heard);
    expect(cell.getAttribute("aria-label")).toContain("layer 1, token 'A' (0)");
    press(cell, "End");
    expect(cell.getAttribute("aria-label")).toBe("layer 1, token ' to' (2), recovery 0.95, logit difference 4.00");
    expect(cell.getAttribute("aria-colindex")).toBe("3");
    expect(cell.parentElement?.getAttribute("aria-rowindex")).toBe("1");
    expect(press(cell, "ArrowDown").defaultPrevented).toBe(true);
    expect(heard).not.toHaveBeenCalled();
    press(cell, "x");
    press(cell, "Escape");
    expect(heard).toHaveBeenCalledTimes(2);
  });

  it("opens the heads with Enter, goes there, asks for attention, and comes back with Escape", async () => {
    const el = view();
    await receive("hello", "progress_cells", "result");
    const main = focusCell(el, "grid");
    main.focus();
    press(main, "End");
    press(main, "Enter");
    const { id } = sent.at(-1) as { id: string };
    expect(sent.at(-1)).toMatchObject({ method: "heads", params: { layer: 1, pos: 2 } });
    const [content, buffers] = wire("progress_open", { id });
    (content as { open: { request: string } }).open.request = id;
    for (const listener of listeners.get("msg:custom") ?? []) listener(content, buffers);
    await frame();
    const heads = focusCell(el, "detail-grid");
    expect(document.activeElement).toBe(heads);
    expect(part(el, "crumb").textContent).toBe("resid_pre›layer 1 · ·to (2)›heads");
    press(heads, "Enter");
    expect(sent.at(-1)).toMatchObject({ method: "attention", params: { layer: 1, head: 0, pos: 2 } });
    press(heads, "Escape");
    expect(document.activeElement).toBe(main);
  });

  it("shows attention of both prompts", async () => {
    const el = view();
    await receive("hello", "progress_cells", "result", "progress_open", "result_attention");
    const bars = [...part(el, "attention").querySelectorAll("li")].map((bar) => bar.getAttribute("aria-label"));
    expect(bars).toEqual([
      "0, 'A': clean 0.500, corrupted 0.250",
      "1, ' Mary': clean 0.250, corrupted 0.500",
      "2, ' to': clean 0.250, corrupted 0.250",
    ]);
  });

  it("tells an error as a sentence with its hint, and keeps the grid", async () => {
    const el = view();
    await receive("hello", "progress_cells", "result", "progress_open", "result_attention", "error");
    expect(part(el, "error").getAttribute("role")).toBe("alert");
    expect(part(el, "error").textContent).toBe(
      "Layer 99 does not exist: this model has layers 0 to 1. Choose a layer from 0 to 1.",
    );
    expect(part(el, "grid").dataset.view).toBe("v1");
  });

  it("turns a failed check into a banner", async () => {
    const el = view();
    const [content, buffers] = wire("result");
    const check = (content as { open: { checks: { ok: boolean; value: number }[] } }).open.checks[0];
    if (check) [check.ok, check.value] = [false, 0.03];
    await receive("hello", "progress_cells");
    for (const listener of listeners.get("msg:custom") ?? []) listener(content, buffers);
    await frame();
    expect(part(el, "check-failed").textContent).toContain("identity 0.030 (limit 1e−4)");
  });

  it("tells that the connection is lost", async () => {
    const el = view();
    await receive("hello");
    for (const closed of listeners.get("comm_live_update") ?? []) closed(undefined, []);
    await frame();
    expect(part(el, "error").textContent).toContain("connection to the kernel is lost");
    expect(part(el, "cancel").hasAttribute("disabled") || part(el, "cancel").hidden).toBe(true);
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
