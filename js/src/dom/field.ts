/** A field that says what is entered when it is left or Enter is pressed, with room for a sentence under it. */
import type { Problem } from "../transport/messages";
import { h, setText } from "./dom";

export interface Field {
  element: HTMLElement;
  show(value: string, enabled: boolean): void;
}

/** `enter` gets the text as it was typed. */
export function createField(
  name: string,
  label: string,
  attributes: Record<string, string>,
  enter: (text: string) => void,
  signal: AbortSignal,
): Field {
  const input = h("input", { type: "text", "data-pw": name, "aria-label": label, autocomplete: "off", ...attributes });
  const element = h("label", { class: "pw-entry" }, h("span", { class: "pw-muted" }, label), input);
  let shown = "";
  const done = () => {
    if (input.value !== shown) enter(input.value);
  };
  input.addEventListener("change", done, { signal });
  input.addEventListener(
    "keydown",
    (event) => {
      if (event.key === "Escape") input.value = shown;
      if (event.key === "Enter") done();
    },
    { signal },
  );
  return {
    element,
    show(value, enabled) {
      input.disabled = !enabled;
      // what is being typed stays
      if (shown !== value && (!input.matches(":focus") || input.value === shown)) input.value = value;
      shown = value;
    },
  };
}

/** A number as it was typed, a comma for a point; null where it is none. */
export function readNumber(text: string): number | null {
  const plain = text.trim().replace("\u2212", "-").replace(",", ".");
  const value = Number(plain);
  return plain !== "" && Number.isFinite(value) ? value : null;
}

/** Sentences about what was entered. */
export function createFieldErrors(names: readonly string[]) {
  const element = h("div", { class: "pw-field-error", role: "alert", "data-pw": "error", hidden: true });
  return {
    element,
    show(fields: Readonly<Record<string, Problem>>): void {
      const found = names.flatMap((name) => fields[name] ?? []);
      setText(element, found.map(({ message, hint }) => `${message} ${hint}`.trim()).join(" "));
      element.hidden = found.length === 0;
    },
  };
}
