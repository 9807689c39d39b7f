/** One paragraph on what is measured and how to read it; it can be folded away. */
import { h, hear, setText, toggle } from "../../dom/dom";

export function createExplain(name: string, fold: (folded: boolean) => void, signal: AbortSignal) {
  const text = h("p");
  const element = h(
    "details",
    { class: "pw-explain", pw: name, open: true },
    h("summary", {}, "How to read this"),
    text,
  );
  let wanted = true;
  // it also tells of what was not done by hand
  hear(element, "toggle", () => element.open !== wanted && fold(!element.open), signal);
  return {
    element,
    show(content: string, folded: boolean): void {
      toggle(element, content !== "");
      setText(text, content);
      wanted = !folded;
      if (element.open !== wanted) element.open = wanted;
    },
  };
}
