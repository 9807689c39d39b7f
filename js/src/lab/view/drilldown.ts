/** What can be asked at each chosen cell on the way down: the next finer questions, as buttons. */
import { h, hear } from "../../dom/dom";
import type { Actions } from "../actions";
import { type TrailLine, trail } from "../breadcrumb";
import type { LabState } from "../state";
import type { UiState } from "../view-state";

export function createSteps(actions: Pick<Actions, "take">, signal: AbortSignal) {
  const element = h("div", { class: "pw-steps", pw: "steps", role: "group", label: "look closer" });
  let lines: TrailLine[] = [];
  let drawn = "";
  hear(
    element,
    "click",
    (event) => {
      const button = (event.target as Element).closest<HTMLElement>("button[data-line]");
      const line = lines[Number(button?.dataset.line)];
      const step = line?.steps[Number(button?.dataset.at)];
      if (!line || !step || step.disabled) return;
      actions.take(step.step, line.view, line.index);
    },
    signal,
  );

  return {
    element,
    show(state: LabState, ui: UiState): void {
      lines = trail(state, ui).filter(({ steps }) => steps.length > 0);
      const key = JSON.stringify(
        lines.map(({ view, index, place, value, steps }) => [view.id, index, place, value, steps]),
      );
      if (key === drawn) return;
      drawn = key;
      element.replaceChildren(...lines.map(line));
    },
  };
}

function line({ place, value, steps }: TrailLine, at: number): HTMLElement {
  const buttons = steps.map(({ step, active, disabled }, i) =>
    h(
      "button",
      {
        class: "pw-step",
        "data-step": step.method,
        "data-line": at,
        "data-at": i,
        "aria-pressed": String(active),
        "aria-disabled": disabled && "true",
        title: step.reason ?? step.text,
      },
      step.label,
    ),
  );
  return h(
    "div",
    "pw-step-line",
    h("bdi", "pw-step-place", place),
    h("b", {}, value),
    h("span", "pw-step-buttons", ...buttons),
  );
}
