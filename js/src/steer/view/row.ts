/** One row: a vector, and where, how strongly and at which tokens it is applied. */
import { h, memo, setText, toggle } from "../../dom/dom";
import { createField, readNumber } from "../../dom/field";
import { createSelect } from "../../dom/select";
import { compact } from "../../text/format";
import type { Actions } from "../actions";
import type { Panel, Row } from "../messages";
import { placeOf, STEPS, strengthAt } from "../strength";
import { shownStrength, type Ui } from "../view-state";

const ALL_LAYERS = -1;
const NUMBER = { inputmode: "decimal", size: "6" };

export interface RowHandlers {
  actions: Actions;
  drag(row: string, strength: number): void;
  release(row: string, strength: number): void;
}

export function createRow(id: string, { actions, drag, release }: RowHandlers, signal: AbortSignal) {
  let row: Row | null = null;
  const on = h("input", { type: "checkbox", "data-pw": "on", "aria-label": "apply this vector" });
  const vector = createSelect("vector", "vector", (name) => actions.row(id, { vector: name }), signal);
  const layer = h("input", { type: "range", class: "pw-slider", "data-pw": "layer", "aria-label": "layer", min: 0 });
  const layerText = h("output", { class: "pw-layer-value" });
  const positions = createSelect("positions", "at", (name) => actions.row(id, { positions: name }), signal);
  const strength = h("input", {
    type: "range",
    class: "pw-slider pw-strength",
    "data-pw": "strength",
    "aria-label": "strength",
    min: -STEPS,
    max: STEPS,
    step: 1,
  });
  const number = createField("strength-number", "strength", NUMBER, (text) => enter(text), signal);
  const unit = createSelect("unit", "unit", (name) => actions.row(id, { unit: name }), signal);
  const norm = h("span", { class: "pw-muted pw-small-text pw-norm" });
  const remove = h(
    "button",
    {
      type: "button",
      class: "pw-quiet",
      "data-pw": "remove",
      title: "remove this row",
      "aria-label": "remove this row",
    },
    "×",
  );
  const note = h("p", { class: "pw-note pw-muted pw-row-note" });
  const element = h(
    "li",
    { class: "pw-row", "data-pw": "row", "data-row": id },
    h("span", { class: "pw-row-vector" }, on, vector.element),
    h("label", { class: "pw-row-layer" }, h("span", { class: "pw-muted" }, "layer"), layer, layerText),
    positions.element,
    h(
      "span",
      { class: "pw-row-strength" },
      h("span", { class: "pw-muted pw-row-name" }, "strength"),
      h("span", { class: "pw-zero" }, strength),
      number.element,
      unit.element,
    ),
    norm,
    remove,
    note,
  );

  function enter(text: string): void {
    const value = readNumber(text);
    actions.wrong("strength", value === null ? `The strength ${JSON.stringify(text)} is not a number.` : null);
    if (value !== null) actions.row(id, { strength: value });
  }
  /** Where the slider stands at the row's own strength it is that, and not the nearest of its steps. */
  const dragged = () => {
    const { limit, strength: own } = row ?? { limit: 1, strength: 0 };
    return strength.valueAsNumber === placeOf(own, limit) ? own : strengthAt(strength.valueAsNumber, limit);
  };
  on.addEventListener("change", () => actions.row(id, { on: on.checked }), { signal });
  remove.addEventListener("click", () => actions.remove(id), { signal });
  strength.addEventListener("input", () => drag(id, dragged()), { signal });
  strength.addEventListener("change", () => release(id, dragged()), { signal });
  // a drag that ends where it began is no change to the browser
  for (const end of ["pointerup", "pointercancel", "blur"]) {
    strength.addEventListener(end, () => setTimeout(() => release(id, dragged())), { signal });
  }
  strength.addEventListener("dblclick", () => actions.row(id, { strength: 0 }), { signal });
  const chosenLayer = () => row?.layers[layer.valueAsNumber] ?? 0;
  layer.addEventListener("input", () => setText(layerText, layerName(chosenLayer())), { signal });
  layer.addEventListener("change", () => actions.row(id, { layer: chosenLayer() }), { signal });

  const showLayer = memo(({ layers, at }: { layers: number[]; at: number }) => {
    layer.max = String(layers.length - 1);
    layer.value = String(layers.indexOf(at));
    layer.setAttribute("aria-valuetext", layerName(at));
    setText(layerText, layerName(at));
  });

  return {
    element,
    show(panel: Panel, now: Row, ui: Ui, live: boolean, alone: boolean): void {
      row = now;
      const value = shownStrength(ui, now);
      element.classList.toggle("pw-current", panel.current === id);
      element.classList.toggle("pw-off", !now.on);
      on.checked = now.on;
      vector.show(
        panel.vectors.map(({ id: name, name: text, about }) => ({ name, text, title: about })),
        now.vector,
      );
      showLayer({ layers: now.layers, at: now.layer });
      positions.show(
        now.rules.map(({ name, label, text }) => ({ name, text: label, title: text })),
        now.positions,
      );
      unit.show(
        panel.units.map(({ name, label, text }) => ({
          name,
          text: label,
          title: text,
          disabled: name !== now.unit && now.norm === null,
        })),
        now.unit,
      );
      const place = String(placeOf(value, now.limit));
      if (strength.value !== place) strength.value = place;
      strength.dataset.strength = String(value);
      strength.setAttribute("aria-valuetext", `${compact(value, 2)}, ${now.unit}`);
      strength.style.setProperty("--at", String((Number(place) / STEPS + 1) / 2));
      number.show(compactNumber(value), live && now.on);
      setText(norm, normText(now, value));
      setText(note, now.note);
      toggle(note, now.note !== "");
      for (const menu of [vector, positions, unit]) menu.enable(live);
      for (const control of [on, layer, remove]) control.disabled = !live;
      layer.disabled ||= now.layers.length < 2;
      strength.disabled = !now.on;
      remove.hidden = alone;
    },
  };
}

function layerName(layer: number): string {
  return layer === ALL_LAYERS ? "all" : String(layer);
}

/** Of three digits, without zeros at the end. */
function compactNumber(value: number): string {
  return String(Number(value.toPrecision(3))).replace("-", "\u2212");
}

/** The same strength in the other unit: what the number means. */
function normText({ unit, norm }: Row, strength: number): string {
  if (unit !== "absolute") return "of the residual norm";
  return norm === null ? "" : `${compact(Math.abs(strength * norm), 2)} of the residual norm`;
}
