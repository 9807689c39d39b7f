/** For whose work one waits, and the way to end that. */
import { shorten } from "../text/tokens";
import type { Ahead } from "../transport/messages";
import { h, hear, setText, toggle } from "./dom";

export function createQueue(stopOther: (lab: string) => void, signal: AbortSignal) {
  const words = h("span", "pw-status");
  const stop = h("button", { pw: "stop-other", title: "stop what goes first; what it has measured stays" }, "Stop it");
  const element = h("span", { class: "pw-queue", pw: "queue", hidden: true }, words, " ", stop);
  let lab: string | null = null;
  hear(stop, "click", () => lab !== null && stopOther(lab), signal);

  return {
    element,
    show(ahead: Ahead): void {
      lab = ahead?.lab ?? null;
      toggle(element, ahead !== null);
      if (!ahead) return;
      setText(words, aheadText(ahead));
      words.title = ahead.name;
    },
  };
}

/** "waiting for another lab, “When John and Mary went…” (37 %)" */
function aheadText({ name, percent }: NonNullable<Ahead>): string {
  return `waiting for another lab, “${shorten(name, 24)}”${percent === null ? "" : ` (${percent} %)`}`;
}
