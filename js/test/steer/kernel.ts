/** The kernel's messages of the fixture, as they come and as they are read. */
import messages from "../../../tests/protocol/steer_messages.json";
import { parseMessage } from "../../src/steer/messages";
import { initialState, received, type SteerState } from "../../src/steer/state";
import { dataView } from "../fixtures";

export type Name = keyof typeof messages.from_kernel;
// biome-ignore lint/suspicious/noExplicitAny: a message of the fixture, to be changed anywhere
export type Json = Record<string, any>;

export function wire(name: Name, change: (json: Json) => void = () => {}): [Json, DataView[]] {
  const { json, buffers } = messages.from_kernel[name];
  const copy = structuredClone(json) as Json;
  change(copy);
  return [copy, buffers.map((buffer) => dataView(buffer))];
}
export const parsed = (name: Name, change?: (json: Json) => void) => parseMessage(...wire(name, change));
export const stateAfter = (...names: Name[]): SteerState =>
  names.reduce((state, name) => received(state, parsed(name)), initialState);
