/** Making a vector from prompts that have something and prompts that lack it. */
import { h, setText } from "../../dom/dom";
import { createFieldErrors } from "../../dom/field";
import { createSelect } from "../../dom/select";
import type { Actions } from "../actions";
import { asking, currentRow, type SteerState } from "../state";

export function createMake(actions: Pick<Actions, "make">, signal: AbortSignal) {
  const box = (name: string, label: string) =>
    h("textarea", {
      rows: 2,
      "data-pw": name,
      "aria-label": `${label}, one prompt a line`,
      placeholder: `${label}, one prompt a line`,
    });
  const [positive, negative] = [box("positive", "more like this"), box("negative", "less like this")];
  const method = createSelect("method", "method", (name) => choose(name), signal);
  const apply = h("button", { type: "button", class: "pw-primary", "data-pw": "make-apply" }, "Make");
  const errors = createFieldErrors(["positive", "negative", "vector"]);
  const element = h(
    "div",
    { class: "pw-make", "data-pw": "make" },
    h("label", {}, h("span", { class: "pw-muted" }, "more like"), positive),
    h("label", {}, h("span", { class: "pw-muted" }, "less like"), negative),
    h("div", { class: "pw-make-end" }, method.element, apply),
    errors.element,
  );
  let state: SteerState | null = null;
  let chosen = "mean_diff";
  function choose(name: string): void {
    chosen = name;
    if (state) show(state);
  }
  const make = () => {
    if (!state?.panel) return;
    const layer = Math.max(0, currentRow(state)?.layer ?? state.panel.layers >> 1);
    actions.make({ positive: positive.value, negative: negative.value, method: chosen, layer });
  };
  apply.addEventListener("click", make, { signal });
  element.addEventListener(
    "keydown",
    (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) make();
    },
    { signal },
  );
  function show(now: SteerState): void {
    state = now;
    const busy = asking(now, "make") !== null;
    method.show(
      (now.panel?.methods ?? []).map(({ name, label, text }) => ({ name, text: label, title: text })),
      chosen,
    );
    apply.disabled = busy || now.link !== "live";
    setText(apply, busy ? "Making…" : "Make");
    errors.show(now.fields);
  }
  return { element, show, focus: () => positive.focus() };
}
