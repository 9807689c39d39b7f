/** The whole panel: puts the parts together and shows them the state, once for each frame at most. */
import { drill } from "../drill";
import type { Ask } from "../protocol";
import { neutral, ramp } from "../scale";
import type { LabState } from "../state";
import type { Store } from "../store";
import { chosenCell } from "../wording";
import { createAnnouncer } from "./announcer";
import { createChecks } from "./checks";
import { createDetail } from "./detail";
import { h, setText, toggle } from "./dom";
import { createExplain } from "./explain";
import { Grid } from "./grid";
import { createLegend } from "./legend";
import { createProblem } from "./problem";
import { createPrompts } from "./prompts";
import { createToolbar } from "./toolbar";
import { createTooltip } from "./tooltip";

export interface AppActions {
  ask(ask: Ask): void;
  cancel(id: string): void;
}

/** Builds the panel in `host` and keeps it up to date until the signal aborts. */
export function mountApp(host: HTMLElement, store: Store, actions: AppActions, signal: AbortSignal): void {
  const root = h("div", { class: "pw-root", "data-pw": "root", "data-lm-suppress-shortcuts": "true" });
  const tooltip = createTooltip(root);
  const prompts = createPrompts();
  const toolbar = createToolbar(
    { run: () => actions.ask({ method: "sweep", params: {} }), cancel: actions.cancel },
    signal,
  );
  const [pageProblem, mainProblem] = [createProblem(), createProblem()];
  const checks = createChecks();
  const legend = createLegend();
  const explain = createExplain();
  const announcer = createAnnouncer();
  const note = h("p", { class: "pw-note pw-muted", "data-pw": "waits" });
  const heading = h("h4", { class: "pw-heading" });

  /** The keys drill down, so the focus follows as soon as there is a grid to go to. */
  let followInto: string | null = null;
  const grid = new Grid(
    {
      name: "grid",
      maxCellWidth: 44,
      onOpen(view, cell, by) {
        const ask = drill(view, cell);
        if (!ask) return;
        actions.ask(ask);
        followInto = by === "key" ? (store.state.open.heads?.id ?? null) : null;
      },
      onHover: tooltip.show,
      onTheme({ scale }) {
        root.style.setProperty("--pw-ramp", ramp(scale));
        root.style.setProperty("--pw-neutral", neutral(scale));
      },
    },
    signal,
  );
  const detail = createDetail({ ...actions, leave: () => grid.focus(), hover: tooltip.show }, signal);

  const main = h(
    "section",
    { class: "pw-main", "aria-label": "main grid" },
    heading,
    grid.element,
    legend.element,
    checks.line,
  );
  root.append(
    prompts.element,
    toolbar.element,
    note,
    pageProblem.element,
    mainProblem.element,
    checks.banners,
    h("div", { class: "pw-panes" }, main, detail.element),
    explain.element,
    announcer.element,
    tooltip.element,
  );
  host.append(root);

  const show = (state: LabState) => {
    const { main: view, detail: heads } = state.views;
    root.classList.toggle("pw-waiting", state.lab === null);
    prompts.show(state);
    toolbar.show(state);
    setText(note, state.lab?.waits ?? "");
    toggle(note, Boolean(state.lab?.waits));
    pageProblem.show(state.problems.page);
    mainProblem.show(state.problems.main);
    setText(heading, view?.title ?? "");
    checks.show(view);
    legend.show(view);
    explain.show(state);
    root.style.setProperty("--pw-cols", String(view?.cols.labels.length ?? 14));
    root.style.setProperty("--pw-heads", String(heads?.cols.labels.length ?? 12));
    if (view) grid.show({ view, chosen: chosenCell(state), strongCols: state.pair?.differs ?? [], opens: true });
    detail.show(state);
    announcer.show(state);
    if (followInto !== null && heads?.request === followInto) {
      followInto = null;
      detail.focus();
    }
  };
  showEachFrame(store, show, signal);
  signal.addEventListener("abort", () => root.remove(), { once: true });
}

function showEachFrame(store: Store, show: (state: LabState) => void, signal: AbortSignal): void {
  let frame = 0;
  const soon = () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      show(store.state);
    });
  };
  const unsubscribe = store.subscribe(soon);
  signal.addEventListener(
    "abort",
    () => {
      unsubscribe();
      cancelAnimationFrame(frame);
    },
    { once: true },
  );
  show(store.state);
}
