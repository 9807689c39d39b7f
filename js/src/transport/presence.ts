/** The views of one widget on this page, and whether anybody can see them. */
import type { PageState } from "./messages";

export class Views {
  #count = 0;
  #left = false;
  /** Called when that has changed. */
  changed: () => void = () => {};

  /** A view is on the page until the signal aborts. */
  add(signal: AbortSignal): void {
    this.#count += 1;
    this.changed();
    signal.addEventListener(
      "abort",
      () => {
        this.#count -= 1;
        this.changed();
      },
      { once: true },
    );
  }

  look(): PageState {
    if (this.#count === 0 || this.#left) return "gone";
    return document.visibilityState === "hidden" ? "hidden" : "visible";
  }

  /** Notices that the page is hidden, before its timers are held back; that it is left, and that it is come back to. */
  watch(signal: AbortSignal): void {
    const left = (gone: boolean) => () => {
      this.#left = gone;
      this.changed();
    };
    document.addEventListener("visibilitychange", () => this.changed(), { signal });
    window.addEventListener("pagehide", left(true), { signal });
    window.addEventListener("pageshow", left(false), { signal });
  }
}
