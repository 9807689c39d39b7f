/** What is measured, how far it is, and the buttons that begin and stop it. */
import { h, hear, setText, toggle } from "../../dom/dom";
import { createQueue } from "../../dom/queue";
import { createSelect, type SelectItem } from "../../dom/select";
import type { Actions } from "../actions";
import type { GridView } from "../messages";
import { shown } from "../navigation";
import type { LabState } from "../state";
import { busy, isRecording, progressText } from "../wording";

export function createToolbar(
  actions: Pick<Actions, "set" | "sweep" | "cancel" | "teach" | "stopOther">,
  signal: AbortSignal,
) {
  const pairs = createSelect("pairs", "pair", (value) => actions.set({ pair: Number(value) }), signal);
  const site = createSelect("site", "site", (value) => actions.set({ site: value }), signal);
  const metric = createSelect("metric", "metric", (value) => actions.set({ metric: value }), signal);
  const direction = createSelect("direction", "direction", (value) => actions.set({ direction: value }), signal);
  const { progress, showBar } = createBar("progress", "cells measured");
  const status = h("span", { class: "pw-status", pw: "status" });
  const queue = createQueue(actions.stopOther, signal);
  const button = (name: string, text: string, title: string) => h("button", { pw: name, title }, text);
  const teach = button("teach", "Predict first", "hide the values until a cell has been marked");
  teach.classList.add("pw-quiet");
  const run = button("run", "Run", "measure the grid; what is known stays until it is measured anew");
  const cancel = button("cancel", "Cancel", "stop, and keep what is known");
  const element = h(
    "div",
    "pw-toolbar",
    h("div", "pw-menus", pairs.element, site.element, metric.element, direction.element),
    h("div", "pw-run", progress, status, queue.element, teach, h("span", "pw-one", run, cancel)),
  );

  let main: GridView | null = null;
  let teaching = false;
  hear(run, "click", () => main && actions.sweep(main.id), signal);
  hear(cancel, "click", () => main && actions.cancel(main), signal);
  hear(teach, "click", () => actions.teach(!teaching), signal);

  return {
    element,
    show(state: LabState): void {
      const { lab, link } = state;
      main = shown(state).main;
      if (lab) {
        const asked = { ...lab, ...(state.open.main?.method === "set" ? state.open.main.params : {}) };
        pairs.show(
          [
            ...options(lab.every ? [lab.every] : []).map((every) => ({ ...every, name: "-1" })),
            ...lab.pairs.map((pair, i) => ({ name: String(i), text: pair.label })),
          ],
          String(asked.pair),
        );
        toggle(pairs.element, lab.pairs.length > 1 || lab.every !== null);
        site.show(options(lab.sites), asked.site);
        metric.show(options(lab.metrics), asked.metric);
        direction.show(options(lab.directions), asked.direction);
        teaching = lab.teach;
        teach.setAttribute("aria-pressed", String(teaching));
      }
      for (const menu of [pairs, site, metric, direction]) menu.enable(link !== "connecting");
      setText(status, progressText(state, "main"));
      queue.show(state.ahead);
      toggle(status, state.ahead === null);
      const isBusy = busy(state, "main") && link !== "stored";
      if (main && isRecording(main)) showBar(main.recorded ?? 0, main.pairs ?? 0, isBusy);
      else showBar(main?.done ?? 0, main?.total ?? 0, isBusy);
      const hadFocus = (isBusy ? run : cancel).matches(":focus");
      toggle(run, !isBusy && link !== "stored");
      toggle(cancel, isBusy);
      const all = main?.status === "done";
      setText(run, all ? "Measure again" : "Run");
      run.classList.toggle("pw-quiet", all); // nothing needs it
      run.disabled = link !== "live" || main === null;
      cancel.disabled = link !== "live";
      if (hadFocus) (isBusy ? cancel : run).focus();
    },
  };
}

function options(list: readonly { name: string; label: string; text: string; reason: string | null }[]): SelectItem[] {
  return list.map(({ name, label, text, reason }) => {
    const words = label === name ? name : `${name} · ${label}`;
    return { name, text: words, short: name, title: reason ?? text, disabled: reason !== null };
  });
}

/** A thin bar that keeps its place when there is nothing to show, so that nothing moves. */
export function createBar(name: string, label: string) {
  const bar = h("i");
  const progress = h(
    "div",
    { class: "pw-progress", role: "progressbar", pw: name, label: label, "aria-valuemin": 0 },
    bar,
  );
  return {
    progress,
    showBar(done: number, total: number, shown: boolean): void {
      progress.classList.toggle("pw-idle", !shown);
      progress.setAttribute("aria-valuemax", String(total));
      progress.setAttribute("aria-valuenow", String(done));
      bar.style.width = `${(100 * done) / Math.max(1, total)}%`;
    },
  };
}
