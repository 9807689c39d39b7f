/** A made-up kernel for the development page: it answers requests from given numbers, as slowly as it is told. */
import type { FromPage } from "../src/protocol";

type Numbers = number[][];
export interface Data {
  clean: string[];
  corrupted: string[];
  baselines: [number, number];
  resid_pre: Numbers;
  heads: Numbers;
  attention: { clean: number[]; corrupted: number[] };
}
export interface Behaviour {
  /** Milliseconds between batches. */
  pace: number;
  /** Stop for good after this share of the main grid. */
  freezeAt: number;
  fails: "" | "engine" | "check";
  waits: string | null;
  noise: number;
}
type Json = Record<string, unknown>;
type Listener = (content: unknown, buffers: DataView[]) => void;
type Params = { layer: number; pos: number; head: number };

export class FakeKernel {
  #listeners = new Set<Listener>();
  #seq = 0;
  #views = 0;
  #cancelled = new Set<string>();
  readonly #data: Data;
  readonly #behaviour: Behaviour;
  #mainId = "";
  #detailId = "";

  constructor(data: Data, behaviour: Behaviour) {
    this.#data = data;
    this.#behaviour = behaviour;
  }

  on(listener: Listener): void {
    this.#listeners.add(listener);
  }

  receive(message: FromPage): void {
    if (message.type === "cancel") this.#cancelled.add(message.id);
    if (message.type === "hello") {
      if (message.known === undefined) this.#hello();
      if (!this.#mainId) void this.#sweep(null);
    }
    if (message.type !== "request") return;
    const params = message.params as Params;
    if (message.method === "sweep") void this.#sweep(message.id);
    if (message.method === "heads") void this.#heads(message.id, params);
    if (message.method === "attention") this.#attention(message.id, params);
  }

  #post(json: Json, buffers: DataView[] = []): void {
    this.#seq += 1;
    const content = structuredClone({ v: 1, seq: this.#seq, ...json });
    setTimeout(() => {
      for (const listener of this.#listeners) listener(content, buffers);
    });
  }

  #hello(): void {
    const { clean, corrupted, baselines } = this.#data;
    this.#post({
      type: "hello",
      lab: {
        model: "SmolLM2-135M",
        site: "resid_pre",
        metric: "logit_diff",
        direction: "denoise",
        waits: this.#behaviour.waits,
      },
      pair: {
        clean,
        corrupted,
        differs: clean.map((token, i) => token !== corrupted[i]),
        answer: " Mary",
        distractor: " John",
      },
      baselines: {
        clean: baselines[0],
        corrupted: baselines[1],
        clean_top: [
          [" Mary", 0.914],
          [" the", 0.021],
          [" John", 0.009],
          [" a", 0.0062],
          [" his", 0.005],
          [" her", 0.0031],
          ["\n", 0.002],
          [" them", 0.0004],
        ],
        corrupted_top: [
          [" John", 0.83],
          [" Mary", 0.04],
          [" the", 0.03],
          [" a", 0.012],
          [" his", 0.008],
          [" her", 0.005],
          [" him", 0.002],
          [" it", 0.001],
        ],
      },
      views: [],
    });
  }

