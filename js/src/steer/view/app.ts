/** The whole panel: puts the parts together and shows them the state, once for each frame at most. */
import { h, setText, toggle } from "../../dom/dom";
import { createField, createFieldErrors, readNumber } from "../../dom/field";
import { eachFrame } from "../../dom/frame";
import { createProblem } from "../../dom/problem";
import { createQueue } from "../../dom/queue";
import { copyText } from "../../export/save";
import { Store } from "../../transport/store";
import type { Actions } from "../actions";
import { asking, awaited, currentRow, isStopped, isWriting, type SteerState } from "../state";
import { initialUi, shownStrength, type Ui } from "../view-state";
import { createCurve } from "./curve";
import { createMake } from "./make";
import { createNextTokens } from "./next-tokens";
import { createRow } from "./row";
import { createTexts } from "./texts";

const FOLLOW_MS = 150;

/** Builds the panel in `host` and keeps it up to date until the signal aborts. */
export function mountPanel(host: HTMLElement, store: Store<SteerState>, actions: Actions, signal: AbortSignal): void {
  const ui = new Store<Ui>(initialUi);
  const button = (name: string, text: string, title: string, kind = "") =>
    h("button", { type: "button", "data-pw": name, title, class: kind }, text);
  const whole = (field: "seed" | "length") => (text: string) => {
    const value = readNumber(text);
    const good = value !== null && Number.isInteger(value);
    actions.wrong(field, good ? null : `${JSON.stringify(text)} is not a whole number.`);
    if (good) actions.set({ [field]: value });
  };

  const prompt = createField("prompt", "prompt", { class: "pw-mono" }, (text) => actions.set({ prompt: text }), signal);
  const promptError = createFieldErrors(["prompt"]);
  const rows = h("ul", { class: "pw-rows" });
  const rowErrors = createFieldErrors(["row", "layer", "strength"]);
  const add = button("add", "Add a row", "one more vector at the same time", "pw-quiet");
  const making = button(
    "making",
    "Make a vector…",
    "from prompts that have something and prompts that lack it",
    "pw-quiet",
  );
  const make = createMake(actions, signal);
  const next = createNextTokens();
  const curve = createCurve(signal);
  const texts = createTexts();
  const seed = createField("seed", "seed", { inputmode: "numeric", size: "4" }, whole("seed"), signal);
  const length = createField("length", "tokens", { inputmode: "numeric", size: "4" }, whole("length"), signal);
  const temperature = createField(
    "temperature",
    "temperature",
    { inputmode: "decimal", size: "4" },
    (text) => {
      const value = readNumber(text);
      actions.wrong("temperature", value === null ? `${JSON.stringify(text)} is not a number.` : null);
      if (value !== null) actions.set({ temperature: value });
    },
    signal,
  );
  const settingErrors = createFieldErrors(["seed", "length", "temperature"]);
  const follow = h("input", { type: "checkbox", "data-pw": "follow" });
  const write = button("write", "Write again", "both texts anew");
  const stop = button("stop", "Stop", "end the text at its next token");
  const code = button("code", "Copy as code", "the Python that does this again", "pw-quiet");
  const status = h("span", { class: "pw-status", "data-pw": "status", role: "status", "aria-live": "polite" });
  const queue = createQueue(actions.stopOther, signal);
  const problem = createProblem();
  const note = h("p", { class: "pw-note pw-muted" });
  const root = h(
    "div",
    { class: "pw-root pw-steer", "data-pw": "steer", "data-lm-suppress-shortcuts": "true" },
    problem.element,
    h("div", { class: "pw-steer-prompt" }, prompt.element, promptError.element),
    rows,
    rowErrors.element,
    h("div", { class: "pw-row-tools" }, add, making, status, queue.element, code),
    make.element,
    h("div", { class: "pw-response" }, next.element, curve.element),
    texts.element,
    h(
      "div",
      { class: "pw-settings" },
      temperature.element,
      seed.element,
      length.element,
      h("label", { class: "pw-entry" }, follow, h("span", { class: "pw-muted" }, "write while dragging")),
      h("span", { class: "pw-one" }, write, stop),
    ),
    settingErrors.element,
    note,
  );
  host.append(root);

  const shown = new Map<string, ReturnType<typeof createRow>>();
  let asked = 0;
  let later = 0;
  /** For a text of where the slider is: not too often, but where it comes to rest for sure. */
  const ask = () => {
    clearTimeout(later);
    const at = ui.state.drag;
    if (!at || !ui.state.follow) return;
    const wait = asking(store.state, "row") ? FOLLOW_MS : asked + FOLLOW_MS - performance.now();
    if (wait > 0) {
      later = window.setTimeout(ask, wait);
      return;
    }
    asked = performance.now();
    actions.row(at.row, { strength: at.strength });
  };
  const drag = (row: string, strength: number) => {
    if (ui.state.drag?.row !== row) {
      // nobody waits for a text that is about to be old
      actions.stop();
      asked = 0;
    }
    ui.update((now) => ({ ...now, drag: { row, strength } }));
    ask();
  };
  const release = (row: string, strength: number) => {
    // in a saved state the slider stays where it was put
    if (ui.state.drag?.row !== row || store.state.link === "stored") return;
    ui.update((now) => ({ ...now, drag: null }));
    clearTimeout(later);
    const before = store.state.panel?.rows.find((one) => one.id === row)?.strength;
    if (strength !== before || isStopped(store.state)) actions.row(row, { strength });
  };

  follow.addEventListener("change", () => ui.update((now) => ({ ...now, follow: follow.checked })), { signal });
  making.addEventListener(
    "click",
    () => {
      ui.update((now) => ({ ...now, making: !now.making }));
      if (ui.state.making) requestAnimationFrame(() => make.focus());
    },
    { signal },
  );
  add.addEventListener("click", () => addRow(store.state, actions), { signal });
  write.addEventListener("click", () => actions.write(), { signal });
  stop.addEventListener("click", () => actions.stop(), { signal });
  code.addEventListener(
    "click",
    () => void copyText(store.state.panel?.code ?? "").then(() => setText(status, "Code copied")),
    { signal },
  );
  // the notebook would take letters for commands, and Enter for the cell's
  root.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Tab" && event.key !== "Escape" && !event.ctrlKey && !event.metaKey) event.stopPropagation();
    },
    { signal },
  );

  const showRows = (state: SteerState) => {
    const panel = state.panel;
    if (!panel) return;
    for (const [id, row] of shown) {
      if (panel.rows.some((one) => one.id === id)) continue;
      row.element.remove();
      shown.delete(id);
    }
    for (const one of panel.rows) {
      let row = shown.get(one.id);
      if (!row) {
        row = createRow(one.id, { actions, drag, release }, signal);
        shown.set(one.id, row);
        rows.append(row.element);
      }
      row.show(panel, awaited(state, one), ui.state, state.link === "live", panel.rows.length === 1);
    }
  };

  const show = () => {
    const state = store.state;
    const { panel } = state;
    const live = state.link === "live";
    root.classList.toggle("pw-waiting", panel === null);
    root.dataset.link = state.link;
    problem.show(state.problems.page);
    setText(note, noteText(state));
    toggle(note, noteText(state) !== "");
    if (!panel) return;
    const writing = isWriting(state);
    prompt.show(
      String(asking(state, "set")?.prompt ?? panel.prompt ?? panel.tokens.join("")),
      live && panel.edit === null,
    );
    prompt.element.title = panel.edit ?? "";
    showRows(state);
    toggle(add, panel.vectors.length > 0);
    add.disabled = making.disabled = !live;
    const open = ui.state.making || (panel.rows.length === 0 && live);
    making.setAttribute("aria-expanded", String(open));
    toggle(make.element, open);
    if (open) make.show(state);
    promptError.show(state.fields);
    rowErrors.show(state.fields);
    settingErrors.show(state.fields);
    seed.show(String(panel.seed), live);
    length.show(String(panel.length), live);
    temperature.show(String(panel.temperature), live);
    follow.disabled = write.disabled = !live;
    toggle(write, !writing);
    toggle(stop, writing);

    const id = ui.state.drag?.row;
    const at = (id && panel.rows.find((one) => one.id === id)) || currentRow(state);
    const row = at && awaited(state, at);
    const ladder = (row && state.ladders[row.id]) ?? null;
    const strength = row ? shownStrength(ui.state, row) : 0;
    const fits = row !== null && ladder !== null && ladder.key === row.ladder;
    next.show(ladder, strength, !fits);
    curve.show(ladder, strength, !fits);
    // text that is written while dragging is of where the slider is
    const moved = ui.state.drag !== null && strength !== row?.strength;
    texts.show(state, ladder, strength, moved || asking(state, "row") !== null);
    setText(status, statusText(state, row?.on === true && !fits));
    queue.show(state.ahead);
    toggle(status, state.ahead === null);
  };
  const soon = eachFrame(show, signal);
  store.subscribe(soon, signal);
  ui.subscribe(soon, signal);
  const leave = () => {
    clearTimeout(later);
    root.remove();
  };
  signal.addEventListener("abort", leave, { once: true });
  show();
}

function addRow(state: SteerState, actions: Actions): void {
  const vector = state.panel?.rows.at(-1)?.vector ?? state.panel?.vectors[0]?.id;
  if (vector !== undefined) actions.add(vector);
}

function statusText(state: SteerState, computing: boolean): string {
  if (state.link === "connecting") return "connecting…";
  if (state.silent) return "waiting for the kernel…";
  if (asking(state, "make")) return "making the vector…";
  return computing && state.link === "live" ? "computing strengths…" : "";
}

function noteText({ panel, link }: SteerState): string {
  if (link === "stored") return "A saved panel: sliders show what was computed. Run the cell to write new texts.";
  return panel?.waits ?? "";
}
