/** Messages of the made-up kernel: arrays are put into buffers, and their numbers in their places. */

export type Json = Record<string, unknown>;
export interface Axis {
  axis: string;
  size: number;
  labels: string[] | null;
  values: (string | number)[] | null;
}

/** Takes the typed arrays out of a message. */
export function pack(json: Json): [Json, DataView[]] {
  const buffers: DataView[] = [];
  const walk = (value: unknown): unknown => {
    if (value instanceof Float32Array || value instanceof Uint32Array || value instanceof Uint8Array) {
      const copy = value.slice();
      return buffers.push(new DataView(copy.buffer, copy.byteOffset, copy.byteLength)) - 1;
    }
    if (Array.isArray(value)) return value.map(walk);
    if (value === null || typeof value !== "object") {
      return typeof value === "number" && !Number.isFinite(value) ? null : value;
    }
    return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, walk(field)]));
  };
  return [walk(json) as Json, buffers];
}
