/** Reads a message of the kernel: checks it, and puts the arrays it names in their places. */
import { type ArrayKind, type Arrays, readArray } from "../transport/buffers";
import { unreadable } from "../transport/errors";
import { checkVersion } from "../transport/version";
import { type WireAttention, type WireGrid, type WireMessage, type WireView, wireMessage } from "./message-schema";

type With<T, Fields> = Omit<T, keyof Fields> & Fields;

/** A grid with its arrays: rows x cols in C order; null while nothing is known, or where the kernel keeps them. */
export type GridView = With<WireGrid, { cells: GridCells | null; significant: Uint8Array | null }>;
export type GridCells = { values: Float32Array; recovery: Float32Array; state: Uint8Array };
/** A probability for each token in both runs; with `pos` null for each pair of tokens, destination x source. */
export type AttentionView = With<WireAttention, { clean: Float32Array | null; corrupted: Float32Array | null }>;
export type View = GridView | AttentionView;

/** Some cells of a grid: `index[i]` is the flat C-order index of the i-th. */
export type Cells = { index: Uint32Array } & GridCells;

type Wire<T extends WireMessage["type"]> = Extract<WireMessage, { type: T }>;
export type Hello = With<Wire<"hello">, { views: View[] }>;
export type Progress = With<Wire<"progress">, { open: View | null; cells: Cells | null }>;
export type Result = With<Wire<"result">, { open: View | null }>;
export type FromKernel = Hello | Progress | Result | Wire<"lab" | "preview" | "selection" | "queue" | "error">;

/** Throws ProtocolError with a sentence when the message is not as agreed. */
export function parseMessage(content: unknown, buffers: readonly DataView[]): FromKernel {
  checkVersion(content);
  return withArrays(wireMessage(content, ""), buffers);
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
    default:
      return wire;
  }
}

function viewWithArrays(wire: WireView, buffers: readonly DataView[]): View {
  const read = <K extends ArrayKind>(kind: K, number: number | null, length: number): Arrays[K] | null =>
    number === null ? null : sized(readArray(kind, buffers[number], number), length, wire.id);
  if (wire.kind === "attention") {
    const length = (tokens: readonly string[]) => tokens.length ** (wire.pos === null ? 2 : 1);
    const clean = read("float32", wire.clean, length(wire.tokens_clean ?? wire.tokens));
    return { ...wire, clean, corrupted: read("float32", wire.corrupted, length(wire.tokens)) };
  }
  const length = wire.rows.size * wire.cols.size;
  const values = read("float32", wire.values, length);
  const recovery = read("float32", wire.recovery, length);
  const state = read("uint8", wire.state, length);
  const significant = read("uint8", wire.significant, length);
  return { ...wire, significant, cells: values && recovery && state && { values, recovery, state } };
}

function readCells(
  wire: { index: number; values: number; recovery: number; state: number },
  buffers: readonly DataView[],
): Cells {
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
  unreadable(`${where} has ${array.length} numbers instead of ${length}`);
}
