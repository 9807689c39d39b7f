/** Arrays out of the binary buffers that travel beside a message. */
import { ProtocolError } from "./errors";

export type Arrays = { float32: Float32Array; uint32: Uint32Array; uint8: Uint8Array };
export type ArrayKind = keyof Arrays;

const constructors = { float32: Float32Array, uint32: Uint32Array, uint8: Uint8Array };

/** A copy of the buffer's numbers.  A copy, because a host may hand out a misaligned window on a larger buffer. */
export function readArray<K extends ArrayKind>(kind: K, buffer: DataView | undefined, number: number): Arrays[K] {
  const make = constructors[kind];
  if (!buffer) throw new ProtocolError(`A message of the kernel names buffer ${number}, which did not come with it.`);
  if (buffer.byteLength % make.BYTES_PER_ELEMENT !== 0) {
    throw new ProtocolError(
      `Buffer ${number} of a message is ${buffer.byteLength} bytes long: no whole number of ${kind}.`,
    );
  }
  const bytes = buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength);
  return new make(bytes as ArrayBuffer) as Arrays[K];
}
