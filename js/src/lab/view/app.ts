/** The whole panel: puts the parts together and shows them the state, once for each frame at most. */
import { h, hear, setText, toggle } from "../../dom/dom";
import { eachFrame } from "../../dom/frame";
import { createProblem } from "../../dom/problem";
import { neutral, ramp } from "../../grid/colour-scale";
import type { By } from "../../grid/input";
import type { Theme } from "../../grid/theme";
import { Store } from "../../transport/store";
import type { Actions } from "../actions";
import { shown } from "../navigation";
import { chosenIn } from "../pane-content";
import type { LabState } from "../state";
import { initialUi, type UiState } from "../view-state";
import { asking } from "../wording";
import { createAnnouncer } from "./announcer";
import type { Deps } from "./context";
import { createDetail } from "./detail";
import { createHistory } from "./history";
import { createMain } from "./main";
import { createPrompts } from "./prompts";
import { createToolbar } from "./toolbar";
import { createTooltip } from "./tooltip";

/** Builds the panel in `host` and keeps it up to date until the signal aborts. */
export function mountApp(host: HTMLElement, store: Store<LabState>, actions: Actions, signal: AbortSignal): void {
  const root = h("div", { class: "pw-root", pw: "root", "data-lm-suppress-shortcuts": "true" });
  const ui = new Store<UiState>(initialUi);
  const tooltip = createTooltip(root, signal);
  const announcer = createAnnouncer();
  let colours: Theme | null = null;
  const deps: Deps = {
    actions,
    ui,
    hover: tooltip.show,
    say: (text) => setText(announcer.element, text),
    colours: () => colours,
    theme(theme) {
      colours = theme;
      root.style.setProperty("--pw-ramp", ramp(theme.scale));
      root.style.setProperty("--pw-neutral", neutral(theme.scale));
      root.style.colorScheme = theme.dark ? "dark" : "light";
      soon();
    },
  };

  /** A cell of the main grid was opened: what it leads to is brought into sight as soon as it is there, and by keys it gets the focus. */
  let follow: { by: By; index: number } | null = null;
  const prompts = createPrompts(actions, signal);
  const toolbar = createToolbar(actions, signal);
  const problem = createProblem();
  const note = h("p", { class: "pw-note pw-muted", pw: "waits" });
  const main = createMain(
    deps,
    (index, by) => {
      follow = { by, index };
      soon(); // where one stands at the cell already, nothing else changes
    },
    () => clearSelection(),
    signal,
  );
  const detail = createDetail(deps, () => main.focus(), signal);
  const history = createHistory(actions, deps.colours, signal);
  root.append(
    prompts.element,
    toolbar.element,
    note,
    problem.element,
    h("div", "pw-panes", main.element, detail.element),
    history.element,
    announcer.element,
    tooltip.element,
  );
  host.append(root);
  listenToRoot(root, prompts.edit, signal);

  function clearSelection(): boolean {
    if (!store.state.selection?.cells.length) return false;
    actions.select([]);
    return true;
  }

  const show = () => {
    const state = store.state;
    root.classList.toggle("pw-waiting", state.lab === null);
    root.dataset.link = state.link;
    prompts.show(state);
    toolbar.show(state);
    setText(note, noteText(state));
    toggle(note, noteText(state) !== "");
    problem.show(state.problems.page, state.link === "lost" ? codeOf(state) : null);
    main.show(state);
    detail.show(state);
    history.show(state, ui.state);
    announcer.show(state);
    if (follow === null || asking(state, "detail")) return;
    const { main: grid, detail: opened } = shown(state);
    if (grid && opened && chosenIn(state, grid) === follow.index) {
      if (ui.state.narrow) reveal();
      if (follow.by === "key") detail.focus();
    }
    follow = null;
  };
  const reveal = eachFrame(detail.reveal, signal);
  const soon = eachFrame(show, signal);
  store.subscribe(soon, signal);
  ui.subscribe(soon, signal);
  watchWidth(root, (narrow) => ui.update((now) => (now.narrow === narrow ? now : { ...now, narrow })), signal);
  signal.addEventListener("abort", () => root.remove(), { once: true });
  show();
}

/** The style sheet puts one column where the panel is less wide than this. */
const TWO_COLUMNS = 760;

function watchWidth(root: HTMLElement, tell: (narrow: boolean) => void, signal: AbortSignal): void {
  const observer = new ResizeObserver(([entry]) => {
    const width = entry?.contentRect.width ?? 0;
    if (width > 0) tell(width < TWO_COLUMNS);
  });
  observer.observe(root);
  signal.addEventListener("abort", () => observer.disconnect(), { once: true });
}

/** The lines that compute the picture on view again. */
function codeOf(state: LabState): string | null {
  return shown(state).main?.code || null;
}

function noteText({ lab, link, silent }: LabState): string {
  if (silent && lab)
    return "The kernel does not answer: it is busy, or it is gone. If it was shut down, run the cell again.";
  if (link === "stored")
    return "A saved picture: point at cells, and look again at what was measured. Run the cell to measure more.";
  return lab?.waits ?? "";
}

/** `/` goes to the prompts, and no key that is meant for the panel reaches the notebook. */
function listenToRoot(root: HTMLElement, edit: () => void, signal: AbortSignal): void {
  hear(
    root,
    "keydown",
    (event) => {
      const typing = (event.target as Element).closest("textarea, input[type=text], select") !== null;
      if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
        event.preventDefault();
        event.stopPropagation();
        edit();
      }
      // the notebook would take letters for commands, and Enter for the cell's
      const own = (event.target as Element).closest("textarea, input, select, button, summary, [tabindex]") !== null;
      if (own && !event.ctrlKey && !event.metaKey && event.key !== "Tab" && event.key !== "Escape")
        event.stopPropagation();
    },
    signal,
  );
}
