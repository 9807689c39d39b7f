/** Messages between page and kernel, typed and checked.  The contract is patchwidget/widget/protocol.md. */
import * as v from "valibot";
import { type ArrayKind, type Arrays, readArray } from "./buffers";
import { ProtocolError } from "./errors";

export const VERSION = 1;

// ---- page to kernel

export type Method = "sweep" | "heads" | "attention";

export type Ask =
  | { method: "sweep"; params: Record<string, never> }
  | { method: "heads"; params: { layer: number; pos: number } }
  | { method: "attention"; params: { layer: number; head: number; pos: number } };

export type FromPage =
  | { v: 1; type: "hello"; page: string; known?: number }
  | ({ v: 1; type: "request"; id: string } & Ask)
  | { v: 1; type: "cancel"; id: string };

// ---- kernel to page

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const nullable = <S extends v.GenericSchema>(schema: S) => v.nullish(schema, null);
const index = nullable(count);
const status = v.picklist(["queued", "running", "done", "cancelled", "failed"]);

const lab = v.object({
  model: v.string(),
  site: v.string(),
  metric: v.string(),
  direction: v.string(),
  waits: nullable(v.string()),
});

const pair = v.object({
  clean: v.array(v.string()),
  corrupted: v.array(v.string()),
  differs: v.array(v.boolean()),
  answer: v.string(),
  distractor: v.string(),
});

const topTokens = v.array(v.tuple([v.string(), v.number()]));

const baselines = v.object({
  clean: nullable(v.number()),
  corrupted: nullable(v.number()),
  clean_top: topTokens,
  corrupted_top: topTokens,
});

const check = v.object({
  name: v.string(),
  ok: v.boolean(),
  value: nullable(v.number()),
  limit: nullable(v.number()),
  text: v.string(),
});

const axis = v.object({ axis: v.string(), labels: v.array(v.string()) });
const origin = nullable(v.object({ view: v.string(), row: count, col: count }));

const grid = v.object({
  id: v.string(),
  kind: v.literal("grid"),
  request: nullable(v.string()),
  title: v.string(),
  site: v.string(),
  rows: axis,
  cols: axis,
  pos: index,
  marked: nullable(v.object({ row: index, col: index })),
  parent: origin,
  status,
  done: count,
  total: count,
  seconds_left: nullable(v.number()),
  metric: v.string(),
  direction: v.string(),
  clean: nullable(v.number()),
  corrupted: nullable(v.number()),
  noise_floor: nullable(v.number()),
  reason: nullable(v.string()),
  checks: v.array(check),
  values: count,
  recovery: count,
  state: count,
});

const attention = v.object({
  id: v.string(),
  kind: v.literal("attention"),
  request: nullable(v.string()),
  title: v.string(),
  layer: count,
  head: count,
  pos: count,
  tokens: v.array(v.string()),
  tokens_clean: nullable(v.array(v.string())),
  clean: count,
  corrupted: count,
  parent: origin,
  status,
});

const view = v.variant("kind", [grid, attention]);
const cells = v.object({ index: count, values: count, recovery: count, state: count });

const message = v.variant("type", [
  v.object({
    type: v.literal("hello"),
    seq: count,
    lab,
    pair,
    baselines: nullable(baselines),
    views: v.array(view),
  }),
  v.object({
    type: v.literal("progress"),
    seq: count,
    id: nullable(v.string()),
    view: v.string(),
    done: count,
    total: count,
    seconds_left: nullable(v.number()),
    open: nullable(view),
    cells: nullable(cells),
  }),
  v.object({
    type: v.literal("result"),
    seq: count,
    id: nullable(v.string()),
    view: v.string(),
    status: v.picklist(["done", "cancelled"]),
    open: nullable(view),
  }),
  v.object({
    type: v.literal("error"),
    seq: count,
    id: nullable(v.string()),
    view: nullable(v.string()),
    message: v.string(),
    hint: nullable(v.string()),
  }),
]);

type WireMessage = v.InferOutput<typeof message>;
type WireView = v.InferOutput<typeof view>;
type WireGrid = v.InferOutput<typeof grid>;
type WireAttention = v.InferOutput<typeof attention>;
type With<T, Fields> = Omit<T, keyof Fields> & Fields;

