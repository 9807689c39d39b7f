/** A value that changes, and who wants to hear of it. */
export class Store<T> {
  state: T;
  readonly #listeners = new Set<() => void>();

  constructor(initial: T) {
    this.state = initial;
  }

  update(change: (state: T) => T): void {
    const next = change(this.state);
    if (next === this.state) return;
    this.state = next;
    for (const listener of [...this.#listeners]) listener();
  }

  /** Hears of every change until the signal aborts. */
  subscribe(listener: () => void, signal: AbortSignal): void {
    this.#listeners.add(listener);
    signal.addEventListener("abort", () => this.#listeners.delete(listener), { once: true });
  }
}
