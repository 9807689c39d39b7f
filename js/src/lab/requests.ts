/** Requests of this page, and what each is about. */
import type { Question } from "../transport/messages";

/** What a request is about: of each there is one at a time, the newest. */
export type Slot = "main" | "detail" | "show" | "selection" | "preview" | "prompts" | "other";
/** A request of this page that is not over yet. */
export type OpenRequest = { id: string; slot: Slot } & Question;

const slots: Record<string, Slot> = {
  set: "main",
  sweep: "main",
  set_pair: "prompts",
  preview: "preview",
  show: "show",
  select: "selection",
  steer: "other",
  fetch: "other",
  pin: "other",
  teach: "other",
  stop: "other",
};

/** All that is not named is a question asked at a cell. */
export function slotOf(method: string): Slot {
  return slots[method] ?? "detail";
}
