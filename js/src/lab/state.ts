/** What the page knows of the lab, and how each message changes it.  Pure functions: no DOM, no transport. */
import type { Talk } from "../transport/connection";
import type { Ahead, Problem } from "../transport/messages";
import type { Baselines, FieldProblem, Pair, Patch, Preview, Selection } from "./message-schema";
import { type Cells, type FromKernel, type GridCells, type GridView, parseMessage, type View } from "./messages";
import { type Here, land, leave, shown } from "./navigation";
import { type OpenRequest, type Slot, slotOf } from "./requests";

export interface LabState extends Here {
  link: "connecting" | "live" | "lost" | "stored";
  /** Something was asked, and nothing has come from the kernel for some seconds. */
  silent: boolean;
  pair: Pair | null;
  baselines: Baselines | null;
  selection: Selection | null;
  /** Whose work goes before this lab's. */
  ahead: Ahead;
  preview: Preview | null;
  problems: Readonly<Partial<Record<"page" | "main" | "detail", Problem>>>;
  /** What is wrong with what was typed. */
  fields: readonly FieldProblem[];
}

export const initialState: LabState = {
  link: "connecting",
  silent: false,
  lab: null,
  pair: null,
  baselines: null,
  selection: null,
  ahead: null,
  views: new Map(),
  moved: null,
  preview: null,
  open: {},
  problems: {},
  fields: [],
};

/** A request has been sent: an earlier one of its slot is no longer waited for. */
export function asked(state: LabState, request: OpenRequest): LabState {
  const next = { ...state, open: { ...state.open, [request.slot]: request } };
  switch (request.slot) {
    case "main":
    case "prompts":
      return { ...next, problems: without(without(state.problems, "main"), "detail"), fields: [] };
    case "detail":
    case "show":
      return { ...next, problems: without(state.problems, "detail"), moved: leave(state, request) };
    case "selection":
      return { ...next, selection: awaited(request.params.cells as Patch[]) };
    default:
      return next;
  }
}

/** The selection as it is until the kernel has measured it. */
function awaited(cells: Patch[]): Selection {
  const nothing = {
    joint: null,
    parts: null,
    synergy: null,
    noise_floor: null,
    explain: null,
    message: null,
    hint: null,
  };
  return { cells, status: cells.length > 0 ? "queued" : "none", ...nothing };
}

export function received(state: LabState, message: FromKernel): LabState {
  const next = taken(state, message);
  const moved = land(next, state, message);
  return moved === next.moved ? next : { ...next, moved };
}

function taken(state: LabState, message: FromKernel): LabState {
  switch (message.type) {
    case "hello":
      return hello(state, message);
    case "lab":
      return over(labChanged(state, message), message.id);
    case "progress":
      return progress(state, message);
    case "result": {
      const { open } = message;
      return over(open ? changed(state, open.id, open, () => open) : state, message.id);
    }
    case "preview":
      return state.open.preview?.id === message.id ? { ...state, preview: message, fields: message.problems } : state;
    case "selection":
      return selectionChanged(state, message.id, message.selection);
    case "queue":
      return over({ ...state, ahead: message.ahead }, message.id);
    case "error":
      return failed(state, message);
  }
}

function hello(state: LabState, message: Extract<FromKernel, { type: "hello" }>): LabState {
  const { lab, pair, baselines, selection, views } = message;
  const known = new Map(views.map((view) => [view.id, kept(state.views.get(view.id), view)]));
  return {
    ...state,
    link: lab.live ? "live" : "stored",
    lab,
    pair,
    baselines,
    selection,
    ahead: null,
    views: known,
    // what was asked before a loss may have been answered meanwhile
    open: state.link === "live" ? {} : state.open,
    problems: without(state.problems, "page"),
  };
}

/** A view whose arrays the kernel keeps back is shown from what the page has of it. */
function kept(mine: View | undefined, view: View): View {
  if (!view.kept || !mine || mine.kind !== view.kind) return view;
  if (mine.kind === "grid" && view.kind === "grid" && mine.cells && mine.done === view.done)
    return { ...view, cells: mine.cells, significant: mine.significant, kept: false };
  if (mine.kind === "attention" && view.kind === "attention" && mine.clean)
    return { ...view, clean: mine.clean, corrupted: mine.corrupted, kept: false };
  return view;
}

