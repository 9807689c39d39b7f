/** Both texts side by side as they are written, what differs marked, and what steering costs. */
import { h, setText } from "../../dom/dom";
import { remember } from "../../dom/memo";
import { compact } from "../../text/format";
import { changedTokens } from "../diff";
import type { Ladder, Side, Written } from "../messages";
import { isFresh, type SteerState } from "../state";
import { klAt } from "../strength";

const none: readonly never[] = [];
const STATUS = { writing: "writing…", done: "", stopped: "stopped", failed: "failed" };

export function createTexts() {
  const [base, steered] = [createText("base", "Unsteered"), createText("steered", "Steered")];
  const damage = createDamage();
  const element = h(
    "section",
    { class: "pw-written", "aria-label": "texts" },
    damage.element,
    h("div", { class: "pw-texts" }, base.element, steered.element),
  );
  const marks = remember((plain: Written | undefined, bent: Written | undefined) =>
    plain && bent ? changedTokens(plain.pieces.slice(0, enough(plain, bent)), bent.pieces) : none,
  );
  return {
    element,
    /** `moved`: the slider has left where the text was written. */
    show(state: SteerState, ladder: Ladder | null, strength: number, moved: boolean): void {
      const [plain, bent] = [state.texts.base, state.texts.steered];
      base.show(plain, none, !isFresh(state, "base"));
      const changed = marks(plain, bent);
      steered.show(bent, changed, moved || !isFresh(state, "steered"));
      damage.show(ladder ? klAt(ladder, strength) : null, plain, moved ? undefined : bent);
    },
  };
}

/** While both are written, the one that is ahead by a token has not changed yet. */
function enough(plain: Written, bent: Written): number {
  return bent.status === "writing" ? Math.max(bent.pieces.length, 1) : plain.pieces.length;
}

function createText(side: Side, title: string) {
  const status = h("span", { class: "pw-status" });
  const body = h("p", { class: "pw-text", "data-pw": `text-${side}`, tabindex: 0, "aria-label": `${title} text` });
  const problem = h("p", { class: "pw-field-error" });
  const element = h("div", { class: "pw-text-side" }, h("div", { class: "pw-heading" }, title, status), body, problem);
  const show = remember((pieces: readonly string[], changed: readonly boolean[]) => {
    const atEnd = body.scrollTop + body.clientHeight > body.scrollHeight - 4;
    body.replaceChildren(
      ...pieces.map((piece, i) => {
        // the space before the first word belongs to the prompt's end
        const seen = i === 0 ? piece.trimStart() : piece;
        return changed[i] && seen ? h("mark", {}, seen) : seen;
      }),
    );
    if (atEnd) body.scrollTop = body.scrollHeight;
  });
  return {
    element,
    show(text: Written | undefined, changed: readonly boolean[], stale: boolean): void {
      element.classList.toggle("pw-stale", stale && text !== undefined);
      body.dataset.status = stale ? "old" : (text?.status ?? "none");
      setText(status, text ? STATUS[text.status] : "");
      setText(problem, text?.message ? `${text.message} ${text.hint ?? ""}`.trim() : "");
      show(text?.pieces ?? none, changed);
    },
  };
}

/** KL and perplexity, as numbers and on a scale that saturates. */
function createDamage() {
  const values = Array.from({ length: 3 }, () => h("b", {}, "–"));
  const names = ["KL of the next token", "KL over the text", "perplexity of the text"];
  const titles = [
    "how far steering moves the next-token distribution: D(unsteered || steered), in nats",
    "the same at each token of the steered text, on average",
    "of each text under the unsteered model: unsteered → steered; what a text costs in fluency",
  ];
  const meter = h("i", {});
  const element = h(
    "div",
    { class: "pw-damage", "data-pw": "damage", role: "group", "aria-label": "damage" },
    ...names.map((name, i) =>
      h(
        "div",
        { title: titles[i] },
        h("span", { class: "pw-muted" }, name),
        values[i],
        i === 0 ? h("span", { class: "pw-meter", "aria-hidden": "true" }, meter) : null,
      ),
    ),
  );
  const nats = (value: number | null | undefined) => (value == null ? "–" : `${compact(value, 2)} nats`);
  const number = (value: number | null | undefined) => (value == null ? "–" : compact(value, 1));
  return {
    element,
    show(kl: number | null, base: Written | undefined, steered: Written | undefined): void {
      setText(values[0] as HTMLElement, nats(kl));
      setText(values[1] as HTMLElement, nats(steered?.damage?.kl));
      const [before, after] = [number(base?.damage?.perplexity), number(steered?.damage?.perplexity)];
      setText(values[2] as HTMLElement, `${before} → ${after}`);
      meter.style.transform = `scaleX(${1 - Math.exp(-(kl ?? 0))})`;
    },
  };
}
