/** A sentence about what went wrong, and what to do. */
import type { Problem } from "../transport/messages";
import { h, memo } from "./dom";

export function createProblem() {
  const element = h("div");
  const show = memo(({ problem, line }: { problem: Problem | null; line: string | null }) => {
    element.replaceChildren(...(problem ? [banner(problem, line)] : []));
  });
  return {
    element,
    /** With a line of code that is to be run. */
    show: (problem: Problem | null | undefined, line: string | null = null) => show({ problem: problem ?? null, line }),
  };
}

function banner({ message, hint }: Problem, line: string | null): HTMLElement {
  return h(
    "div",
    { class: "pw-banner", role: "alert", pw: "error" },
    h("b", {}, message),
    hint ? ` ${hint}` : "",
    line ? h("pre", { class: "pw-line", pw: "rerun" }, line) : null,
  );
}
