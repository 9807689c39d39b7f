/** Both prompts as aligned tokens with the runs' baselines at their right; a click edits them in place. */
import { h, hear, memo, setText, toggle } from "../../dom/dom";
import { keepInSight } from "../../dom/reveal";
import { signed } from "../../text/format";
import { visible } from "../../text/tokens";
import type { Actions } from "../actions";
import { createCost } from "../cost";
import type { Baselines, Pair } from "../message-schema";
import type { LabState } from "../state";
import { createPromptEditor, type FieldName } from "./prompt-editor";
import { createTopTokens } from "./top-tokens";

type PromptActions = Pick<Actions, "preview" | "setPair">;

const answers = ["answer", "distractor"] as const;

export function createPrompts(actions: PromptActions, signal: AbortSignal) {
  const tokens = h("div", { class: "pw-tokens", role: "list", label: "tokens of both prompts" });
  const roles = { answer: token("answer"), distractor: token("distractor") };
  const values = { clean: h("b", "pw-baseline"), corrupted: h("b", "pw-baseline") };
  const reveal = keepInSight(tokens, () => [...tokens.querySelectorAll<HTMLElement>(".pw-differs")], signal);
  const next = createTopTokens(null, signal);
  const note = h("p", "pw-field-errors pw-small-text pw-muted");
  const edit = h("button", { class: "pw-quiet", pw: "edit", title: "edit the prompts ( / )" }, "Edit");
  const line = (run: "clean" | "corrupted", role: "answer" | "distractor") => [
    h("span", "pw-role", role),
    roles[role],
    values[run],
  ];
  const reader = h(
    "div",
    "pw-reader",
    h("div", "pw-names", h("span", {}, "clean"), h("span", {}, "corrupted")),
    tokens,
    h("div", "pw-ends", ...line("clean", "answer"), ...line("corrupted", "distractor")),
    next.element,
    edit,
    note,
  );
  const costOf = createCost();
  let state: LabState | null = null;
  /** The request whose end closes the editor. */
  let applying = false;
  const close = () => {
    editor.close();
    reader.hidden = false;
  };
  const editor = createPromptEditor(
    {
      preview: actions.preview,
      apply(prompts) {
        actions.setPair(prompts);
        applying = true;
      },
      close() {
        close();
        edit.focus();
      },
    },
    signal,
  );
  const open = (at: FieldName) => {
    const pair = shownPair(state);
    if (!editable(state) || !pair || !editor.element.hidden) return;
    editor.element.style.minHeight = `${reader.offsetHeight}px`;
    reader.hidden = true;
    editor.open(pair, at);
  };
  hear(tokens, "click", (event) => open(clickedRun(event)), signal);
  hear(edit, "click", () => open("clean"), signal);
  for (const role of answers) hear(roles[role], "click", () => open(role), signal);

  const element = h("section", { class: "pw-prompts", pw: "prompts", label: "prompts" }, reader, editor.element);
  const showTokens = memo((pair: Pair) => {
    tokens.replaceChildren(...pair.columns.map((_, at) => tokenPair(pair, at)));
    tokens.scrollTop = 0;
    reveal();
    for (const role of answers) {
      const text = pair[role] ? visible(pair[role]) : "none";
      roles[role].replaceChildren(h("bdi", "pw-mono", text));
      roles[role].title = `${text}: choose the ${role}`; // which may be longer than there is room for
    }
  });
  const showValues = memo(({ known, metric }: { known: Baselines | null; metric: string }) => {
    for (const run of ["clean", "corrupted"] as const) {
      setText(values[run], known ? signed(known[run] ?? Number.NaN, 2) : "…");
      values[run].title = `${metric}, ${run} run`;
    }
  });

  return {
    element,
    edit: () => open("clean"),
    show(now: LabState): void {
      state = now;
      const { pair, baselines, lab, fields, preview } = now;
      if (!pair) return;
      showTokens(pair);
      setText(note, pair.note);
      showValues({ known: baselines, metric: lab?.metric ?? "" });
      next.show(null, baselines);
      element.classList.toggle("pw-editable", editable(now));
      toggle(edit, editable(now));
      for (const role of Object.values(roles)) role.disabled = !editable(now);
      if (applying && accepted(now)) {
        applying = false;
        if (fields.length === 0 && !now.problems.main) close();
      }
      const cost = costOf(now);
      if (!editor.element.hidden) editor.show(preview, fields, baselines, cost);
    },
  };
}

/** Of all together the first is shown. */
function shownPair(state: LabState | null) {
  return state?.lab?.pairs[Math.max(0, state.lab.pair)];
}

function editable(state: LabState | null): boolean {
  const lab = state?.lab;
  return state?.link === "live" && lab?.edit === null && shownPair(state)?.clean != null;
}

/** The kernel has taken the prompts, and measures them, or has refused them. */
function accepted({ open, views }: LabState): boolean {
  return !open.prompts || [...views.values()].some((view) => view.request === open.prompts?.id);
}

function token(role: string): HTMLButtonElement {
  return h("button", { class: "pw-role-token", title: `choose the ${role}` });
}

function clickedRun(event: Event): FieldName {
  return (event.target as Element).closest("[data-run]")?.getAttribute("data-run") === "corrupted"
    ? "corrupted"
    : "clean";
}

/** One column: the clean token above the corrupted one, so that they stay together where lines wrap. */
function tokenPair(pair: Pair, at: number): HTMLElement {
  const [i, j] = pair.columns[at] ?? [null, null];
  const [clean, corrupted] = [i === null ? null : pair.clean[i], j === null ? null : pair.corrupted[j]];
  const differs = pair.differs[at] ?? false;
  const said = (text: string | null | undefined) => (text == null ? "nothing" : `'${text}'`);
  const words = differs ? `clean ${said(clean)}, corrupted ${said(corrupted)}, differs` : said(clean);
  const one = (run: string, text: string | null | undefined) =>
    h(
      "bdi",
      { class: text == null ? "pw-token pw-gap" : "pw-token", "data-run": run },
      text == null ? "" : visible(text),
    );
  return h(
    "div",
    {
      class: differs ? "pw-column pw-differs" : "pw-column",
      role: "listitem",
      label: `${i ?? j}: ${words}`,
      title: `position ${i === j || j === null ? i : i === null ? j : `${i} and ${j}`}`,
    },
    one("clean", clean),
    one("corrupted", corrupted),
  );
}
