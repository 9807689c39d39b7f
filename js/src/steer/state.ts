/** What the page knows of a steering panel, and how each message changes it.  Pure functions. */
import type { Talk } from "../transport/connection";
import type { Ahead, Problem, Question } from "../transport/messages";
import { type FromKernel, type Ladder, type Panel, parseMessage, type Row, type Side, type Written } from "./messages";

export interface SteerState {
  link: "connecting" | "live" | "lost" | "stored";
  silent: boolean;
  /** Whose work goes before this panel's. */
  ahead: Ahead;
  panel: Panel | null;
  ladders: Readonly<Record<string, Ladder>>;
  texts: Readonly<Partial<Record<Side, Written>>>;
  /** Requests of this page that are not over, by their id. */
  open: Readonly<Record<string, { id: string } & Question>>;
  problems: Readonly<{ page?: Problem }>;
  /** What is wrong with what was entered, by field. */
  fields: Readonly<Record<string, Problem>>;
}

export const initialState: SteerState = {
  link: "connecting",
  silent: false,
  ahead: null,
  panel: null,
  ladders: {},
  texts: {},
  open: {},
  problems: {},
  fields: {},
};

export function asked(state: SteerState, request: { id: string } & Question): SteerState {
  return { ...state, open: { ...state.open, [request.id]: request }, fields: {}, problems: {} };
}

export function received(state: SteerState, message: FromKernel): SteerState {
  switch (message.type) {
    case "hello":
      return {
        ...state,
        link: message.panel.live ? "live" : "stored",
        ahead: null,
        panel: message.panel,
        ladders: Object.fromEntries(message.ladders.map((ladder) => [ladder.row, ladder])),
        texts: Object.fromEntries(message.texts.map((text) => [text.side, text])),
        open: state.link === "live" ? {} : state.open,
        problems: {},
      };
    case "panel":
      return over({ ...state, panel: message.panel }, message.id);
    case "ladder":
      return { ...state, ladders: { ...state.ladders, [message.ladder.row]: message.ladder } };
    case "text":
      return { ...state, texts: { ...state.texts, [message.side]: written(state.texts[message.side], message) } };
    case "queue":
      return over({ ...state, ahead: message.ahead }, message.id);
    case "error": {
      const problem = { message: message.message, hint: message.hint ?? "" };
      const next = over(state, message.id);
      return message.field === null
        ? { ...next, problems: { page: problem } }
        : { ...next, fields: { ...next.fields, [message.field]: problem } };
    }
  }
}

/** A text with the pieces that came: those after `start`, which are the newer. */
function written(before: Written | undefined, message: Extract<FromKernel, { type: "text" }>): Written {
  const { start, seq: _, type: __, ...text } = message;
  const kept = before?.key === text.key ? before.pieces.slice(0, start) : [];
  return { ...text, pieces: [...kept, ...text.pieces] };
}

function over(state: SteerState, id: string | null): SteerState {
  if (id === null || !(id in state.open)) return state;
  const { [id]: _, ...open } = state.open;
  return { ...state, open };
}

/** Whether a ladder or a text is still to come. */
function working(state: SteerState): boolean {
  const ladders = state.panel?.rows.some(({ id, ladder }) => ladder !== null && state.ladders[id]?.key !== ladder);
  return state.ahead !== null || ladders === true || isWriting(state) || Object.keys(state.open).length > 0;
}

export const steerTalk: Talk<SteerState, FromKernel> = { parse: parseMessage, received, asked, working };

// ---- what follows from it

/** The row at hand. */
export function currentRow({ panel }: SteerState): Row | null {
  return panel?.rows.find(({ id }) => id === panel.current) ?? panel?.rows[0] ?? null;
}

/** Whether the newest request of a method is on its way; with what. */
export function asking({ open }: SteerState, method: string): Record<string, unknown> | null {
  return (
    Object.values(open)
      .filter((request) => request.method === method)
      .at(-1)?.params ?? null
  );
}

/** A row as it will be once what was asked of it is answered. */
export function awaited(state: SteerState, row: Row): Row {
  const params = Object.values(state.open)
    .filter((request) => request.method === "row" && request.params.row === row.id)
    .map((request) => request.params as Partial<Row>);
  const { unit, ...simple } = Object.assign({}, ...params) as Partial<Row>;
  const { strength = row.strength, layer = row.layer, on = row.on, positions = row.positions } = simple;
  // the strength of a new unit is the kernel's to tell
  return { ...row, strength, layer, on, positions, unit: unit ?? row.unit };
}

/** Whether a text is of the settings as they are. */
export function isFresh({ panel, texts }: SteerState, side: Side): boolean {
  return texts[side] !== undefined && texts[side]?.key === panel?.keys[side];
}

export function isWriting(state: SteerState): boolean {
  return state.link === "live" && Object.values(state.texts).some(({ status }) => status === "writing");
}

export function isStopped({ texts }: SteerState): boolean {
  return Object.values(texts).some(({ status }) => status === "stopped");
}
