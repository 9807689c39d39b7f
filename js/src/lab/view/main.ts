/** The main grid with its heading. */
import { h, setText } from "../../dom/dom";
import type { By } from "../../grid/input";
import { defaultStep } from "../cells";
import { shown } from "../navigation";
import type { LabState } from "../state";
import type { Deps } from "./context";
import { createPane } from "./pane";

/** `opened` hears of a cell that was opened, `leave` of Escape: false where there is nothing to leave. */
export function createMain(
  deps: Deps,
  opened: (index: number, by: By) => void,
  leave: () => boolean,
  signal: AbortSignal,
) {
  const pane = createPane(
    {
      prefix: "",
      maxCellWidth: 44,
      onLeave: leave,
      onOpen(view, index, by) {
        const step = defaultStep(view, index);
        if (!step) return deps.actions.choose(view, index);
        deps.actions.take(step, view, index);
        opened(index, by);
      },
    },
    deps,
    signal,
  );
  const heading = h("h4", "pw-title");
  const element = h(
    "section",
    { class: "pw-main", label: "main grid" },
    h("div", "pw-head", heading, ...pane.tools),
    ...pane.notes,
    pane.prediction,
    pane.grid.element,
    pane.legend,
    pane.checks,
    pane.explain,
  );
  return {
    element,
    focus: () => pane.focus(),
    show(state: LabState): void {
      const { main } = shown(state);
      element.style.setProperty("--pw-cells", String((main?.cols.size ?? 14) * 30));
      pane.show(state, main, state.problems.main);
      setText(heading, pane.title());
    },
  };
}
