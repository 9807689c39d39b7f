/** Predict first: asks for a cell, and tells how the prediction compares. */
import { h, hear, setText, toggle } from "../../dom/dom";
import { cellOf } from "../cells";
import type { PaneContent } from "../pane-content";
import { judge } from "../prediction";
import { shortPlace } from "../sheets";
import type { LabState } from "../state";
import type { UiState } from "../view-state";

export function createPrediction(signal: AbortSignal, again: () => void) {
  const text = h("span", { role: "status" });
  const retry = h("button", "pw-quiet", "Hide again");
  hear(retry, "click", again, signal);
  const element = h("p", { class: "pw-prediction", pw: "prediction" }, text, retry);

  return {
    element,
    show({ lab }: LabState, { marks }: UiState, content: PaneContent | null): void {
      toggle(element, (lab?.teach ?? false) && content !== null);
      if (!content) return;
      const { hidden, view, grid } = content;
      toggle(retry, !hidden);
      if (hidden)
        setText(text, "Where is the effect largest? Mark one cell: click it, or go there by arrows and press Enter.");
      else if (marks[view.id] !== undefined) setText(text, verdict(grid.sheet, marks[view.id] as number));
    },
  };
}

type Judged = PaneContent["grid"]["sheet"];

function verdict(sheet: Judged, marked: number): string {
  const place = (index: number) => shortPlace(sheet, cellOf(sheet, index));
  const judged = judge(sheet.effect, marked);
  if (!judged) return `You marked ${place(marked)}, which has no value yet.`;
  const mine = `You marked ${place(marked)}: ${value(sheet, marked)}`;
  if (judged.rank === 1) return `${mine}, the largest effect of all ${judged.of}.`;
  return `${mine}, rank ${judged.rank} of ${judged.of}. The largest is ${place(judged.best)}: ${value(sheet, judged.best)}.`;
}

function value(sheet: Judged, index: number): string {
  const [first] = sheet.tip(index).numbers;
  return first ? first.join(" ") : "no value";
}
