/** Sentences about the state of things.  Pure: no DOM. */
import { compact, duration } from "../text/format";
import type { Check, Lab } from "./message-schema";
import type { GridView, View } from "./messages";
import { shown } from "./navigation";
import type { LabState } from "./state";

export type Place = "main" | "detail";

/** Whether a grid is being measured, or has been asked for. */
export function busy(state: LabState, place: Place): boolean {
  const status = shown(state)[place]?.status;
  return asking(state, place) || status === "running" || status === "queued";
}

/** A request for this place has been sent, and its view has not been opened yet. */
export function asking({ open, views, moved }: LabState, place: Place): boolean {
  const request = place === "main" ? (open.main ?? open.prompts) : open.detail;
  if (!request || [...views.values()].some((view) => view.request === request.id)) return false;
  // one has gone on to a view that is filled for another request, or somewhere else
  return !("parent" in request.params) || (moved?.request === request.id && moved.before !== null);
}

/** "328 of 420 exact · 0.2 s left" */
export function progressText(state: LabState, place: Place): string {
  const view = shown(state)[place];
  if (state.link === "stored") return view ? `saved · ${gridText(view)}` : "";
  if (state.link === "lost") return "not connected";
  if (state.silent && awaited(state, place)) return "waiting for the kernel…";
  if (state.link === "connecting") return "connecting…";
  if (asking(state, place)) return "starting…";
  return view ? gridText(view) : "";
}

/** Whether news of this place is what the page waits for. */
function awaited(state: LabState, place: Place): boolean {
  return busy(state, place) || (place === "main" && state.link === "connecting");
}

/** Whether both runs of a grid's pairs are being recorded: no cell is known before all are. */
export function isRecording({ status, pairs, recorded }: GridView): boolean {
  return status === "running" && pairs !== null && recorded !== null && recorded < pairs;
}

export function gridText(view: GridView): string {
  const { status, done, total, seconds_left, pairs, recorded } = view;
  const share = Math.floor((100 * done) / Math.max(1, total));
  const some = (unit: string) => (pairs ? `${share}% of ${pairs} pairs` : `${done} of ${total} ${unit}`);
  switch (status) {
    case "queued":
      return "queued";
    case "running":
      if (isRecording(view)) return `recording pair ${(recorded ?? 0) + 1} of ${pairs}`;
      return seconds_left === null ? some("exact") : `${some("exact")} · ${duration(seconds_left)} left`;
    case "done":
      return `${total} cells`;
    case "cancelled":
      return `stopped at ${some("cells")}`;
    case "failed":
      return `failed at ${some("cells")}`;
  }
}

/** What is said aloud about progress: short, and not too often. */
export function spokenProgress(state: LabState): string {
  const { main, detail } = shown(state);
  const view = detail && busy(state, "detail") ? detail : main;
  if (!view) return "";
  if (state.silent) return "Waiting for the kernel";
  if (state.ahead) return "Waiting for another lab";
  if (view.status !== "running") return `${view.title}: ${gridText(view)}`;
  return `${view.title}: ${Math.floor((100 * view.done) / Math.max(1, view.total))} percent measured`;
}

/** "identity 0.000" */
export function checkText({ name, value }: Check): string {
  return value === null ? name : `${name} ${compact(value, 3)}`;
}

/** A pair as the menus call it. */
export function pairText(lab: Lab | null, pair: number): string {
  return (pair < 0 ? lab?.every?.label : lab?.pairs[pair]?.label) ?? "another pair";
}

/** The setting in a line: "resid_pre · logit_diff · denoise". */
export function settingText({ site, metric, direction }: View): string {
  return [site, metric, direction].join(" · ");
}
