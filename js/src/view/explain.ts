/** One paragraph on what is measured and how to read it; it can be folded away. */
import { h, hear, setText, toggle } from "./dom";

export function createExplain(name: string, fold: (folded: boolean) => void, signal: AbortSignal) {
  const text = h("p");
  const element = h(
    "details",
    { class: "pw-explain", pw: name, open: true },
    h("summary", {}, "How to read this"),
    text,
  );
  hear(element, "toggle", () => fold(!element.open), signal);
  return {
    element,
    show(content: string, folded: boolean): void {
      toggle(element, content !== "");
      setText(text, content);
      if (element.open === folded) element.open = !folded;
    },
  };
}
