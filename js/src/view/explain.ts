/** One paragraph on what is measured and how to read it; it can be folded away. */
import type { LabState } from "../state";
import { explanation } from "../wording";
import { h, setText } from "./dom";

export function createExplain() {
  const text = h("p");
  const element = h(
    "details",
    { class: "pw-explain", "data-pw": "explain", open: true },
    h("summary", {}, "How to read this"),
    text,
  );
  return {
    element,
    show({ lab, pair }: LabState): void {
      if (lab && pair) setText(text, explanation(lab.metric, lab.direction, pair.answer, pair.distractor));
    },
  };
}
