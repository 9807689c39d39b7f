/** The notebook also holds a picture of the last grid for readers without a kernel: hidden where the widget itself is
 *  seen, live or as the notebook has kept it. */
import type { Store } from "../transport/store";
import type { LabState } from "./state";

export function hidePicture(el: HTMLElement, store: Store<LabState>, signal: AbortSignal): void {
  const style = document.createElement("style");
  const rule = () => {
    const { link, lab } = store.state;
    if (!lab || (link !== "live" && link !== "stored") || style.isConnected) return;
    style.textContent = `.patchwidget-picture[data-lab="${CSS.escape(lab.id)}"] { display: none !important; }`;
    el.ownerDocument.head.append(style);
  };
  store.subscribe(rule, signal);
  signal.addEventListener("abort", () => style.remove(), { once: true });
  rule();
}
