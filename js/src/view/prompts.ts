/** Both prompts as aligned tokens, the baselines at their right, and what each run says next. */
import { metricName, percent, signed } from "../format";
import type { Baselines, Pair } from "../protocol";
import type { LabState } from "../state";
import { visible } from "../tokens";
import { h, memo } from "./dom";

export function createPrompts() {
  const tokens = h("div", { class: "pw-tokens", role: "list", "aria-label": "tokens of both prompts" });
  const baselines = h("div", { class: "pw-baselines" });
  const next = h("div", { class: "pw-next" });
  const names = h("div", { class: "pw-names" }, h("span", {}, "clean"), h("span", {}, "corrupted"));
  const element = h(
    "section",
    { class: "pw-prompts", "data-pw": "prompts", "aria-label": "prompts" },
    names,
    tokens,
    baselines,
    next,
  );

  const showTokens = memo((pair: Pair) => tokens.replaceChildren(...pair.clean.map((_, i) => tokenPair(pair, i))));
  const showBaselines = memo(({ pair, known, metric }: { pair: Pair; known: Baselines | null; metric: string }) => {
    const name = () =>
      metric === "logit_diff" ? [bdi(pair.answer), " − ", bdi(pair.distractor)] : [metricName(metric)];
    const line = (run: string, value: number | null | undefined) =>
      h(
        "span",
        { class: "pw-baseline", "data-run": run },
        h("span", {}, ...name()),
        h("b", {}, value === undefined ? "…" : signed(value ?? Number.NaN, 2)),
      );
    baselines.replaceChildren(line("clean", known?.clean), line("corrupted", known?.corrupted));
    next.replaceChildren(...nextTokens("clean", known?.clean_top), ...nextTokens("corrupted", known?.corrupted_top));
  });

  return {
    element,
    show({ pair, baselines: known, lab }: LabState): void {
      if (!pair) return;
      showTokens(pair);
      showBaselines({ pair, known, metric: lab?.metric ?? "" });
    },
  };
}

function bdi(token: string): HTMLElement {
  return h("bdi", { class: "pw-mono" }, visible(token));
}

/** One column: the clean token above the corrupted one, so that they stay together where lines wrap. */
function tokenPair(pair: Pair, i: number): HTMLElement {
  const [clean, corrupted] = [pair.clean[i] ?? "", pair.corrupted[i] ?? ""];
  const differs = pair.differs[i] ?? false;
  const words = differs ? `${i}: clean '${clean}', corrupted '${corrupted}', differs` : `${i}: '${clean}'`;
  const token = (text: string) => h("bdi", { class: "pw-token" }, visible(text));
  return h(
    "div",
    {
      class: differs ? "pw-column pw-differs" : "pw-column",
      role: "listitem",
      "aria-label": words,
      title: `position ${i}`,
    },
    token(clean),
    token(corrupted),
  );
}

/** The likeliest next tokens of a run; those that do not fit on the line are left out. */
function nextTokens(run: string, top: Baselines["clean_top"] | undefined): HTMLElement[] {
  const token = ([text, probability]: [string, number]) =>
    h(
      "li",
      { style: `--p:${probability}`, title: `next token after the ${run} prompt` },
      bdi(text),
      h("span", { class: "pw-muted" }, percent(probability)),
    );
  return [
    h("span", { class: "pw-muted" }, `${run} →`),
    h("ol", { class: "pw-top", "aria-label": `likeliest next tokens, ${run}` }, ...(top ?? []).map(token)),
  ];
}