export type Lab = v.InferOutput<typeof lab>;
export type Pair = v.InferOutput<typeof pair>;
export type Baselines = v.InferOutput<typeof baselines>;
export type Check = v.InferOutput<typeof check>;
export type Status = v.InferOutput<typeof status>;

/** A grid with its arrays: rows x cols in C order. */
export type GridView = With<WireGrid, { values: Float32Array; recovery: Float32Array; state: Uint8Array }>;
/** Attention from one position of one head: a probability for each token, in both runs. */
export type AttentionView = With<WireAttention, { clean: Float32Array; corrupted: Float32Array }>;
export type View = GridView | AttentionView;

/** Some cells of a grid: `index[i]` is the flat C-order index of the i-th. */
export type Cells = { index: Uint32Array; values: Float32Array; recovery: Float32Array; state: Uint8Array };

type Wire<T extends WireMessage["type"]> = Extract<WireMessage, { type: T }>;
export type Hello = With<Wire<"hello">, { views: View[] }>;
export type Progress = With<Wire<"progress">, { open: View | null; cells: Cells | null }>;
export type Result = With<Wire<"result">, { open: View | null }>;
export type Failure = Wire<"error">;
export type FromKernel = Hello | Progress | Result | Failure;

/** Reads one message and the arrays it names.  Throws ProtocolError with a sentence when it is not as agreed. */
export function parseMessage(content: unknown, buffers: readonly DataView[]): FromKernel {
  const version = (content as { v?: unknown } | null)?.v;
  if (version !== VERSION) {
    throw new ProtocolError(
      `The kernel speaks version ${String(version)} of the protocol and this page version ${VERSION}. ` +
        "Restart the kernel and reload the page, so that both come from the same patchwidget.",
    );
  }
  const parsed = v.safeParse(message, content);
  if (!parsed.success) {
    const issue = parsed.issues[0];
    throw new ProtocolError(
      `A message of the kernel could not be read: ${v.getDotPath(issue) ?? "it"}: ${issue.message}`,
    );
  }
  return withArrays(parsed.output, buffers);
}

function withArrays(wire: WireMessage, buffers: readonly DataView[]): FromKernel {
  switch (wire.type) {
    case "hello":
      return { ...wire, views: wire.views.map((one) => viewWithArrays(one, buffers)) };
    case "progress":
      return {
        ...wire,
        open: wire.open && viewWithArrays(wire.open, buffers),
        cells: wire.cells && readCells(wire.cells, buffers),
      };
    case "result":
      return { ...wire, open: wire.open && viewWithArrays(wire.open, buffers) };
    case "error":
      return wire;
  }
}

function viewWithArrays(wire: WireView, buffers: readonly DataView[]): View {
  const read = <K extends ArrayKind>(kind: K, number: number, length: number): Arrays[K] =>
    sized(readArray(kind, buffers[number], number), length, wire.id);
  if (wire.kind === "attention") {
    const length = wire.tokens.length;
    return { ...wire, clean: read("float32", wire.clean, length), corrupted: read("float32", wire.corrupted, length) };
  }
  const length = wire.rows.labels.length * wire.cols.labels.length;
  return {
    ...wire,
    values: read("float32", wire.values, length),
    recovery: read("float32", wire.recovery, length),
    state: read("uint8", wire.state, length),
  };
}

function readCells(wire: v.InferOutput<typeof cells>, buffers: readonly DataView[]): Cells {
  const index = readArray("uint32", buffers[wire.index], wire.index);
  const read = <K extends ArrayKind>(kind: K, number: number): Arrays[K] =>
    sized(readArray(kind, buffers[number], number), index.length, "cells");
  return {
    index,
    values: read("float32", wire.values),
    recovery: read("float32", wire.recovery),
    state: read("uint8", wire.state),
  };
}

function sized<A extends { length: number }>(array: A, length: number, where: string): A {
  if (array.length === length) return array;
  throw new ProtocolError(
    `A message of the kernel could not be read: ${where} has ${array.length} numbers instead of ${length}.`,
  );
}
