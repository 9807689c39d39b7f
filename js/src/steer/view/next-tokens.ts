/** What comes next, unsteered against steered, as bars; and how far the distribution has moved. */
import { h, setText } from "../../dom/dom";
import { remember } from "../../dom/memo";
import { percent } from "../../text/format";
import { visible } from "../../text/tokens";
import type { Ladder } from "../messages";
import { barsAt, highest } from "../strength";

const BARS = 10;

export function createNextTokens() {
  const bars = Array.from({ length: BARS }, () => {
    const token = h("bdi", { class: "pw-mono pw-bar-token" });
    const [steered, base] = [h("i", { class: "pw-bar pw-clean" }), h("i", { class: "pw-bar pw-corrupted" })];
    const [p, before] = [h("span", { class: "pw-p" }), h("span", { class: "pw-p pw-p-base" })];
    const item = h("li", {}, token, h("span", { class: "pw-track" }, steered, base), p, before);
    return { item, token, steered, base, p, before };
  });
  const list = h(
    "ol",
    { class: "pw-bars pw-next-bars", "aria-label": "likeliest next tokens" },
    ...bars.map((bar) => bar.item),
  );
  const element = h(
    "section",
    { class: "pw-next-tokens", "data-pw": "next-tokens", "data-frames": 0, "aria-label": "next token" },
    h(
      "div",
      { class: "pw-heading" },
      "Next token",
      h(
        "span",
        { class: "pw-bars-legend" },
        h("span", {}, h("i", { class: "pw-swatch pw-clean" }), "steered"),
        h("span", {}, h("i", { class: "pw-swatch pw-corrupted" }), "unsteered"),
      ),
    ),
    list,
  );
  const whole = remember(highest);
  let frames = 0;
  let drawn: { ladder: Ladder; strength: number } | null = null;
  return {
    element,
    show(ladder: Ladder | null, strength: number, stale: boolean): void {
      element.classList.toggle("pw-stale", stale);
      element.classList.toggle("pw-unknown", ladder === null);
      if (!ladder || (drawn?.ladder === ladder && drawn.strength === strength)) return;
      drawn = { ladder, strength };
      const full = whole(ladder);
      const shown = barsAt(ladder, strength, BARS);
      bars.forEach(({ item, token, steered, base, p, before }, i) => {
        const bar = shown[i];
        item.style.visibility = bar ? "" : "hidden";
        if (!bar) return;
        const text = visible(ladder.tokens[bar.token] as string);
        setText(token, text);
        steered.style.transform = `scaleX(${bar.steered / full})`;
        base.style.transform = `scaleX(${bar.base / full})`;
        setText(p, percent(bar.steered));
        setText(before, percent(bar.base));
      });
      frames += 1;
      element.dataset.frames = String(frames);
    },
  };
}
