/** The likeliest next tokens of both runs; while prompts are edited, each is a button. */
import { h, hear, memo } from "../../dom/dom";
import { percent } from "../../text/format";
import { visible } from "../../text/tokens";
import type { Baselines, Choice, Preview } from "../message-schema";

export type Run = "clean" | "corrupted";
export type TopChoice = { text: string; probability: number; id: number | null };

/** With `choose`, tokens can be clicked. */
export function createTopTokens(choose: ((run: Run, choice: TopChoice) => void) | null, signal: AbortSignal) {
  const element = h("div", { class: "pw-next", pw: choose ? "top-tokens" : "next-tokens" });
  const choices = new Map<Element, [Run, TopChoice]>();
  if (choose) {
    // the field that is edited keeps the focus
    hear(element, "pointerdown", (event) => event.preventDefault(), signal);
    hear(
      element,
      "click",
      (event) => {
        const choice = choices.get((event.target as Element).closest("button") as Element);
        if (choice) choose(...choice);
      },
      signal,
    );
  }

  const line = (run: Run, tokens: TopChoice[]) => {
    const items = tokens.map((token) => {
      const parts = [h("bdi", "pw-mono", visible(token.text)), h("span", "pw-muted", percent(token.probability))];
      const style = `--p:${token.probability}`;
      const item = choose
        ? h("button", { class: "pw-chip", style }, ...parts)
        : h("span", { class: "pw-chip", style }, ...parts);
      choices.set(item, [run, token]);
      return h("li", {}, item);
    });
    const label = `likeliest next tokens, ${run}`;
    return [
      h("span", "pw-muted", `${run} →`),
      h("ol", { class: "pw-top", label: label, title: `the ${run} prompt's likeliest next tokens` }, ...items),
    ];
  };
  const show = memo((runs: Record<Run, TopChoice[]>) => {
    choices.clear();
    element.replaceChildren(...line("clean", runs.clean), ...line("corrupted", runs.corrupted));
  });

  return {
    element,
    /** Which of answer and distractor a click chooses. */
    choosing(role: "answer" | "distractor" | null): void {
      element.dataset.role = role ?? "";
    },
    show(top: Preview["top"], baselines: Baselines | null): void {
      const known = (tokens: readonly (readonly [string, number])[] | undefined) =>
        (tokens ?? []).map(([text, probability]) => ({ text, probability, id: null }));
      const chosen = (tokens: readonly Choice[]) =>
        tokens.map(([text, probability, id]) => ({ text, probability, id }));
      show({
        clean: top ? chosen(top.clean) : known(baselines?.clean_top),
        corrupted: top ? chosen(top.corrupted) : known(baselines?.corrupted_top),
      });
    },
  };
}
