/** Messages between page and kernel as they travel, typed and checked.  The contract is patchwidget/widget/protocol.md. */
import { ids, queue } from "../transport/messages";
import {
  number as aNumber,
  array,
  boolean,
  coordinate,
  count,
  nullable,
  object,
  oneOf,
  optional,
  type Read,
  record,
  type Shape,
  string,
  tuple,
  variant,
} from "../transport/schema";

// ---- page to kernel

export type Patch = Record<string, string | number>;
export type Prompts = { clean: string; corrupted: string; answer?: string | number; distractor?: string | number };
export type Setting = { pair: number; site: string; metric: string; direction: string };

// ---- kernel to page

const list = <T>(shape: Shape<T>) => optional(array(shape), []);
const flag = optional(boolean, false);
const words = optional(string, "");
const index = nullable(count);
const number = nullable(aNumber);
const text = nullable(string);
const anything: Shape<unknown> = (value) => value;
const status = oneOf("queued", "running", "done", "cancelled", "failed");
const patch = record(coordinate);

const option = object({ name: string, label: string, text: words, reason: text });

const cell = object({ view: string, row: index, col: index });

const lab = object({
  id: string,
  model: string,
  live: optional(boolean, true),
  waits: text,
  pair: aNumber,
  site: string,
  metric: string,
  direction: string,
  pairs: array(object({ label: string, clean: text, corrupted: text, answer: text, distractor: text })),
  every: nullable(option),
  edit: text,
  sites: array(option),
  metrics: array(option),
  directions: array(option),
  way: array(cell),
  ways: list(array(cell)),
  pinned: text,
  views: list(string),
  teach: flag,
});

/** The two prompts side by side: positions that stand over one another, null for a gap; and which columns differ. */
const aligned = {
  clean: array(string),
  corrupted: array(string),
  columns: array(tuple(index, index)),
  differs: array(boolean),
};

const pair = object({
  ...aligned,
  answer: string,
  distractor: string,
  note: words,
});

const topTokens = list(tuple(string, aNumber));
const baselines = object({ clean: number, corrupted: number, clean_top: topTokens, corrupted_top: topTokens });

const outcome = object({ value: number, recovery: number, effect: number });
const selection = object({
  cells: list(patch),
  status: oneOf("none", "queued", "running", "done", "cancelled", "failed"),
  joint: nullable(outcome),
  parts: nullable(array(outcome)),
  synergy: number,
  noise_floor: number,
  explain: text,
  message: text,
  hint: text,
});

const check = object({ name: string, ok: boolean, value: number, limit: number, text: string });

const step = object({
  method: string,
  label: string,
  text: words,
  params: record(anything),
  takes: record(string),
  only: nullable(record(array(coordinate))),
  reason: text,
});

const axis = object({
  axis: string,
  size: count,
  labels: nullable(array(string)),
  values: nullable(array(coordinate)),
});

const common = {
  id: string,
  question: object({ method: string, params: record(anything) }),
  request: text,
  pair: aNumber,
  site: string,
  metric: string,
  direction: string,
  title: string,
  crumb: string,
  explain: words,
  parent: nullable(cell),
  status,
  steps: list(step),
  code: words,
  kept: flag,
};

const grid = object({
  ...common,
  rows: axis,
  cols: axis,
  patch: nullable(patch),
  pairs: index,
  recorded: index,
  outlined: words,
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
  significant: index,
});

const attention = object({
  ...common,
  layer: count,
  head: count,
  pos: index,
  tokens: array(string),
  tokens_clean: nullable(array(string)),
  clean: index,
  corrupted: index,
});

const view = variant("kind", { grid, attention });
const shared = { lab, pair, baselines: nullable(baselines), selection: nullable(selection) };
const problem = object({ field: string, message: string, hint: text });
const choice = tuple(string, aNumber, aNumber);

const message = variant("type", {
  hello: object({ seq: count, ...shared, views: array(view) }),
  lab: object({ ...ids, ...shared }),
  progress: object({
    ...ids,
    view: string,
    done: count,
    total: count,
    seconds_left: number,
    recorded: index,
    open: nullable(view),
    cells: nullable(object({ index: count, values: count, recovery: count, state: count })),
  }),
  result: object({ ...ids, view: string, status, open: nullable(view) }),
  preview: object({
    ...ids,
    ...aligned,
    note: text,
    top: nullable(object({ clean: array(choice), corrupted: array(choice) })),
    likelier: nullable(object({ text: string, answer: nullable(choice), distractor: nullable(choice) })),
    problems: array(problem),
  }),
  selection: object({ ...ids, selection }),
  queue,
  error: object({ ...ids, view: text, message: string, hint: text, field: text }),
});

export const wireMessage = message;
export type WireMessage = Read<typeof message>;
export type WireView = Read<typeof view>;
export type WireGrid = Extract<WireView, { kind: "grid" }>;
export type WireAttention = Extract<WireView, { kind: "attention" }>;

export type CellRef = Read<typeof cell>;
export type Lab = Read<typeof lab>;
export type Option = Read<typeof option>;
export type Pair = Read<typeof pair>;
export type Columns = Pair["columns"];
export type Baselines = Read<typeof baselines>;
export type Selection = Read<typeof selection>;
export type Outcome = Read<typeof outcome>;
export type Check = Read<typeof check>;
export type Step = Read<typeof step>;
export type WireAxis = Read<typeof axis>;
export type Status = Read<typeof status>;
export type Preview = Extract<WireMessage, { type: "preview" }>;
export type FieldProblem = Read<typeof problem>;
export type Choice = Read<typeof choice>;
