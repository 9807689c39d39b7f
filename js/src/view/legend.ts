/** What colours and signs mean. */
import { kindOf } from "../grid/cells";
import type { GridView } from "../protocol";
import { h, toggle } from "./dom";

export function createLegend() {
  const key = (sign: string, text: string) =>
    h("span", { class: "pw-key" }, h("i", { class: `pw-sign pw-sign-${sign}` }), text);
  const estimate = key("estimate", "estimate");
  const infinite = key("infinite", "infinite");
  const element = h(
    "div",
    { class: "pw-legend", "data-pw": "legend" },
    h("span", {}, "≤ −1"),
    h("span", { class: "pw-ramp", title: "blue: towards the wrong answer; red: towards the clean answer" }),
    h("span", {}, "≥ 1"),
    key("quiet", "below noise"),
    key("pending", "pending"),
    key("unmeasurable", "not measurable"),
    estimate,
    infinite,
  );

  return {
    element,
    show(view: GridView | null): void {
      const has = (kind: string) => view?.state.some((_, index) => kindOf(view, index) === kind) ?? false;
      toggle(estimate, has("estimate"));
      toggle(infinite, has("infinite"));
    },
  };
}
