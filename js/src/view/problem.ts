/** A sentence about what went wrong, and what to do. */
import type { Problem } from "../state";
import { h, memo } from "./dom";

export function createProblem() {
  const element = h("div", { class: "pw-problems" });
  const show = memo((problem: Problem | null) => {
    element.replaceChildren(...(problem ? [banner(problem)] : []));
  });
  return { element, show: (problem: Problem | undefined) => show(problem ?? null) };
}

function banner({ message, hint }: Problem): HTMLElement {
  return h(
    "div",
    { class: "pw-banner", role: "alert", "data-pw": "error" },
    h("b", {}, message),
    hint ? ` ${hint}` : "",
  );
}
