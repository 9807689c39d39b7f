/** What colours and signs mean, and from which effect on the end colours are used. */
import { h, hear, setText, toggle } from "../../dom/dom";
import { LIMITS } from "../../grid/colour-scale";
import { countKinds, type Kind, type Sheet } from "../../grid/sheet";
import { brief } from "../../text/format";

export interface LegendActions {
  /** Null: as the data have it. */
  limit(limit: number | null): void;
}

export interface LegendContent {
  sheet: Sheet;
  limit: number;
  /** Recovery of the run that is patched: the middle of the scale. */
  middle: number;
  /** "recovery", or what else the middle is the middle of. */
  name: string;
}

const words: Partial<Record<Kind, string>> = {
  estimate: "estimate",
  quiet: "below noise",
  pending: "pending",
  unmeasurable: "no value",
  infinite: "infinite",
  hidden: "hidden",
};

export function createLegend(prefix: string, actions: LegendActions, signal: AbortSignal) {
  const [low, high] = [h("span", "pw-end"), h("span", "pw-end")];
  const [unit, detail] = [h("span"), h("span", "pw-legend-keys")];
  const range = h("input", {
    type: "range",
    class: "pw-range",
    min: 0,
    max: LIMITS.length - 1,
    step: 1,
    label: "range of the colours",
    title: "range of the colours; double-click: as the data have it",
    pw: `${prefix}range`,
  });
  const keys = Object.entries(words).map(([kind, text]) => ({
    kind: kind as Kind,
    element: h("span", "pw-key", h("i", { class: `pw-sign pw-sign-${kind}` }), text),
  }));
  detail.append(...keys.map((key) => key.element));
  const outlined = h("span", "pw-outlined");
  const scale = h("span", "pw-scale", h("span", "pw-ramp"), range);
  const element = h("div", { class: "pw-legend", pw: `${prefix}legend` }, unit, low, scale, high, detail, outlined);
  hear(range, "input", () => actions.limit(LIMITS[Number(range.value)] ?? 1), signal);
  hear(range, "dblclick", () => actions.limit(null), signal);

  return {
    element,
    show(content: LegendContent | null): void {
      element.classList.toggle("pw-unknown", content === null);
      if (!content) return;
      const { sheet, limit, middle } = content;
      const counts = countKinds(sheet);
      setText(unit, content.name);
      setText(low, `≤ ${brief(middle - limit)}`);
      setText(high, `≥ ${brief(middle + limit)}`);
      setText(outlined, sheet.outlined);
      outlined.classList.toggle("pw-outline", sheet.significant !== null);
      for (const { kind, element } of keys) toggle(element, counts[kind] > 0);
      const at = LIMITS.findIndex((one) => one >= limit - 1e-9);
      if (document.activeElement !== range || Number(range.value) !== at) range.value = String(at);
      range.setAttribute("aria-valuetext", `${brief(middle - limit)} to ${brief(middle + limit)}`);
    },
  };
}
