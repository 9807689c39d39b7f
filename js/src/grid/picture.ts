/** What is painted: the sheet, where its cells lie, and what stands out. */
import type { Box, Layout, Scroll } from "./layout";
import type { Kind, Sheet } from "./sheet";
import type { Theme } from "./theme";

export interface Picture {
  layout: Layout;
  sheet: Sheet;
  theme: Theme;
  scroll: Scroll;
  /** The effect from which on the end colours are used. */
  limit: number;
  selected: ReadonlySet<number>;
  /** Cells that a finer measurement was made of. */
  visited: ReadonlySet<number>;
  /** The cell that was predicted. */
  ring: number | null;
  /** Columns whose label stands out, and the row that does. */
  strongCols: readonly boolean[];
  strongRow: number | null;
}

/** A cell in sight, with its box relative to the upper left corner of all cells, the gap left out. */
export interface SeenCell {
  index: number;
  kind: Kind;
  box: Box;
}
