/** How one view of a panel is looked at and handled.  Nothing of this concerns the kernel. */
import type { Row } from "./messages";

export interface Ui {
  /** The slider that is being dragged, and the strength it is at. */
  drag: { row: string; strength: number } | null;
  /** Text is asked for while dragging. */
  follow: boolean;
  making: boolean;
}

export const initialUi: Ui = { drag: null, follow: false, making: false };

/** The strength to show of a row. */
export function shownStrength({ drag }: Ui, row: Row): number {
  return drag?.row === row.id ? drag.strength : row.strength;
}
