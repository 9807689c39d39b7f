/** Messages of the steering panel as they travel, typed and checked.  The contract is patchwidget/widget/steer_protocol.md. */
import { readArray } from "../transport/buffers";
import { queue } from "../transport/messages";
import {
  array,
  boolean,
  count,
  nullable,
  number,
  object,
  oneOf,
  optional,
  type Read,
  string,
  variant,
} from "../transport/schema";
import { checkVersion } from "../transport/version";

const text = nullable(string);
const option = object({ name: string, label: string, text: optional(string, "") });

const row = object({
  id: string,
  vector: string,
  layer: number,
  layers: array(number),
  positions: string,
  rules: array(option),
  unit: string,
  strength: number,
  limit: number,
  norm: nullable(number),
  ladder: text,
  on: boolean,
  note: optional(string, ""),
});

const panel = object({
  id: string,
  model: string,
  live: optional(boolean, true),
  waits: text,
  prompt: text,
  tokens: array(string),
  edit: text,
  rows: array(row),
  current: text,
  vectors: array(object({ id: string, name: string, about: string, note: string })),
  methods: array(option),
  units: array(option),
  layers: count,
  seed: count,
  temperature: number,
  length: count,
  keys: object({ base: string, steered: string }),
  code: string,
});

const ladder = object({
  row: string,
  key: string,
  strengths: count,
  tokens: array(string),
  base: count,
  probabilities: count,
  kl: count,
  executor: string,
});

const damage = object({ perplexity: nullable(number), kl: nullable(number), tokens: count });
const textFields = {
  side: oneOf("base", "steered"),
  key: string,
  pieces: array(string),
  status: oneOf("writing", "done", "stopped", "failed"),
  damage: nullable(damage),
  message: text,
  hint: text,
};

const message = variant("type", {
  hello: object({ seq: count, panel, ladders: array(ladder), texts: array(object(textFields)) }),
  panel: object({ seq: count, id: text, panel }),
  ladder: object({ seq: count, ladder }),
  text: object({ seq: count, start: count, ...textFields }),
  queue,
  error: object({ seq: count, id: text, message: string, hint: text, field: text }),
});

export type Panel = Read<typeof panel>;
export type Row = Read<typeof row>;
export type Written = Read<ReturnType<typeof object<typeof textFields>>>;
export type Side = Written["side"];
export type Damage = Read<typeof damage>;

/** What comes next at each strength: probabilities are strengths x tokens in C order. */
export interface Ladder {
  row: string;
  key: string;
  strengths: Float32Array;
  tokens: readonly string[];
  base: Float32Array;
  probabilities: Float32Array;
  kl: Float32Array;
}

type Wire = Read<typeof message>;
type Of<T extends Wire["type"]> = Extract<Wire, { type: T }>;
export type FromKernel =
  | (Omit<Of<"hello">, "ladders"> & { ladders: Ladder[] })
  | (Omit<Of<"ladder">, "ladder"> & { ladder: Ladder })
  | Of<"panel">
  | Of<"text">
  | Of<"queue">
  | Of<"error">;

/** Throws ProtocolError with a sentence when the message is not as agreed. */
export function parseMessage(content: unknown, buffers: readonly DataView[]): FromKernel {
  checkVersion(content);
  const wire = message(content, "");
  const read = (one: Read<typeof ladder>): Ladder => {
    const numbers = (place: number) => readArray("float32", buffers[place], place);
    return {
      ...one,
      strengths: numbers(one.strengths),
      base: numbers(one.base),
      probabilities: numbers(one.probabilities),
      kl: numbers(one.kl),
    };
  };
  if (wire.type === "hello") return { ...wire, ladders: wire.ladders.map(read) };
  if (wire.type === "ladder") return { ...wire, ladder: read(wire.ladder) };
  return wire;
}
