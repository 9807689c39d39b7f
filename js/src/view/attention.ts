/** Where a head looks from one position: two thin bars for each token, clean and corrupted. */
import { fixed } from "../format";
import { flatIndex, kindOf } from "../grid/cells";
import type { AttentionView } from "../protocol";
import type { LabState } from "../state";
import { visible } from "../tokens";
import { asking } from "../wording";
import { h, setText } from "./dom";
import { createProblem } from "./problem";

export function createAttention() {
  const name = h("span");
  const recovery = h("span", { class: "pw-muted" });
  const heading = h("h4", { class: "pw-heading" }, name, recovery);
  const legend = h("div", { class: "pw-bars-legend pw-muted" });
  const bars = h("ol", { class: "pw-bars", tabindex: 0 });
  const empty = h("p", { class: "pw-empty" }, "Click a head to see where it looks.");
  const problem = createProblem();
  const element = h(
    "section",
    { class: "pw-attention", "data-pw": "attention", "aria-label": "attention" },
    heading,
    problem.element,
    legend,
    bars,
    empty,
  );
  let shown: AttentionView | null = null;

  return {
    element,
    show(state: LabState): void {
      const view = belonging(state);
      problem.show(state.problems.attention);
      element.classList.toggle("pw-stale", asking(state, "attention"));
      element.classList.toggle("pw-blank", view === null);
      element.hidden = state.views.detail === null && view === null;
      setText(name, view ? `Head ${view.layer}.${view.head}` : "");
      setText(recovery, view ? recoveryText(state, view) : "");
      if (view === shown) return;
      shown = view;
      legend.replaceChildren(
        ...(view
          ? [
              h("span", {}, "attends from ", token(view.tokens[view.pos] ?? ""), " to"),
              h("span", {}, key("clean"), key("corrupted")),
            ]
          : []),
      );
      bars.replaceChildren(...(view ? rows(view) : []));
    },
  };
}

/** The row of a head of the grid on view, not one left from a grid that has been replaced. */
function belonging(state: LabState): AttentionView | null {
  const { attention, detail } = state.views;
  return attention && (attention.parent === null || attention.parent.view === detail?.id) ? attention : null;
}

/** The recovery of the head whose row this is; empty while it is not known. */
function recoveryText({ views: { detail } }: LabState, view: AttentionView): string {
  if (!detail || !view.parent) return "";
  const index = flatIndex(detail, view.parent);
  return kindOf(detail, index) === "pending" ? "" : `recovery ${fixed(detail.recovery[index] ?? Number.NaN, 2)}`;
}

function rows(view: AttentionView): HTMLElement[] {
  const highest = Math.max(...view.clean, ...view.corrupted, 1e-9);
  return view.tokens.slice(0, view.pos + 1).map((text, i) => {
    const [clean, corrupted] = [view.clean[i] ?? 0, view.corrupted[i] ?? 0];
    const other = view.tokens_clean?.[i];
    const label = other !== undefined && other !== text ? [token(other), "/", token(text)] : [token(text)];
    const bar = (run: string, p: number) =>
      h("i", { class: `pw-bar pw-${run}`, style: `width:${(100 * p) / highest}%` });
    return h(
      "li",
      {
        "aria-label": `${i}, '${text}': clean ${fixed(clean, 3)}, corrupted ${fixed(corrupted, 3)}`,
        title: `position ${i}`,
      },
      h("span", { class: "pw-bar-token" }, ...label),
      h("span", { class: "pw-track" }, bar("clean", clean), bar("corrupted", corrupted)),
      number(clean),
      number(corrupted),
    );
  });
}

function number(p: number): HTMLElement {
  return h("span", { class: p < 0.005 ? "pw-p pw-p-small" : "pw-p" }, fixed(p, 2));
}

function token(text: string): HTMLElement {
  return h("bdi", { class: "pw-mono" }, visible(text));
}

function key(run: string): HTMLElement {
  return h("span", { class: "pw-key" }, h("i", { class: `pw-sign pw-sign-bar pw-${run}` }), run);
}
