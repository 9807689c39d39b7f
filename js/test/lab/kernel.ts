/** A kernel of made-up numbers for tests of the page: it answers when it is told to, and its pages hear when they are told to. */
import { type Holder, makeActions } from "../../src/lab/actions";
import type { Lab, Step } from "../../src/lab/message-schema";
import type { FromKernel, GridView, View } from "../../src/lab/messages";
import { type OpenRequest, slotOf } from "../../src/lab/requests";
import { asked, type LabState, received } from "../../src/lab/state";
import { beyond, sameWay, taken, upTo, type Way, type Ways } from "../../src/lab/ways";
import { canonical } from "../../src/transport/canonical";
import type { Question } from "../../src/transport/messages";
import { Store } from "../../src/transport/store";
import { mainGrid, opened, parsed, stateAfter } from "../fixtures";

export const [LAYERS, TOKENS, HEADS] = [3, 3, 2];
const [EXACT, ESTIMATE] = [1, 2];

/** Without sequence numbers: nothing is lost here. */
type Said = FromKernel;
type Request = { id: string; page: Page | null } & Question;

function step(method: string, params: object, takes: Record<string, string>): Step {
  return { method, label: method, text: "", params: { ...params }, takes, only: null, reason: null };
}

const ofMain = (site: string) => [
  step("heads", { site: "z" }, { pos: "pos" }),
  step("neurons", {}, { layer: "layer", pos: "pos" }),
  step("positions", { site: "z" }, { layer: "layer" }),
  step("steer", { site }, { layer: "layer", pos: "pos" }),
];
const ofHead = (pos: unknown) => [
  step("attention", { pos }, { layer: "layer", head: "head" }),
  step("parts", {}, { layer: "layer", head: "head" }),
  step("neurons", { pos }, { layer: "layer" }),
];

export class Kernel {
  readonly pages: Page[] = [];
  readonly inbox: Request[] = [];
  way: Way = [];
  ways: Ways = [];
  #views = new Map<string, View>();
  #site = "resid_pre";
  #count = 0;

  constructor() {
    this.#open(null, { method: "set", params: {} }, []);
    this.measure(99);
  }

  /** The views that are being measured. */
  get live(): View[] {
    return [...this.#views.values()].filter(({ status }) => status === "running");
  }

  /** Does what was asked first. */
  handle(): void {
    const request = this.inbox.shift();
    if (!request) return;
    const { id, method, params } = request;
    const { parent, ...rest } = params;
    const handlers: Record<string, () => void> = {
      cancel: () => this.#cancel(String(params.id)),
      show: () => this.#show(id, String(params.view), params.way as Way),
      set: () => {
        this.#site = String(params.site ?? this.#site);
        this.#open(id, { method, params: {} }, []);
      },
      sweep: () => this.#sweep(id, this.#views.get(String(params.view)) as GridView),
      steer: () => this.#lab(id),
    };
    (handlers[method] ?? (() => this.#open(id, { method, params: rest }, parent as Way)))();
  }

  /** Measures so many more cells of each view that is being measured. */
  measure(cells: number): void {
    for (const view of this.live) {
      if (view.kind === "grid") this.#measureGrid(view, cells);
      else this.#end({ ...view, status: "done", clean: new Float32Array(TOKENS), corrupted: new Float32Array(TOKENS) });
    }
  }

  hello(): Said {
    const { pair, baselines, selection } = parsed<"hello">("hello");
    const views = [...this.#views.values()];
    return { v: 2, type: "hello", seq: 0, lab: this.#about(), pair, baselines, selection, views } as unknown as Said;
  }

  #show(id: string, view: string, way: Way): void {
    if (this.#views.has(view)) {
      this.#go(way);
      this.#result(id, view);
    } else this.#tell({ type: "error", id, view: null, message: "gone", hint: "", field: null });
  }

  #open(id: string | null, question: Question, way: Way): void {
    const site = question.method === "set" ? this.#site : "z";
    const known = [...this.#views.values()].find(
      (view) => canonical([view.question, view.site]) === canonical([question, site]),
    );
    const name = known?.id ?? `v${++this.#count}`;
    const onward = beyond(this.ways, way, name);
    this.#cancelOthers(onward);
    if (known?.status === "cancelled") this.#again(id, known);
    if (!known) this.#begin({ ...madeOf(question, site), id: name, request: id, parent: way.at(-1) ?? null });
    this.#go(onward);
    if (known && known.status !== "cancelled") this.#result(id, name);
  }

  #sweep(id: string, view: View): void {
    const way = upTo(this.way, view.id) ? this.way : beyond(this.ways, [], view.id);
    this.#cancelOthers(way);
    this.#again(id, view);
    this.#go(way);
  }

  #cancelOthers(way: Way): void {
    for (const other of this.live) if (!upTo(way, other.id)) this.#cancel(other.id);
  }

  /** Measures a view again: what is known stays until it is known anew. */
  #again(id: string | null, view: View): void {
    this.#cancel(view.id);
    const now = this.#views.get(view.id) as View;
    this.#begin({ ...now, request: id, ...(now.kind === "grid" ? { done: 0 } : {}) });
  }

