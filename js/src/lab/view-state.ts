/** How one view of the lab is looked at.  Nothing of this concerns the kernel. */

/** What a pane draws while a grid is pinned. */
export type Comparing = "this" | "difference" | "pinned";

export interface UiState {
  /** Limits of colours chosen by hand, by view. */
  limits: Readonly<Record<string, number>>;
  comparing: Comparing;
  /** Lists: the strongest first. */
  ranked: boolean;
  /** Explanations are folded away; null until somebody has chosen: then they are where there is one column. */
  folded: boolean | null;
  /** There is room for one column only: the detail is under the main grid. */
  narrow: boolean;
  /** Predicted cells, by view. */
  marks: Readonly<Record<string, number>>;
  /** A selection while it is dragged. */
  dragged: { view: string; indices: readonly number[] } | null;
}

export const initialUi: UiState = {
  limits: {},
  comparing: "difference",
  ranked: true,
  folded: null,
  narrow: false,
  marks: {},
  dragged: null,
};
