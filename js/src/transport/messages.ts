/** What the messages of all widgets have in common. */
import { count, nullable, object, type Read, string } from "./schema";

/** A question is asked at a cell; the names are those of the protocol. */
export type Question = { method: string; params: Record<string, unknown> };

/** Whether anybody looks at the widget on a page. */
export type PageState = "visible" | "hidden" | "gone";

export type FromPage =
  | { v: 2; type: "hello"; page: string; known?: number; state?: PageState }
  | { v: 2; type: "page"; page: string; state: PageState }
  | ({ v: 2; type: "request"; id: string } & Question)
  | { v: 2; type: "cancel"; id: string };

export const ids = { seq: count, id: nullable(string) };

/** Whose work goes first; `percent` of it is done. */
const ahead = nullable(object({ lab: string, name: string, percent: nullable(count) }));
export const queue = object({ ...ids, ahead });
export type Ahead = Read<typeof ahead>;

/** Something that went wrong: a sentence, and what to do about it. */
export type Problem = { message: string; hint: string };
