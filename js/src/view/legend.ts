/** What colours and signs mean. */
import { fixed } from "../format";
import { kindOf, unpatched } from "../grid/cells";
import type { GridView } from "../protocol";
import { h, setText, toggle } from "./dom";

export function createLegend() {
  const key = (sign: string, text: string) =>
    h("span", { class: "pw-key" }, h("i", { class: `pw-sign pw-sign-${sign}` }), text);
  const [low, high] = [h("span"), h("span")];
  const estimate = key("estimate", "estimate");
  const infinite = key("infinite", "infinite");
  const element = h(
    "div",
    { class: "pw-legend", "data-pw": "legend" },
    low,
    h("span", { class: "pw-ramp", title: "recovery; blue: towards the corrupted run, red: towards the clean run" }),
    high,
    key("quiet", "below noise"),
    key("pending", "pending"),
    key("unmeasurable", "no value"),
    estimate,
    infinite,
  );

  return {
    element,
    show(view: GridView | null): void {
      const has = (kind: string) => view?.state.some((_, index) => kindOf(view, index) === kind) ?? false;
      const middle = view ? unpatched(view) : 0;
      setText(low, `≤ ${fixed(middle - 1, 0)}`);
      setText(high, `≥ ${fixed(middle + 1, 0)}`);
      toggle(estimate, has("estimate"));
      toggle(infinite, has("infinite"));
    },
  };
}
