/** A lab's whole front end on a page without pixels: what it is sent, what it sends, and the hands of a user. */
import patchLab from "../../src/lab/index";
import type { FromPage } from "../../src/transport/messages";
import { wire } from "../fixtures";

type Listener = (content: unknown, buffers: DataView[]) => void;
// biome-ignore lint/suspicious/noExplicitAny: a message of the fixture, to be changed anywhere
export type Json = Record<string, any>;
type Sent = { id: string; method: string; params: Record<string, unknown> };

export let sent: FromPage[];
export let listeners: Map<string, Set<Listener>>;
export let life: AbortController;
export let widget: ReturnType<typeof patchLab>;
let seq: number;
let kept: unknown;
export const model = {
  send: (message: FromPage) => sent.push(message),
  on: (name: string, listener: Listener) => listeners.set(name, (listeners.get(name) ?? new Set()).add(listener)),
  off: (name: string, listener: Listener) => listeners.get(name)?.delete(listener),
  get: () => kept,
};

/** The panel is drawn in one frame, its grids in the next. */
export const frame = async () => {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => requestAnimationFrame(resolve));
};
export const post = async (content: unknown, buffers: DataView[]) => {
  seq += 1;
  for (const listener of listeners.get("msg:custom") ?? []) listener({ ...(content as object), seq }, buffers);
  await frame();
};
export const receive = async (...names: string[]) => {
  for (const name of names) await post(...wire(name));
};
/** The kernel's message `name` with some of its fields changed. */
export const answer = (name: string, change: (json: Json) => void) => {
  const [content, buffers] = wire(name);
  change(content as Json);
  return post(content, buffers);
};
export const last = () => sent.at(-1) as unknown as Sent;

/** A page with a widget that has nothing on it yet; `stored` is what a notebook has kept of it. */
export function begin(stored: unknown = null): void {
  [sent, listeners, life, seq, kept] = [[], new Map(), new AbortController(), 0, stored];
  widget = patchLab();
  widget.initialize({ model, signal: life.signal } as never);
}
export function end(): void {
  life.abort();
  document.body.replaceChildren();
}
export function view(): HTMLElement {
  const el = document.createElement("div");
  document.body.append(el);
  widget.render({ model, signal: life.signal, el } as never);
  return el;
}
export const part = (el: HTMLElement, name: string) =>
  el.querySelector<HTMLElement>(`[data-pw="${name}"]`) as HTMLElement;
export const focusCell = (el: HTMLElement, name: string) =>
  part(el, name).querySelector<HTMLElement>("[role=gridcell]") as HTMLElement;
export const press = (element: HTMLElement, key: string, more: KeyboardEventInit = {}) => {
  const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more });
  element.dispatchEvent(event);
  return event;
};
export const choose = (element: HTMLElement, value: string) => {
  (element as HTMLSelectElement).value = value;
  element.dispatchEvent(new Event("change", { bubbles: true }));
};
export const type = (element: HTMLElement, text: string) => {
  (element as HTMLTextAreaElement).value = text;
  element.dispatchEvent(new Event("input", { bubbles: true }));
};
