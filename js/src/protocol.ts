/** Messages between page and kernel as they travel, typed and checked.  The contract is patchwidget/widget/protocol.md. */
import * as v from "valibot";

export const VERSION = 2;

// ---- page to kernel

export type Patch = Record<string, string | number>;
export type CellRef = { view: string; row: number | null; col: number | null };
export type Prompts = { clean: string; corrupted: string; answer?: string | number; distractor?: string | number };
export type Setting = { pair: number; site: string; metric: string; direction: string };

/** A question is asked at a cell; the names are those of the protocol. */
export type Question = { method: string; params: Record<string, unknown> };

export type FromPage =
  | { v: 2; type: "hello"; page: string; known?: number }
  | ({ v: 2; type: "request"; id: string } & Question)
  | { v: 2; type: "cancel"; id: string };

// ---- kernel to page

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const nullable = <S extends v.GenericSchema>(schema: S) => v.nullish(schema, null);
const flag = v.nullish(v.boolean(), false);
const index = nullable(count);
const number = nullable(v.number());
const text = nullable(v.string());
const strings = v.array(v.string());
const list = <S extends v.GenericSchema>(schema: S) => v.nullish(v.array(schema), []);
const status = v.picklist(["queued", "running", "done", "cancelled", "failed"]);
const params = v.record(v.string(), v.unknown());
const place = v.object({ row: index, col: index });
const patch = v.record(v.string(), v.union([v.string(), v.number()]));

const option = v.object({ name: v.string(), label: v.string(), text: v.nullish(v.string(), ""), reason: text });

const lab = v.object({
  id: v.string(),
  model: v.string(),
  live: v.nullish(v.boolean(), true),
  waits: text,
  rerun: text,
  pair: count,
  site: v.string(),
  metric: v.string(),
  direction: v.string(),
  pairs: v.array(v.object({ label: v.string(), clean: text, corrupted: text, answer: text, distractor: text })),
  edit: text,
  sites: v.array(option),
  metrics: v.array(option),
  directions: v.array(option),
  current: text,
  pinned: text,
  views: list(v.string()),
  teach: flag,
});

const pair = v.object({
  clean: strings,
  corrupted: strings,
  differs: v.array(v.boolean()),
  answer: v.string(),
  distractor: v.string(),
});

const topTokens = list(v.tuple([v.string(), v.number()]));
const baselines = v.object({ clean: number, corrupted: number, clean_top: topTokens, corrupted_top: topTokens });

const outcome = v.object({ value: number, recovery: number, effect: number });
const selection = v.object({
  cells: list(patch),
  status: v.picklist(["none", "queued", "running", "done", "cancelled", "failed"]),
  joint: nullable(outcome),
  parts: nullable(v.array(outcome)),
  synergy: number,
  noise_floor: number,
  explain: text,
  message: text,
  hint: text,
});

const check = v.object({ name: v.string(), ok: v.boolean(), value: number, limit: number, text: v.string() });

const step = v.object({
  method: v.string(),
  label: v.string(),
  text: v.nullish(v.string(), ""),
  params,
  takes: v.record(v.string(), v.string()),
  only: nullable(v.record(v.string(), v.array(v.union([v.string(), v.number()])))),
  reason: text,
});

const axis = v.object({
  axis: v.string(),
  size: count,
  labels: nullable(strings),
  values: nullable(v.array(v.union([v.string(), v.number()]))),
});

const common = {
  id: v.string(),
  question: v.object({ method: v.string(), params }),
  request: text,
  pair: count,
  site: v.string(),
  metric: v.string(),
  direction: v.string(),
  title: v.string(),
  crumb: v.string(),
  explain: v.nullish(v.string(), ""),
  parent: nullable(v.object({ view: v.string(), row: index, col: index })),
  status,
  steps: list(step),
  code: v.nullish(v.string(), ""),
  kept: flag,
};

const grid = v.object({
  ...common,
  kind: v.literal("grid"),
  rows: axis,
  cols: axis,
  patch: nullable(patch),
  marked: nullable(place),
  done: count,
  total: count,
  seconds_left: number,
  clean: number,
  corrupted: number,
  noise_floor: number,
  reason: text,
  checks: list(check),
  values: index,
  recovery: index,
  state: index,
});

const attention = v.object({
  ...common,
  kind: v.literal("attention"),
  layer: count,
  head: count,
  pos: index,
  tokens: strings,
  tokens_clean: nullable(strings),
  clean: index,
  corrupted: index,
});

const view = v.variant("kind", [grid, attention]);
const seq = count;
const id = text;
const shared = { lab, pair, baselines: nullable(baselines), selection: nullable(selection) };
const problem = v.object({ field: v.string(), message: v.string(), hint: text });
const choice = v.tuple([v.string(), v.number(), v.number()]);

const message = v.variant("type", [
  v.object({ type: v.literal("hello"), seq, ...shared, views: v.array(view) }),
  v.object({ type: v.literal("lab"), seq, id, ...shared }),
  v.object({
    type: v.literal("progress"),
    seq,
    id,
    view: v.string(),
    done: count,
    total: count,
    seconds_left: number,
    open: nullable(view),
    cells: nullable(v.object({ index: count, values: count, recovery: count, state: count })),
  }),
  v.object({ type: v.literal("result"), seq, id, view: v.string(), status, open: nullable(view) }),
  v.object({
    type: v.literal("preview"),
    seq,
    id,
    clean: strings,
    corrupted: strings,
    columns: v.array(v.tuple([v.nullable(count), v.nullable(count)])),
    differs: v.array(v.boolean()),
    top: nullable(v.object({ clean: v.array(choice), corrupted: v.array(choice) })),
    problems: v.array(problem),
  }),
  v.object({ type: v.literal("selection"), seq, id, selection }),
  v.object({
    type: v.literal("error"),
    seq,
    id,
    view: text,
    message: v.string(),
    hint: text,
    field: text,
  }),
]);

export const wireMessage = message;
export type WireMessage = v.InferOutput<typeof message>;
export type WireView = v.InferOutput<typeof view>;
export type WireGrid = v.InferOutput<typeof grid>;
export type WireAttention = v.InferOutput<typeof attention>;

export type Lab = v.InferOutput<typeof lab>;
export type Option = v.InferOutput<typeof option>;
export type Pair = v.InferOutput<typeof pair>;
export type Baselines = v.InferOutput<typeof baselines>;
export type Selection = v.InferOutput<typeof selection>;
export type Outcome = v.InferOutput<typeof outcome>;
export type Check = v.InferOutput<typeof check>;
export type Step = v.InferOutput<typeof step>;
export type WireAxis = v.InferOutput<typeof axis>;
export type Status = v.InferOutput<typeof status>;
export type Preview = Extract<WireMessage, { type: "preview" }>;
export type FieldProblem = v.InferOutput<typeof problem>;
export type Choice = v.InferOutput<typeof choice>;
