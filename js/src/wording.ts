/** Sentences about the state of things.  Pure: no DOM. */
import { compact, duration, metricName } from "./format";
import type { Check, GridView } from "./protocol";
import type { LabState, Slot } from "./state";
import { visible } from "./tokens";

/** Whether a grid is being measured, or has been asked for. */
export function busy(state: LabState, slot: "main" | "detail"): boolean {
  const status = state.views[slot]?.status;
  return asking(state, slot) || status === "running" || status === "queued";
}

/** A request for this slot has been sent, and its view has not been opened yet. */
export function asking(state: LabState, slot: Slot): boolean {
  const request = { main: state.open.sweep, detail: state.open.heads, attention: state.open.attention }[slot];
  return request !== undefined && state.views[slot]?.request !== request.id;
}

/** The id by which what fills a slot is cancelled. */
export function cancelId(state: LabState, slot: "main" | "detail"): string | null {
  const asked = slot === "main" ? state.open.sweep : state.open.heads;
  const view = state.views[slot];
  return asked?.id ?? view?.request ?? view?.id ?? null;
}

/** "328 of 420 cells · 0.2 s left" */
export function progressText(state: LabState, slot: "main" | "detail"): string {
  const view = state.views[slot];
  if (state.link === "lost") return "not connected";
  if (state.silent && awaited(state, slot)) return "waiting for the kernel…";
  if (state.link === "connecting") return "connecting…";
  if (asking(state, slot)) return "starting…";
  return view ? gridText(view) : "";
}

/** How far the detail is; once it is done, what it is: "z at position 13". */
export function detailText(state: LabState): string {
  const view = state.views.detail;
  const resting = view?.status === "done" && !busy(state, "detail") && !state.silent;
  if (!view || !resting) return view || busy(state, "detail") ? progressText(state, "detail") : "";
  return view.pos === null ? view.site : `${view.site} at position ${view.pos}`;
}

/** Whether news of this slot is what the page waits for. */
function awaited(state: LabState, slot: "main" | "detail"): boolean {
  if (slot === "main") return state.link === "connecting" || busy(state, "main");
  return busy(state, "detail") || asking(state, "attention");
}

function gridText({ status, done, total, seconds_left }: GridView): string {
  const some = `${done} of ${total} cells`;
  switch (status) {
    case "queued":
      return "queued";
    case "running":
      return seconds_left === null ? some : `${some} · ${duration(seconds_left)} left`;
    case "done":
      return `${total} cells`;
    case "cancelled":
      return `stopped at ${some}`;
    case "failed":
      return `failed at ${some}`;
  }
}

/** What is said aloud about progress: short, and not too often. */
export function spokenProgress(state: LabState): string {
  const slot = state.views.detail && busy(state, "detail") ? "detail" : "main";
  const view = state.views[slot];
  if (!view) return "";
  const name = slot === "main" ? "Grid" : "Heads";
  if (state.silent) return "Waiting for the kernel";
  if (view.status !== "running") return `${name}: ${gridText(view)}`;
  return `${name}: ${Math.floor((100 * view.done) / Math.max(1, view.total))} percent measured`;
}

/** The cell of the main grid that the detail shows, or will show. */
export function chosenCell(state: LabState): { row: number; col: number } | null {
  const { main, detail } = state.views;
  if (asking(state, "detail") && state.open.heads?.method === "heads" && main) {
    const { layer, pos } = state.open.heads.params;
    return { row: main.rows.labels.indexOf(String(layer)), col: pos };
  }
  return detail?.parent ?? null;
}

/** The head whose attention is shown, or will be shown. */
export function chosenHead(state: LabState): { row: number; col: number } | null {
  const { detail, attention } = state.views;
  if (!detail) return null;
  if (asking(state, "attention") && state.open.attention?.method === "attention") {
    const { layer, head } = state.open.attention.params;
    return { row: detail.rows.labels.indexOf(String(layer)), col: detail.cols.labels.indexOf(String(head)) };
  }
  return attention?.parent?.view === detail.id ? attention.parent : null;
}

/** The way to the detail: ["resid_pre", "layer 23 · ·to (13)", "heads"]. */
export function crumbs(state: LabState): string[] {
  const cell = chosenCell(state);
  const main = state.views.main;
  if (!cell || !main) return state.views.detail ? [state.views.detail.title] : [];
  const token = main.cols.labels[cell.col] ?? "";
  return [main.site, `layer ${main.rows.labels[cell.row]} · ${visible(token)} (${cell.col})`, "heads"];
}

/** "identity 0.000" */
export function checkText({ name, value }: Check): string {
  return value === null ? name : `${name} ${compact(value, 3)}`;
}

/** What the numbers mean, for the direction at hand. */
export function explanation(metric: string, direction: string, answer: string, distractor: string): string {
  const measure =
    metric === "logit_diff"
      ? `the logit of ${visible(answer)} minus that of ${visible(distractor)}`
      : metricName(metric);
  const scale = `Recovery places the result, ${measure}, between the two prompts: 0 is the corrupted run, 1 the clean run.`;
  if (direction === "noise") {
    return (
      "Each cell is one run of the clean prompt in which the activation at that layer and token is replaced by the corrupted run's. " +
      `${scale} Near 1 the model did not need what was there; near 0 it was necessary; below 0 or above 1 the answer is pushed past either prompt.`
    );
  }
  return (
    "Each cell is one run of the corrupted prompt in which the activation at that layer and token is replaced by the clean run's. " +
    `${scale} Near 1 what was copied suffices to bring the clean answer back; near 0 it does nothing; above 1 it overshoots; below 0 it pushes the other way.`
  );
}
