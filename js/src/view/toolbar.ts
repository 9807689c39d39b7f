/** What is measured, how far it is, and the two buttons: Run and Cancel. */
import { metricName } from "../format";
import type { LabState } from "../state";
import { busy, cancelId, progressText } from "../wording";
import { h, setText, toggle } from "./dom";

export interface ToolbarActions {
  run(): void;
  cancel(id: string): void;
}

export function createToolbar(actions: ToolbarActions, signal: AbortSignal) {
  const fact = (name: string) => {
    const value = h("b");
    return { value, element: h("span", { class: "pw-fact", "data-pw": name }, `${name} `, value) };
  };
  const [site, metric, direction] = [fact("site"), fact("metric"), fact("direction")];
  const bar = h("i");
  const progress = h(
    "div",
    {
      class: "pw-progress",
      role: "progressbar",
      "data-pw": "progress",
      "aria-label": "cells measured",
      "aria-valuemin": 0,
    },
    bar,
  );
  const status = h("span", { class: "pw-status", "data-pw": "status" });
  const run = h("button", { type: "button", "data-pw": "run", title: "measure the grid again" }, "Run");
  const cancel = h("button", { type: "button", "data-pw": "cancel", title: "stop, and keep the cells done" }, "Cancel");
  const element = h(
    "div",
    { class: "pw-toolbar" },
    site.element,
    metric.element,
    direction.element,
    progress,
    status,
    run,
    cancel,
  );

  let running: string | null = null;
  run.addEventListener("click", () => actions.run(), { signal });
  cancel.addEventListener("click", () => running !== null && actions.cancel(running), { signal });

  return {
    element,
    show(state: LabState): void {
      const { lab, views, link } = state;
      setText(site.value, lab?.site ?? "");
      setText(metric.value, metricName(lab?.metric ?? ""));
      setText(direction.value, lab?.direction ?? "");
      setText(status, progressText(state, "main"));
      showBar(progress, bar, views.main?.done ?? 0, views.main?.total ?? 0, busy(state, "main"));
      const isBusy = busy(state, "main");
      running = isBusy ? cancelId(state, "main") : null;
      const hadFocus = (isBusy ? run : cancel).matches(":focus");
      toggle(run, !isBusy);
      toggle(cancel, isBusy);
      run.disabled = link !== "live";
      cancel.disabled = link === "lost";
      if (hadFocus) (isBusy ? cancel : run).focus();
    },
  };
}

/** Keeps its place when there is nothing to show, so that nothing moves. */
export function showBar(progress: HTMLElement, bar: HTMLElement, done: number, total: number, shown: boolean): void {
  progress.classList.toggle("pw-idle", !shown);
  progress.setAttribute("aria-valuemax", String(total));
  progress.setAttribute("aria-valuenow", String(done));
  bar.style.width = `${(100 * done) / Math.max(1, total)}%`;
}
