/** What the page knows of the lab, and how each message changes it.  Pure functions: no DOM, no transport. */
import type { Ask, AttentionView, Baselines, Cells, FromKernel, GridView, Lab, Method, Pair, View } from "./protocol";

/** A request of this page that is not over yet. */
export type OpenRequest = { id: string } & Ask;
/** Something that went wrong: a sentence, and what to do about it. */
export type Problem = { message: string; hint: string };
/** Where a view, or a problem, is shown. */
export type Slot = "main" | "detail" | "attention";
export type Views = { main: GridView | null; detail: GridView | null; attention: AttentionView | null };

export interface LabState {
  link: "connecting" | "live" | "lost";
  /** Something was asked, and nothing has come from the kernel for some seconds. */
  silent: boolean;
  lab: Lab | null;
  pair: Pair | null;
  baselines: Baselines | null;
  views: Views;
  /** The grids that were replaced: they come back if their successor fails before its first cell. */
  before: Pick<Views, "main" | "detail">;
  /** Ids of views that another one has replaced: late messages about them are ignored. */
  retired: ReadonlySet<string>;
  open: Readonly<Partial<Record<Method, OpenRequest>>>;
  /** Ids of requests that a newer one of this page has replaced. */
  superseded: ReadonlySet<string>;
  problems: Readonly<Partial<Record<Slot | "page", Problem>>>;
}

export const initialState: LabState = {
  link: "connecting",
  silent: false,
  lab: null,
  pair: null,
  baselines: null,
  views: { main: null, detail: null, attention: null },
  before: { main: null, detail: null },
  retired: new Set(),
  open: {},
  superseded: new Set(),
  problems: {},
};

const slotOfMethod: Record<Method, Slot> = { sweep: "main", heads: "detail", attention: "attention" };
const slots: Slot[] = ["main", "detail", "attention"];

export function slotOf(view: View): Slot {
  if (view.kind === "attention") return "attention";
  return view.parent === null ? "main" : "detail";
}

/** A request has been sent; those it replaces are no longer waited for. */
export function asked(state: LabState, request: OpenRequest, replaces: OpenRequest[]): LabState {
  const open = { ...state.open };
  for (const old of replaces) delete open[old.method];
  open[request.method] = request;
  return {
    ...state,
    open,
    superseded: new Set([...state.superseded, ...replaces.map((old) => old.id)]),
    problems: without(state.problems, slotOfMethod[request.method]),
  };
}

export function received(state: LabState, message: FromKernel): LabState {
  switch (message.type) {
    case "hello":
      return hello(state, message);
    case "progress": {
      if (unwanted(state, message.id, message.view)) return state;
      const opened = message.open ? placed(state, message.open) : state;
      const { done, total, seconds_left, cells } = message;
      return changed(opened, message.view, (view) =>
        view.kind === "grid" ? { ...merged(view, cells), status: "running", done, total, seconds_left } : view,
      );
    }
    case "result": {
      const closed = withoutRequest(state, message.id);
      if (unwanted(state, message.id, message.view)) return closed;
      const opened = message.open ? placed(closed, message.open) : closed;
      return changed(opened, message.view, (view) => ({ ...view, status: message.status }));
    }
    case "error":
      return failed(state, message.id, message.view, { message: message.message, hint: message.hint ?? "" });
  }
}

function hello(state: LabState, message: Extract<FromKernel, { type: "hello" }>): LabState {
  const views: Views = { main: null, detail: null, attention: null };
  for (const view of message.views) Object.assign(views, { [slotOf(view)]: view });
  let next: LabState = {
    ...state,
    link: "live",
    lab: message.lab,
    pair: message.pair,
    baselines: message.baselines,
    views,
    retired: new Set(),
    problems: without(state.problems, "page"),
  };
  for (const view of message.views) {
    if (view.status !== "queued" && view.status !== "running") next = withoutRequest(next, view.request);
  }
  return next;
}

/** News of a view that has been replaced, or of a request that has been replaced before its view was opened. */
function unwanted(state: LabState, request: string | null, view: string): boolean {
  if (state.retired.has(view)) return true;
  return request !== null && state.superseded.has(request) && !findSlot(state, view);
}

function findSlot(state: LabState, view: string | null): Slot | undefined {
  return slots.find((slot) => view !== null && state.views[slot]?.id === view);
}

function placed(state: LabState, view: View): LabState {
  const slot = slotOf(view);
  const old = state.views[slot];
  const next = { ...state, views: { ...state.views, [slot]: view }, problems: without(state.problems, slot) };
  if (!old || old.id === view.id) return next;
  const orphan = slot === "detail" ? state.views.attention : null; // an attention row belongs to the heads it was chosen from
  if (orphan) next.views.attention = null;
  next.retired = new Set([...state.retired, old.id, ...(orphan ? [orphan.id] : [])]);
  if (old.kind === "grid" && old.done > 0) next.before = { ...state.before, [slot]: old };
  return next;
}

function changed(state: LabState, id: string, change: (view: View) => View): LabState {
  const slot = findSlot(state, id);
  const view = slot && state.views[slot];
  return view ? { ...state, views: { ...state.views, [slot]: change(view) } } : state;
}

function merged(view: GridView, cells: Cells | null): GridView {
  if (!cells) return view;
  const values = view.values.slice();
  const recovery = view.recovery.slice();
  const states = view.state.slice();
  cells.index.forEach((cell, i) => {
    values[cell] = cells.values[i] as number;
    recovery[cell] = cells.recovery[i] as number;
    states[cell] = cells.state[i] as number;
  });
  return { ...view, values, recovery, state: states };
}

function failed(state: LabState, request: string | null, view: string | null, problem: Problem): LabState {
  const wasSuperseded = request !== null && state.superseded.has(request);
  if (wasSuperseded || (view !== null && state.retired.has(view))) return withoutRequest(state, request);
  const asked = Object.values(state.open).find((open) => open.id === request);
  const slot = findSlot(state, view) ?? (asked && slotOfMethod[asked.method]);
  const next = withoutRequest({ ...state, problems: { ...state.problems, [slot ?? "page"]: problem } }, request);
  return view === null
    ? next
    : withLastGood(
        changed(next, view, (one) => ({ ...one, status: "failed" })),
        view,
      );
}

/** A grid that failed before its first cell gives its place back to the one it had replaced. */
function withLastGood(state: LabState, id: string): LabState {
  const slot = findSlot(state, id);
  if (slot !== "main" && slot !== "detail") return state;
  const before = state.before[slot];
  if (!before || state.views[slot]?.done !== 0) return state;
  const retired = new Set(state.retired).add(id);
  retired.delete(before.id);
  return { ...state, views: { ...state.views, [slot]: before }, retired };
}

function withoutRequest(state: LabState, id: string | null): LabState {
  const over = Object.values(state.open).find((open) => open.id === id);
  return over ? { ...state, open: without(state.open, over.method) } : state;
}

function without<T extends object, K extends keyof T>(record: T, key: K): T {
  if (!(key in record)) return record;
  const rest = { ...record };
  delete rest[key];
  return rest;
}
