/** A made-up kernel for the development page: it answers from made-up numbers, as slowly as it is told. */
import { beyond, taken, upTo, type Way, type Ways } from "../src/lab/ways";
import { canonical } from "../src/transport/canonical";
import type { FromPage } from "../src/transport/messages";
import {
  attentionRow,
  checks,
  grid,
  jointOf,
  nothing,
  type Params,
  previewOf,
  problemsOf,
  promptsOf,
  type Setting,
} from "./answers";
import { type Data, directions, explain, metrics, sites, steps } from "./lab";
import { type Json, pack } from "./wire";

export interface Behaviour {
  /** Milliseconds between batches. */
  pace: number;
  /** Stop for good after this share of the main grid. */
  freezeAt: number;
  fails: "" | "engine" | "check";
  waits: string | null;
  teach: boolean;
  live: boolean;
}
type View = Json & { id: string; values?: Float32Array; recovery?: Float32Array; state?: Uint8Array };

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

export class FakeKernel {
  readonly #listeners = new Set<(content: unknown, buffers: DataView[]) => void>();
  readonly #data: Data;
  readonly #behaviour: Behaviour;
  readonly #views = new Map<string, View>();
  readonly #cancelled = new Set<string>();
  readonly #pairs: Json[];
  #setting: Setting = { pair: 0, site: "resid_pre", metric: "logit_diff", direction: "denoise" };
  #seq = 0;
  #way: Way = [];
  #ways: Ways = [];
  #pinned: string | null = null;
  #teach: boolean;
  #selection: Json = nothing;

  constructor(data: Data, behaviour: Behaviour) {
    [this.#data, this.#behaviour, this.#teach] = [data, behaviour, behaviour.teach];
    const text = (tokens: string[]) => tokens.filter((token) => !token.startsWith("<|")).join("");
    const texts = { clean: text(data.clean), corrupted: text(data.corrupted), answer: " Mary", distractor: " John" };
    this.#pairs = [
      { label: "John and Mary", ...texts },
      { label: "Tom and Anna", ...texts },
    ];
  }

  on(listener: (content: unknown, buffers: DataView[]) => void): void {
    this.#listeners.add(listener);
  }

