/** The messages both sides of the protocol are tested against, as they arrive. */

import messages from "../../tests/protocol/messages.json";
import type { CellRef } from "../src/lab/message-schema";
import { type FromKernel, type GridView, parseMessage, type View } from "../src/lab/messages";
import { initialState, type LabState, received } from "../src/lab/state";
import { taken, type Way } from "../src/lab/ways";

const arrays = { float32: Float32Array, uint32: Uint32Array, uint8: Uint8Array };
type BufferSpec = { dtype: string; data: (number | null)[] };

export const fromPage = messages.from_page as unknown as Record<string, { id: string; method: string; params: object }>;
export const fromKernel = messages.from_kernel as unknown as Record<
  string,
  { json: Record<string, unknown>; buffers: BufferSpec[] }
>;
export const stored = messages.stored as unknown;

export function dataView({ dtype, data }: BufferSpec, misalignedBy = 0): DataView {
  const array = arrays[dtype as keyof typeof arrays].from(data.map((value) => value ?? Number.NaN));
  const bytes = new Uint8Array(array.byteLength + misalignedBy);
  bytes.set(new Uint8Array(array.buffer), misalignedBy);
  return new DataView(bytes.buffer, misalignedBy, array.byteLength);
}

/** Content and buffers of a message of the fixture, with some of its fields changed. */
export function wire(name: string, changes: Record<string, unknown> = {}, misalignedBy = 0): [unknown, DataView[]] {
  const message = fromKernel[name];
  if (!message) throw new Error(`no message ${name}`);
  return [
    { ...structuredClone(message.json), ...changes },
    message.buffers.map((buffer) => dataView(buffer, misalignedBy)),
  ];
}

export function parsed<T extends FromKernel["type"]>(name: string, changes: Record<string, unknown> = {}) {
  return parseMessage(...wire(name, changes)) as Extract<FromKernel, { type: T }>;
}

/** The state after these messages. */
export function stateAfter(...names: string[]): LabState {
  return names.reduce((state, name) => received(state, parsed(name)), initialState);
}

/** A cell of a view, or the view alone. */
export function stop(view: string, row: number | null = null, col: number | null = null): CellRef {
  return { view, row, col };
}

/** The state at the end of a way. */
export function standingAt(state: LabState, way: Way): LabState {
  const { lab } = state;
  return { ...state, moved: null, lab: lab && { ...lab, way, ways: taken(lab.ways, way) } };
}

export function viewOf(state: LabState, id: string): View {
  const view = state.views.get(id);
  if (!view) throw new Error(`no view ${id}`);
  return view;
}

/** The finished main grid of the fixture, changed. */
export function mainGrid(changes: Partial<GridView> = {}): GridView {
  return { ...(viewOf(stateAfter("hello", "result"), "v1") as GridView), ...changes };
}

/** A view that a message of the fixture opens. */
export function opened(name: string): View {
  const message = parsed(name);
  if (!("open" in message) || !message.open) throw new Error(`${name} opens nothing`);
  return message.open as View;
}
