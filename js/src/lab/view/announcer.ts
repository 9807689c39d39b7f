/** Progress said aloud, politely: at once when something starts or ends, in between only every few seconds. */
import { h } from "../../dom/dom";
import { shown } from "../navigation";
import type { LabState } from "../state";
import { spokenProgress } from "../wording";

const PAUSE_MS = 4000;

export function createAnnouncer(now: () => number = () => performance.now()) {
  const element = h("div", { class: "pw-unseen", role: "status", "aria-live": "polite" });
  let lastTime = Number.NEGATIVE_INFINITY;
  let lastPhase = "";

  return {
    element,
    show(state: LabState): void {
      const { main, detail } = shown(state);
      const phase = [state.silent, main?.id, main?.status, detail?.id, detail?.status].join();
      if (phase === lastPhase && now() - lastTime < PAUSE_MS) return;
      const text = spokenProgress(state);
      if (text === element.textContent) return;
      element.textContent = text;
      [lastTime, lastPhase] = [now(), phase];
    },
  };
}
