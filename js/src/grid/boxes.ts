/** What lies over the canvas: the one cell that has the focus, and the marks of the chosen cell, its row, and the pointer's. */
import { h, place, toggle } from "../dom/dom";
import { type Box, boxOf, indexAt, type Layout, type Place, placeOf, type Scroll } from "./layout";
import { kindAt, type Sheet } from "./sheet";

export interface Marked {
  sheet: Sheet;
  chosen: number | null;
  selected: ReadonlySet<number>;
  strongRow: number | null;
}

export class GridBoxes {
  readonly cursor = h("div", { class: "pw-cursor", role: "gridcell", tabindex: 0 });
  readonly #chosen = h("div", "pw-chosen");
  readonly #row = h("div", "pw-chosen-row");
  readonly #hover = h("div", "pw-hover");
  readonly #line = h("div", { role: "row" }, this.cursor);
  readonly element = h("div", "pw-cells", this.#row, this.#chosen, this.#hover, this.#line);

  /** Marks the cell under the pointer. */
  hover(layout: Layout, scroll: Scroll, index: number | null): void {
    put(this.#hover, layout, scroll, index);
  }

  /** Lays all over the cells; the cursor at a place. */
  show(layout: Layout, scroll: Scroll, at: Place, { sheet, chosen, selected, strongRow }: Marked): void {
    const index = indexAt(layout, at);
    put(this.#chosen, layout, scroll, chosen);
    put(this.cursor, layout, scroll, index);
    toggle(this.#row, strongRow !== null && layout.form === "grid");
    if (strongRow !== null) {
      const { top, height } = boxOf(layout, { line: layout.order.lineOf(strongRow), col: 0 });
      place(this.#row, { top: top - scroll.y, height, left: 0, width: layout.sightWidth });
    }
    this.#line.setAttribute("aria-rowindex", String(at.line + 1));
    this.cursor.setAttribute("aria-colindex", String(at.col + 1));
    const label = sheet.spoken(index);
    if (this.cursor.getAttribute("aria-label") !== label) this.cursor.setAttribute("aria-label", label);
    this.cursor.setAttribute("aria-selected", String(selected.has(index) || chosen === index));
    this.cursor.dataset.kind = kindAt(sheet, index);
  }
}

/** Lays a box over a cell, or hides it. */
function put(box: HTMLElement, layout: Layout, scroll: Scroll, index: number | null): void {
  const shown = index !== null && index < layout.lines * layout.cols;
  toggle(box, shown);
  if (!shown) return;
  const { left, top, ...size }: Box = boxOf(layout, placeOf(layout, index));
  place(box, { left: left - scroll.x, top: top - scroll.y, ...size });
}
