/** How one view of the lab is looked at.  Nothing of this concerns the kernel. */

/** What a pane draws while a grid is pinned. */
export type Comparing = "this" | "difference" | "pinned";

export interface UiState {
  /** Limits of colours chosen by hand, by view. */
  limits: Readonly<Record<string, number>>;
  comparing: Comparing;
  /** Lists: the strongest first. */
  ranked: boolean;
  /** Explanations are folded away. */
  folded: boolean;
  /** Predicted cells, by view. */
  marks: Readonly<Record<string, number>>;
  /** The cell last chosen in each grid. */
  picked: Readonly<Record<string, number>>;
  /** A selection while it is dragged. */
  dragged: { view: string; indices: readonly number[] } | null;
}

export const initialUi: UiState = {
  limits: {},
  comparing: "difference",
  ranked: true,
  folded: false,
  marks: {},
  picked: {},
  dragged: null,
};
