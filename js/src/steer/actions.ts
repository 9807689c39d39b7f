/** What a user can do with the panel, in the words of the protocol. */
import type { Question } from "../transport/messages";
import type { SteerState } from "./state";
import { isWriting } from "./state";

export interface RowChange {
  vector?: string;
  layer?: number;
  positions?: string;
  unit?: string;
  strength?: number;
  on?: boolean;
}

export interface Actions {
  set(changes: { prompt?: string; seed?: number; temperature?: number; length?: number; current?: string }): void;
  row(row: string, changes: RowChange): void;
  add(vector: string): void;
  remove(row: string): void;
  make(fields: { positive: string; negative: string; method: string; layer: number }): void;
  write(): void;
  stop(): void;
  /** Ends what another lab measures. */
  stopOther(lab: string): void;
  /** Something was entered that can't be: nothing is sent. Null takes the sentence away. */
  wrong(field: string, message: string | null): void;
}

interface Port {
  request(question: Question): void;
  cancel(id: string): void;
}

interface Holder {
  readonly state: SteerState;
  update(change: (state: SteerState) => SteerState): void;
}

export function makeActions(holder: Holder, port: () => Port | null): Actions {
  const request = (method: string, params: Record<string, unknown>) => {
    if (holder.state.link !== "stored") port()?.request({ method, params });
  };
  return {
    set: (changes) => request("set", changes),
    row: (row, changes) => request("row", { row, ...changes }),
    add: (vector) => request("add", { vector }),
    remove: (row) => request("remove", { row }),
    make: (fields) => request("make", fields),
    write: () => request("write", {}),
    stopOther: (lab) => request("stop", { lab }),
    stop: () => {
      if (isWriting(holder.state)) port()?.cancel("text");
    },
    wrong(field, message) {
      holder.update((state) => {
        const { [field]: _, ...others } = state.fields;
        return { ...state, fields: message === null ? others : { ...others, [field]: { message, hint: "" } } };
      });
    },
  };
}
