/** Both prompts, the answer and the distractor, as they are typed. */
import { h, hear, setText } from "../../dom/dom";
import type { Baselines, FieldProblem, Lab, Preview, Prompts } from "../message-schema";
import { createLikelier } from "./likelier";
import { createTokenField } from "./token-field";
import { createTopTokens, type TopChoice } from "./top-tokens";

export interface EditorActions {
  preview(prompts: Prompts): void;
  apply(prompts: Prompts): void;
  close(): void;
}
type TokenName = "answer" | "distractor";
export type FieldName = "clean" | "corrupted" | TokenName;

/** Tokens are asked for once typing has paused for this long. */
const PAUSE_MS = 250;
const names: FieldName[] = ["clean", "corrupted", "answer", "distractor"];

const isToken = (name: FieldName): name is TokenName => name === "answer" || name === "distractor";

function each<T>(make: (name: FieldName) => T): Record<FieldName, T> {
  return Object.fromEntries(names.map((name) => [name, make(name)])) as Record<FieldName, T>;
}

export function createPromptEditor(actions: EditorActions, signal: AbortSignal) {
  const field = (name: FieldName) => createTokenField(`edit-${name}`, name, signal);
  const fields = each(field);
  const errors = each(() => h("p", { class: "pw-field-error", role: "alert", hidden: true }));
  const button = (name: string, text: string, title: string) =>
    h("button", { pw: name, title, class: name === "edit-apply" ? "pw-primary" : "" }, text);
  const apply = button("edit-apply", "Measure", "measure these prompts (Enter; Shift+Enter is a new line)");
  const close = button("edit-close", "Close", "go back to the prompts as they were (Escape)");
  const top = createTopTokens((run, choice) => choose(run, choice), signal);
  const line = (prompt: "clean" | "corrupted", token: "answer" | "distractor") => [
    h("label", "pw-name", prompt),
    fields[prompt].element,
    h("label", "pw-role", token),
    fields[token].element,
    h("div", "pw-field-errors", errors[prompt], errors[token]),
  ];
  const note = h("p", "pw-field-errors pw-small-text pw-muted");
  const cost = h("span", { class: "pw-status", pw: "cost" });
  const likelier = createLikelier((name, choice) => take(name, choice), signal);
  const element = h(
    "div",
    { class: "pw-editor", role: "group", label: "edit the prompts", hidden: true },
    ...line("clean", "answer"),
    ...line("corrupted", "distractor"),
    note,
    likelier.element,
    top.element,
    h("div", "pw-editor-end", cost, close, apply),
  );

  /** Token ids of texts chosen from the list, by field: a text may be cut otherwise when it is typed. */
  const chosen = new Map<string, number>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let role: TokenName | null = null;

  const typed = (): Prompts => {
    const token = (name: TokenName) => {
      const text = fields[name].input.value;
      return text === "" ? {} : { [name]: chosen.get(`${name} ${text}`) ?? text };
    };
    const text = { clean: fields.clean.input.value, corrupted: fields.corrupted.input.value };
    return { ...text, ...token("answer"), ...token("distractor") };
  };
  const ask = () => {
    clearTimeout(timer);
    actions.preview(typed());
  };
  function take(name: TokenName, { text, id }: { text: string; id: number | null }): void {
    fields[name].input.value = text;
    fields[name].input.dispatchEvent(new Event("input"));
    if (id !== null) chosen.set(`${name} ${text}`, id);
    fields[name].input.focus();
  }
  function choose(run: "clean" | "corrupted", choice: TopChoice): void {
    take(role ?? (run === "clean" ? "answer" : "distractor"), choice);
  }
  const measure = () => {
    clearTimeout(timer);
    actions.apply(typed());
  };

  for (const name of names) {
    const { input } = fields[name];
    hear(
      input,
      "input",
      () => {
        clearTimeout(timer);
        timer = setTimeout(ask, PAUSE_MS);
        if (isToken(name)) fields[name].show([input.value], new Set());
      },
      signal,
    );
    hear(input, "focus", () => focused(name), signal);
  }
  const focused = (name: FieldName) => {
    role = isToken(name) ? name : null;
    top.choosing(role);
  };
  hear(
    element,
    "keydown",
    (event) => {
      if (event.isComposing) return;
      const isField = event.target instanceof HTMLTextAreaElement;
      if (event.key === "Escape") actions.close();
      else if (event.key === "Enter" && !event.shiftKey && isField) measure();
      else return;
      event.preventDefault();
      event.stopPropagation();
    },
    signal,
  );
  hear(apply, "click", measure, signal);
  hear(close, "click", () => actions.close(), signal);
  signal.addEventListener("abort", () => clearTimeout(timer), { once: true });

  return {
    element,
    /** Begins with a pair's texts. */
    open(pair: Lab["pairs"][number], at: FieldName): void {
      for (const name of names) {
        fields[name].input.value = pair[name] ?? "";
        fields[name].show(isToken(name) ? [pair[name] ?? ""] : [], new Set());
      }
      element.hidden = false;
      const { input } = fields[at];
      input.focus();
      input.setSelectionRange(input.value.length, input.value.length);
      ask();
    },
    close(): void {
      clearTimeout(timer);
      element.hidden = true;
    },
    /** `price` says in words what measuring them takes. */
    show(preview: Preview | null, problems: readonly FieldProblem[], baselines: Baselines | null, price: string): void {
      if (preview) {
        const marked = (side: 0 | 1) =>
          new Set(
            preview.columns.flatMap((column, i) => (preview.differs[i] && column[side] !== null ? [column[side]] : [])),
          );
        fields.clean.show(preview.clean, marked(0));
        fields.corrupted.show(preview.corrupted, marked(1));
      }
      setText(note, preview?.note ?? "");
      setText(cost, price);
      likelier.show(preview?.likelier ?? null);
      top.show(preview?.top ?? null, baselines);
      for (const name of names) {
        const problem = problems.find(({ field }) => field === name);
        errors[name].hidden = !problem;
        setText(errors[name], problem ? [problem.message, problem.hint].filter(Boolean).join(" ") : "");
        if (problem) errors[name].dataset.pw = "error";
        else delete errors[name].dataset.pw;
        fields[name].input.setAttribute("aria-invalid", String(Boolean(problem)));
        fields[name].element.classList.toggle("pw-wrong", Boolean(problem));
      }
    },
  };
}