  #begin(view: View): void {
    this.#views.set(view.id, { ...view, status: "running" });
    this.#tell({
      type: "progress",
      id: view.request,
      view: view.id,
      done: 0,
      total: 1,
      seconds_left: null,
      open: view,
      cells: null,
    });
  }

  /** First an estimate of what is not known, then exact cells, one after the other. */
  #measureGrid(view: GridView, more: number): void {
    const size = view.rows.size * view.cols.size;
    const cells = view.cells ?? {
      values: new Float32Array(size),
      recovery: new Float32Array(size),
      state: new Uint8Array(size).fill(ESTIMATE),
    };
    const state = cells.state.map((old, i) => (i < view.done + more ? EXACT : old));
    const done = Math.min(size, view.done + more);
    const index = Uint32Array.from(cells.state, (_, i) => i).filter((i) => !view.cells || state[i] !== cells.state[i]);
    const news = {
      index,
      values: cells.values,
      recovery: cells.recovery,
      state: Uint8Array.from(index, (i) => state[i] as number),
    };
    const next = { ...view, cells: { ...cells, state }, done };
    this.#views.set(view.id, next);
    const { request: id, id: name } = view;
    this.#tell({ type: "progress", id, view: name, done, total: size, seconds_left: null, open: null, cells: news });
    if (done === size) this.#end({ ...next, status: "done" });
  }

  #end(view: View): void {
    this.#views.set(view.id, view);
    this.#result(view.request, view.id);
  }

  #cancel(name: string): void {
    const view = this.live.find(({ id, request }) => id === name || request === name);
    if (!view) return;
    const whole = view.kind === "grid" && view.cells?.state.every((state) => state === EXACT);
    this.#end(whole ? { ...view, status: "done", done: view.total } : { ...view, status: "cancelled" });
  }

  #go(way: Way): void {
    if (sameWay(way, this.way)) return;
    this.way = way;
    this.ways = taken(this.ways, way);
    this.#lab(null);
  }

  #result(id: string | null, name: string): void {
    const open = this.#views.get(name) as View;
    this.#tell({ type: "result", id, view: name, status: open.status, open });
  }

  #lab(id: string | null): void {
    const { pair, baselines, selection } = parsed<"hello">("hello");
    this.#tell({ type: "lab", id, lab: this.#about(), pair, baselines, selection });
  }

  #about(): Lab {
    const { lab } = parsed<"hello">("hello");
    return { ...lab, site: this.#site, way: this.way, ways: this.ways, views: [...this.#views.keys()] };
  }

  #tell(message: object): void {
    for (const page of this.pages) page.mail.push(structuredClone({ v: 2, seq: 0, ...message }) as unknown as Said);
  }
}

function madeOf({ method, params }: Question, site: string): View {
  const axis = (name: string, size: number) => ({ axis: name, size, labels: null, values: null });
  const grid = (rows: [string, number], cols: [string, number], steps: Step[], patch: object): GridView => ({
    ...mainGrid(),
    question: { method, params },
    site,
    status: "queued",
    title: canonical({ method, params }),
    crumb: method,
    rows: axis(...rows),
    cols: axis(...cols),
    done: 0,
    total: rows[1] * cols[1],
    cells: null,
    steps,
    patch: { site, ...patch } as Record<string, string | number>,
  });
  const { layer, pos } = params;
  switch (method) {
    case "set":
      return grid(["layer", LAYERS], ["pos", TOKENS], ofMain(site), {});
    case "heads":
      return grid(["layer", LAYERS], ["head", HEADS], ofHead(pos), { pos });
    case "positions":
      return grid(["head", HEADS], ["pos", TOKENS], [step("neurons", { layer }, { pos: "pos" })], { layer });
    case "parts":
      return grid(["site", 2], ["pos", TOKENS], [step("attention", params, { pos: "pos" })], params);
    case "neurons":
      return grid(["layer", 1], ["neuron", 4], [], { layer, pos });
    default: {
      const steps = [step("parts", { layer: layer, head: params.head }, {})];
      return {
        ...opened("result_attention"),
        question: { method, params },
        site,
        status: "queued",
        steps,
        clean: null,
      } as View;
    }
  }
}

/** A page: what it knows, what it has sent, and what is on its way to it. */
export class Page implements Holder {
  readonly store: Store<LabState>;
  readonly mail: Said[] = [];
  readonly sent: Question[] = [];
  readonly actions;
  #count = 0;

  constructor(
    readonly name: string,
    readonly kernel: Kernel,
  ) {
    this.store = new Store(received(stateAfter("hello"), kernel.hello()));
    this.actions = makeActions(this, () => ({
      request: (question) => this.#request(question),
      cancel: (id) => kernel.inbox.push({ id: "", page: this, method: "cancel", params: { id } }),
    }));
    kernel.pages.push(this);
  }

  get state(): LabState {
    return this.store.state;
  }

  update(change: (state: LabState) => LabState): void {
    this.store.update(change);
  }

  /** Reads so many messages. */
  read(messages = Number.POSITIVE_INFINITY): void {
    for (const message of this.mail.splice(0, messages)) this.update((state) => received(state, message));
  }

  #request(question: Question): void {
    this.#count += 1;
    const request: OpenRequest = { id: `${this.name}-${this.#count}`, slot: slotOf(question.method), ...question };
    this.kernel.inbox.push({ ...structuredClone(question), id: request.id, page: this });
    this.sent.push(question);
    this.update((state) => asked(state, request));
  }
}

/** All that was asked is answered, and all pages have heard of it. */
export function settle(kernel: Kernel): void {
  while (kernel.inbox.length > 0) kernel.handle();
  while (kernel.live.length > 0) kernel.measure(99);
  for (const page of kernel.pages) page.read();
}

export function gridOn(page: Page, view: string): GridView {
  const grid = page.state.views.get(view);
  if (grid?.kind !== "grid") throw new Error(`no grid ${view}`);
  return grid;
}
