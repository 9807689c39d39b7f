/** A text field in which tokens are seen while one types: a transparent text area over the same text cut into tokens. */
import { h, hear } from "../../dom/dom";
import { visible } from "../../text/tokens";
import { cut } from "../prompt-text";

export interface TokenField {
  element: HTMLElement;
  input: HTMLTextAreaElement;
  /** Marks the tokens of the text as it is now. */
  show(tokens: readonly string[], differs: ReadonlySet<number>): void;
}

export function createTokenField(name: string, label: string, signal: AbortSignal): TokenField {
  const input = h("textarea", {
    class: "pw-typed",
    rows: 1,
    spellcheck: "false",
    autocomplete: "off",
    pw: name,
  });
  input.setAttribute("aria-label", label);
  const added = h("span", { class: "pw-added", title: "added by the tokenizer" });
  const back = h("div", { class: "pw-back", "aria-hidden": "true" });
  const element = h("div", "pw-field", added, h("div", "pw-stack", back, input));
  let [tokens, differs]: [readonly string[], ReadonlySet<number>] = [[], new Set()];

  const draw = () => {
    const { added: before, pieces } = cut(input.value, tokens);
    added.replaceChildren(...before.map((token) => h("bdi", "pw-token", visible(token))));
    const spans = pieces.map(({ text, token }) => h("span", { class: pieceClass(text, token, differs) }, text));
    // a text area has room for the line that a newline at its end begins
    back.replaceChildren(...spans, "\u200b");
  };
  hear(input, "input", draw, signal);
  return {
    element,
    input,
    show(next, marked) {
      [tokens, differs] = [next, marked];
      draw();
    },
  };
}

function pieceClass(text: string, token: number | null, differs: ReadonlySet<number>): string {
  const classes = [token === null ? "pw-piece pw-untold" : "pw-piece"];
  if (text.startsWith(" ")) classes.push("pw-blank");
  if (text.startsWith("\n")) classes.push("pw-newline");
  if (token !== null && differs.has(token)) classes.push("pw-differing");
  return classes.join(" ");
}