  receive(message: FromPage): void {
    if (message.type === "cancel") this.#cancelled.add(message.id);
    if (message.type === "hello" && message.known === undefined) this.#hello();
    if (message.type === "hello" && this.#views.size === 0) void this.#open(null, "set", {}, []);
    if (message.type === "request") this.#answer(message.id, message.method, structuredClone(message.params));
  }

  #answer(id: string, method: string, { parent = [], ...params }: Params): void {
    const handlers: Record<string, () => unknown> = {
      set: () => {
        Object.assign(this.#setting, params);
        return this.#open(id, "set", {}, []);
      },
      set_pair: () => this.#setPair(id, params),
      preview: () => this.#post({ type: "preview", id, ...previewOf(params) }),
      sweep: () => this.#measure(this.#views.get(String(params.view)) as View, id),
      show: () => {
        this.#go(params.way as Way);
        this.#result(id, this.#views.get(String(params.view)) as View);
        this.#lab(null);
      },
      select: () => this.#select(id, params.cells as Params[]),
      pin: () => {
        this.#pinned = (params.view as string | null) ?? null;
        this.#lab(id);
      },
      teach: () => {
        this.#teach = Boolean(params.on);
        this.#lab(id);
      },
      again: () => {
        const view = this.#views.get(String(params.view)) as View;
        const question = view.question as { method: string; params: Params };
        const way = upTo(this.#way, view.id) ?? [];
        return this.#open(id, question.method, question.params, way.slice(0, -1), params);
      },
    };
    void (handlers[method] ?? (() => this.#open(id, method, params, parent as Way)))();
  }

  #go(way: Way): void {
    this.#way = way;
    this.#ways = taken(this.#ways, way);
  }

  #post(json: Json): void {
    this.#seq += 1;
    const [content, buffers] = pack({ v: 2, seq: this.#seq, ...json });
    setTimeout(() => {
      for (const listener of this.#listeners) listener(content, buffers);
    });
  }

  /** What `hello` and `lab` have in common. */
  shared(): Json {
    return {
      lab: {
        id: "dev",
        model: "SmolLM2-135M",
        live: this.#behaviour.live,
        waits: this.#behaviour.waits,
        ...this.#setting,
        pairs: this.#pairs,
        edit: null,
        sites,
        metrics,
        directions,
        way: this.#way,
        ways: this.#ways,
        pinned: this.#pinned,
        views: [...this.#views.keys()],
        teach: this.#teach,
      },
      ...promptsOf(this.#data),
      selection: this.#selection,
    };
  }

  #hello(): void {
    this.#post({ type: "hello", ...this.shared(), views: [...this.#views.values()] });
  }

  #lab(id: string | null): void {
    this.#post({ type: "lab", id, ...this.shared() });
  }

  #result(id: string | null, view: View): void {
    this.#post({ type: "result", id, view: view.id, status: view.status, open: view });
  }

  async #open(id: string | null, method: string, params: Params, way: Way, other: Params = {}): Promise<void> {
    const setting = { ...this.#setting, ...other };
    const key = canonical([
      method,
      params,
      setting.pair,
      setting.metric,
      setting.direction,
      method === "set" && setting.site,
    ]);
    const old = [...this.#views.values()].find((view) => view.key === key);
    if (old) {
      this.#go(beyond(this.#ways, way, old.id));
      this.#result(id, old);
      return this.#lab(null);
    }
    const view = (
      method === "attention" ? attentionRow(this.#data, params) : grid(this.#data, method, params, setting)
    ) as View;
    const common = {
      id: `v${this.#views.size + 1}`,
      key,
      question: { method, params },
      request: id,
      explain: explain(setting.direction),
      parent: way.at(-1) ?? null,
      status: "queued",
      steps: steps(method, params),
      code: "import patchwidget as pw\nmodel = pw.load()\n# …\n",
      kept: false,
    };
    const made: View = { ...setting, ...view, ...common };
    this.#views.set(made.id, made);
    this.#go(beyond(this.#ways, way, made.id));
    const { values, recovery, state, clean, corrupted, ...bare } = made;
    const blank =
      method === "attention"
        ? { clean: null, corrupted: null }
        : { clean, corrupted, values: null, recovery: null, state: null };
    this.#post({
      type: "progress",
      id,
      view: made.id,
      done: 0,
      total: made.total ?? 1,
      seconds_left: null,
      open: { ...bare, ...blank },
    });
    this.#lab(null);
    await pause(this.#behaviour.pace);
    if (method !== "attention") return this.#measure(made, id);
    made.status = "done";
    this.#result(id, made);
  }

  /** An estimate at once, then the exact cells, the largest first. */
  async #measure(view: View, id: string | null): Promise<void> {
    const { pace, freezeAt, fails } = this.#behaviour;
    const { values, recovery, state } = view as Required<View>;
    const order = Uint32Array.from(recovery, (_, i) => i).sort(
      (a, b) => Math.abs(recovery[b] as number) - Math.abs(recovery[a] as number),
    );
    const total = order.length;
    const known = {
      values: new Float32Array(total).fill(Number.NaN),
      recovery: new Float32Array(total).fill(Number.NaN),
      state: new Uint8Array(total),
    };
    const tell = (index: Uint32Array, estimate: boolean, done: number) => {
      const of = (numbers: Float32Array) =>
        Float32Array.from(index, (i) => (numbers[i] as number) * (estimate ? 0.85 : 1));
      const cells = {
        index,
        values: of(values),
        recovery: of(recovery),
        state: Uint8Array.from(index, (i) => (estimate ? 2 : (state[i] as number))),
      };
      index.forEach((i, n) => {
        [known.values[i], known.recovery[i], known.state[i]] = [
          cells.values[n] as number,
          cells.recovery[n] as number,
          cells.state[n] as number,
        ];
      });
      this.#post({
        type: "progress",
        id,
        view: view.id,
        done,
        total,
        seconds_left: ((total - done) / total) * pace * 0.03,
        cells,
      });
    };
    Object.assign(view, { status: "running" });
    tell(
      order.filter((i) => !Number.isNaN(recovery[i] as number)),
      true,
      0,
    );
    const batch = Math.max(1, Math.ceil(total / 30));
    for (let start = 0; start < total; start += batch) {
      await pause(pace);
      if (fails === "engine" && start > total / 3) return this.#fail(id, view);
      if (start / total >= freezeAt) return;
      if (this.#cancelled.has(id ?? view.id)) {
        Object.assign(view, { ...known, status: "cancelled", done: start });
        return this.#result(id, view);
      }
      tell(order.slice(start, start + batch), false, Math.min(total, start + batch));
    }
    Object.assign(view, { status: "done", done: total, seconds_left: 0, checks: checks(fails !== "check") });
    this.#result(id, view);
  }

  #fail(id: string | null, view: View): void {
    view.status = "failed";
    this.#post({
      type: "error",
      id,
      view: view.id,
      message: "There was not enough memory for one row of this sweep.",
      hint: 'Use a shorter prompt, or load the model with dtype="bfloat16".',
    });
  }

  #setPair(id: string, prompts: Params): void {
    const problems = problemsOf(prompts);
    if (problems[0]) {
      this.#post({ type: "error", id, view: null, ...problems[0] });
      return;
    }
    this.#pairs.push({ label: "typed", answer: null, distractor: null, ...prompts });
    this.#setting.pair = this.#pairs.length - 1;
    void this.#open(id, "set", {}, []);
  }

  async #select(id: string, cells: Params[]): Promise<void> {
    this.#selection = { ...nothing, cells, status: cells.length ? "running" : "none" };
    this.#post({ type: "selection", id, selection: this.#selection });
    await pause(this.#behaviour.pace * 8);
    if (cells.length === 0) return;
    this.#selection = { ...this.#selection, ...jointOf(cells.length) };
    this.#post({ type: "selection", id, selection: this.#selection });
  }
}