function labChanged(state: LabState, message: Extract<FromKernel, { type: "lab" }>): LabState {
  const { lab, pair, baselines } = message;
  const ids = new Set(lab.views);
  const gone = [...state.views.keys()].some((id) => !ids.has(id));
  const views = gone ? new Map([...state.views].filter(([id]) => ids.has(id))) : state.views;
  const selection = state.open.selection ? state.selection : message.selection;
  return { ...state, lab, pair, baselines, selection, views };
}

function progress(state: LabState, message: Extract<FromKernel, { type: "progress" }>): LabState {
  const { view: id, open, cells, done, total, seconds_left, recorded } = message;
  return changed(state, id, open, (view) =>
    view.kind === "grid" && (cells || !open)
      ? {
          ...view,
          cells: merged(view, cells),
          status: "running",
          done,
          total,
          seconds_left,
          recorded: recorded ?? view.recorded,
        }
      : view,
  );
}

/** Puts a view in its place, or changes the one that is there. */
function changed(state: LabState, id: string, opened: View | null, change: (view: View) => View): LabState {
  const view = opened ?? state.views.get(id);
  if (!view) return state;
  const views = new Map(state.views).set(id, change(view));
  if (!opened || state.problems.main === undefined || opened.parent !== null) return { ...state, views };
  return { ...state, views, problems: without(state.problems, "main") };
}

function merged(view: GridView, news: Cells | null): GridCells | null {
  if (!news) return view.cells;
  const next = view.cells
    ? { values: view.cells.values.slice(), recovery: view.cells.recovery.slice(), state: view.cells.state.slice() }
    : blank(view.rows.size * view.cols.size);
  news.index.forEach((cell, i) => {
    next.values[cell] = news.values[i] as number;
    next.recovery[cell] = news.recovery[i] as number;
    next.state[cell] = news.state[i] as number;
  });
  return next;
}

function blank(size: number): GridCells {
  const unknown = () => new Float32Array(size).fill(Number.NaN);
  return { values: unknown(), recovery: unknown(), state: new Uint8Array(size) };
}

function selectionChanged(state: LabState, id: string | null, selection: Selection): LabState {
  const mine = state.open.selection;
  if (mine && mine.id !== id) return state;
  const settled = !["queued", "running"].includes(selection.status);
  return { ...state, selection, open: settled && mine ? without(state.open, "selection") : state.open };
}

function failed(state: LabState, message: Extract<FromKernel, { type: "error" }>): LabState {
  const problem = { message: message.message, hint: message.hint ?? "" };
  const request = Object.values(state.open).find((open) => open.id === message.id);
  const next = over(failedView(state, message.view), message.id);
  if (message.field) {
    return {
      ...next,
      fields: [...next.fields, { field: message.field, message: problem.message, hint: message.hint }],
    };
  }
  if (request?.slot === "selection" && state.selection) {
    return { ...next, selection: { ...state.selection, status: "failed", ...problem } };
  }
  const { main } = shown(state);
  const view = message.view === null ? undefined : state.views.get(message.view);
  const slot = view ? (view === main || view.parent === null ? "main" : "detail") : placeOf(request?.slot);
  return { ...next, problems: { ...next.problems, [slot]: problem } };
}

function placeOf(slot: Slot | undefined): "page" | "main" | "detail" {
  if (slot === "prompts" || slot === "main") return "main";
  return slot === "detail" ? "detail" : "page";
}

function failedView(state: LabState, id: string | null): LabState {
  const view = id === null ? undefined : state.views.get(id);
  return view ? { ...state, views: new Map(state.views).set(view.id, { ...view, status: "failed" }) } : state;
}

/** A request is over. */
function over(state: LabState, id: string | null): LabState {
  const request = id === null ? undefined : Object.values(state.open).find((open) => open.id === id);
  return request ? { ...state, open: without(state.open, request.slot) } : state;
}

function without<T extends object, K extends keyof T>(record: T, key: K): T {
  if (!(key in record)) return record;
  const rest = { ...record };
  delete rest[key];
  return rest;
}

export const labTalk: Talk<LabState, ReturnType<typeof parseMessage>> = {
  parse: parseMessage,
  received,
  asked: (state, request) => asked(state, { ...request, slot: slotOf(request.method) }),
  working: ({ views, selection, ahead }) =>
    ahead !== null || [...views.values(), selection].some((one) => one && ["queued", "running"].includes(one.status)),
};