  #grid(more: Json): Json {
    const [clean, corrupted] = this.#data.baselines;
    return {
      kind: "grid",
      status: "running",
      done: 0,
      seconds_left: null,
      metric: "logit_diff",
      direction: "denoise",
      clean,
      corrupted,
      noise_floor: this.#behaviour.noise,
      reason: null,
      checks: [],
      values: 0,
      recovery: 1,
      state: 2,
      ...more,
    };
  }

  async #sweep(request: string | null): Promise<void> {
    this.#mainId = `v${++this.#views}`;
    const numbers = this.#data.resid_pre;
    const view = this.#grid({
      id: this.#mainId,
      request,
      title: "Recovery by layer and token",
      site: "resid_pre",
      pos: null,
      marked: null,
      parent: null,
      rows: { axis: "layer", labels: numbers.map((_, i) => String(i)) },
      cols: { axis: "pos", labels: this.#data.corrupted },
    });
    await this.#measure(view, numbers, request, this.#behaviour.freezeAt);
  }

  async #heads(request: string, { layer, pos }: Params): Promise<void> {
    this.#detailId = `v${++this.#views}`;
    const numbers = this.#data.heads;
    const view = this.#grid({
      id: this.#detailId,
      request,
      title: `Heads at '${this.#data.corrupted[pos]}' (${pos})`,
      site: "z",
      pos,
      marked: { row: layer, col: null },
      parent: { view: this.#mainId, row: layer, col: pos },
      rows: { axis: "layer", labels: numbers.map((_, i) => String(i)) },
      cols: { axis: "head", labels: (numbers[0] ?? []).map((_, i) => String(i)) },
    });
    await this.#measure(view, numbers, request, 1);
  }

  async #measure(view: Json, numbers: Numbers, request: string | null, freezeAt: number): Promise<void> {
    const cols = numbers[0]?.length ?? 0;
    const recovery = Float32Array.from(numbers.flat());
    const total = recovery.length;
    const [clean, corrupted] = this.#data.baselines;
    const values = recovery.map((r) => corrupted + r * (clean - corrupted));
    const state = recovery.map((r) => (Number.isNaN(r) ? 3 : 1));
    const id = request ?? (view.id as string);
    const empty = new Float32Array(total).fill(Number.NaN);
    this.#post(
      { type: "progress", id: request, view: view.id, done: 0, total, seconds_left: null, open: { ...view, total } },
      [bytes(empty), bytes(empty), bytes(new Uint8Array(total))],
    );
    const known = { values: empty.slice(), recovery: empty.slice(), state: new Uint8Array(total) };
    const batch = Math.max(cols, Math.ceil(total / 30));
    for (let start = 0; start < total; start += batch) {
      await new Promise((resolve) => setTimeout(resolve, this.#behaviour.pace));
      if (this.#behaviour.fails === "engine" && start > total / 3) return this.#fail(request, view.id as string);
      if (start / total >= freezeAt) return;
      const stopped = this.#cancelled.has(id);
      const done = Math.min(total, start + batch);
      const index = Uint32Array.from({ length: done - start }, (_, i) => start + i);
      if (stopped) {
        return this.#post(
          {
            type: "result",
            id: request,
            view: view.id,
            status: "cancelled",
            open: { ...view, status: "cancelled", done: start, total },
          },
          [bytes(known.values), bytes(known.recovery), bytes(known.state)],
        );
      }
      for (const i of index)
        [known.values[i], known.recovery[i], known.state[i]] = [
          values[i] as number,
          recovery[i] as number,
          state[i] as number,
        ];
      this.#post(
        {
          type: "progress",
          id: request,
          view: view.id,
          done,
          total,
          seconds_left: ((total - done) / batch) * (this.#behaviour.pace / 1000),
          cells: { index: 0, values: 1, recovery: 2, state: 3 },
        },
        [
          bytes(index),
          bytes(values.slice(start, done)),
          bytes(recovery.slice(start, done)),
          bytes(Uint8Array.from(state.slice(start, done))),
        ],
      );
    }
    const ok = this.#behaviour.fails !== "check";
    const checks = [
      {
        name: "identity",
        ok,
        value: ok ? 0 : 0.031,
        limit: 1e-4,
        text: "patching with the base run's own activation changes nothing",
      },
      { name: "full patch", ok: true, value: 1, limit: 1e-3, text: "patching everything restores the clean run" },
      { name: "logits", ok: true, value: 3e-6, limit: 1e-4, text: "logits equal those of the model called directly" },
    ];
    this.#post(
      {
        type: "result",
        id: request,
        view: view.id,
        status: "done",
        open: { ...view, status: "done", done: total, total, seconds_left: 0, checks },
      },
      [bytes(values), bytes(recovery), bytes(Uint8Array.from(state))],
    );
  }

  #attention(request: string, { layer, head, pos }: Params): void {
    const { clean, corrupted } = this.#data.attention;
    this.#post(
      {
        type: "result",
        id: request,
        view: `v${++this.#views}`,
        status: "done",
        open: {
          id: `v${this.#views}`,
          kind: "attention",
          request,
          title: `Head ${layer}.${head}`,
          layer,
          head,
          pos,
          tokens: this.#data.corrupted,
          tokens_clean: this.#data.clean,
          clean: 0,
          corrupted: 1,
          parent: { view: this.#detailId, row: layer, col: head },
          status: "done",
        },
      },
      [bytes(Float32Array.from(clean)), bytes(Float32Array.from(corrupted))],
    );
  }

  #fail(request: string | null, view: string): void {
    this.#post({
      type: "error",
      id: request,
      view,
      message: "There was not enough memory for one row of this sweep.",
      hint: 'Use a shorter prompt, or load the model with dtype="bfloat16".',
    });
  }
}

function bytes(array: Float32Array | Uint32Array | Uint8Array): DataView {
  const copy = array.slice();
  return new DataView(copy.buffer, copy.byteOffset, copy.byteLength);
}
