/** One state shared by all views of a widget. */
import { initialState, type LabState } from "./state";

export class Store {
  state: LabState = initialState;
  readonly #listeners = new Set<() => void>();

  update(change: (state: LabState) => LabState): void {
    const next = change(this.state);
    if (next === this.state) return;
    this.state = next;
    for (const listener of [...this.#listeners]) listener();
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
