/** The one grid component: a canvas that draws the cells, and one real focusable cell that moves over it. */
import { type Cell, sameCell, spoken } from "../grid/cells";
import { actionOf } from "../grid/keys";
import { boxOf, cellAt, EDGE, type Layout, layoutGrid, lineOf, scrollTo } from "../grid/layout";
import { labelHeight, paintGrid, paintPixels } from "../grid/paint";
import type { GridView } from "../protocol";
import { onResolutionChange, onThemeChange, readTheme, type Theme } from "../theme";
import { h, place, toggle } from "./dom";

const GUTTER = 34;

export type By = "key" | "pointer";
/** A point in the page, and the cell there. */
export type Hover = { cell: Cell; view: GridView; x: number; y: number } | null;

export interface GridOptions {
  /** The value of data-pw. */
  name: string;
  maxCellWidth: number;
  onOpen(view: GridView, cell: Cell, by: By): void;
  /** Escape; without it the key is not taken. */
  onLeave?: () => void;
  onHover(hover: Hover): void;
  /** The host's colours have been read. */
  onTheme?(theme: Theme): void;
}

export interface GridContent {
  view: GridView;
  /** The cell whose detail is shown. */
  chosen: Cell | null;
  /** Columns whose label stands out. */
  strongCols: readonly boolean[];
  /** Whether a click on a cell leads anywhere. */
  opens: boolean;
}

export class Grid {
  readonly element: HTMLElement;
  readonly #canvas = h("canvas", { class: "pw-canvas", "aria-hidden": "true" });
  readonly #pixels = document.createElement("canvas");
  readonly #cursorBox = h("div", { class: "pw-cursor", role: "gridcell", tabindex: 0 });
  readonly #chosenBox = h("div", { class: "pw-chosen" });
  readonly #rowBox = h("div", { class: "pw-chosen-row" });
  readonly #hoverBox = h("div", { class: "pw-hover" });
  readonly #line = h("div", { role: "row" }, this.#cursorBox);
  readonly #cells = h("div", { class: "pw-cells" }, this.#rowBox, this.#chosenBox, this.#hoverBox, this.#line);
  readonly #sight = h("div", { class: "pw-sight" }, this.#canvas, this.#cells);
  readonly #space = h("div", { class: "pw-space" }, this.#sight);
  readonly #scroller = h("div", { class: "pw-scroller", tabindex: -1 }, this.#space);
  readonly #options: GridOptions;
  #content: GridContent | null = null;
  #layout: Layout | null = null;
  #theme: Theme | null = null;
  #painted: { recovery: Float32Array; state: Uint8Array; theme: Theme; layout: Layout } | null = null;
  #cursor: Cell | null = null;
  #hover: Cell | null = null;
  #frame = 0;

  constructor(options: GridOptions, signal: AbortSignal) {
    this.#options = options;
    this.element = h(
      "div",
      { class: "pw-grid", role: "grid", "data-pw": options.name, "data-lm-suppress-shortcuts": "true" },
      this.#scroller,
    );
    this.#listen(signal);
  }

  show(content: GridContent): void {
    const shape = ({ view }: GridContent) => `${view.rows.labels.length} ${view.cols.labels.length}`;
    const isNew = !this.#content || this.#content.view.id !== content.view.id;
    if (isNew && (!this.#content || shape(this.#content) !== shape(content))) this.#cursor = null;
    if (isNew && content.view.marked?.row != null && content.view.marked.col == null) {
      this.#cursor = { row: content.view.marked.row, col: 0 };
    }
    this.#content = content;
    this.#draw();
  }

  /** Moves the keyboard focus to the grid's cell. */
  focus(): void {
    this.#cursorBox.focus({ preventScroll: true });
  }

  #listen(signal: AbortSignal): void {
    const redraw = () => this.#draw();
    const observer = new ResizeObserver(redraw);
    observer.observe(this.element);
    onThemeChange(
      this.#canvas,
      () => {
        this.#theme = null;
        this.#draw();
      },
      signal,
    );
    onResolutionChange(redraw, signal);
    signal.addEventListener(
      "abort",
      () => {
        observer.disconnect();
        cancelAnimationFrame(this.#frame);
      },
      { once: true },
    );
    this.#scroller.addEventListener("scroll", redraw, { signal, passive: true });
    this.#sight.addEventListener("pointermove", (event) => this.#pointAt(this.#cellUnder(event), event), { signal });
    this.#sight.addEventListener("pointerleave", () => this.#pointAt(null), { signal });
    this.#sight.addEventListener("click", (event) => this.#click(event), { signal });
    this.#cursorBox.addEventListener("keydown", (event) => this.#key(event), { signal });
    this.#cursorBox.addEventListener("focus", redraw, { signal });
    this.#cursorBox.addEventListener("blur", () => this.#options.onHover(null), { signal });
  }

  #click(event: MouseEvent): void {
    const cell = this.#cellUnder(event);
    if (!cell || !this.#content) return;
    this.#cursor = cell;
    this.focus();
    this.#draw();
    this.#options.onOpen(this.#content.view, cell, "pointer");
  }

  #key(event: KeyboardEvent): void {
    const [layout, content] = [this.#layout, this.#content];
    if (!layout || !content) return;
    const at = this.#cursorCell(layout);
    const action = actionOf(event, at, layout);
    if (!action || (action.kind === "leave" && !this.#options.onLeave)) return;
    event.preventDefault();
    event.stopPropagation(); // the notebook has its own meaning for these keys
    if (action.kind === "move") this.#moveTo(action.to, layout, content.view);
    if (action.kind !== "move") this.#options.onHover(null);
    if (action.kind === "activate") this.#options.onOpen(content.view, at, "key");
    if (action.kind === "leave") this.#options.onLeave?.();
  }

  #moveTo(cell: Cell, layout: Layout, view: GridView): void {
    this.#cursor = cell;
    this.#scroller.scrollLeft = scrollTo(layout, this.#scroller.scrollLeft, cell.col);
    this.#placeBoxes(layout);
    this.#draw();
    const box = this.#cursorBox.getBoundingClientRect();
    this.#options.onHover({ cell, view, x: box.right, y: box.bottom });
  }

  #pointAt(cell: Cell | null, event?: PointerEvent): void {
    if (!sameCell(cell, this.#hover) && this.#layout) {
      this.#hover = cell;
      this.#placeBoxes(this.#layout);
    }
    const view = this.#content?.view;
    this.#options.onHover(cell && view && event ? { cell, view, x: event.clientX, y: event.clientY } : null);
  }

  #cellUnder(event: MouseEvent): Cell | null {
    if (!this.#layout) return null;
    const box = this.#canvas.getBoundingClientRect();
    return cellAt(this.#layout, this.#scroller.scrollLeft, event.clientX - box.left, event.clientY - box.top);
  }

  /** The cursor, or where it starts: upper left. */
  #cursorCell(layout: Layout): Cell {
    const start = { row: lineOf(layout, 0), col: 0 };
    const { row, col } = this.#cursor ?? start;
    return { row: Math.min(row, layout.rows - 1), col: Math.min(col, layout.cols - 1) };
  }

  #draw(): void {
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      if (this.#content) this.#drawNow(this.#content);
    });
  }

  #drawNow(content: GridContent): void {
    const width = this.element.clientWidth;
    const { view } = content;
    const theme = this.#currentTheme();
    const context = this.#canvas.getContext("2d");
    const layout = layoutGrid({
      rows: view.rows.labels.length,
      cols: view.cols.labels.length,
      width,
      gutter: GUTTER,
      labelHeight: labelHeight(context, view, theme.font),
      maxCellWidth: this.#options.maxCellWidth,
      upwards: view.rows.axis === "layer",
    });
    this.#layout = layout;
    this.#size(layout);
    this.#describe(layout, content);
    this.#placeBoxes(layout);
    if (context && width > 0) this.#paint(context, layout, content, theme);
  }

  #paint(context: CanvasRenderingContext2D, layout: Layout, { view, strongCols }: GridContent, theme: Theme): void {
    const last = this.#painted;
    if (
      !last ||
      last.recovery !== view.recovery ||
      last.state !== view.state ||
      last.theme !== theme ||
      last.layout.upwards !== layout.upwards
    ) {
      paintPixels(this.#pixels, view, theme, layout);
      this.#painted = { recovery: view.recovery, state: view.state, theme, layout };
    }
    const ratio = this.#canvas.width / layout.width;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    paintGrid(context, {
      layout,
      view,
      theme,
      scroll: this.#scroller.scrollLeft,
      pixels: this.#pixels,
      strongCols,
      strongRow: view.marked?.col == null ? (view.marked?.row ?? null) : null,
    });
  }

  #currentTheme(): Theme {
    if (!this.#theme) {
      this.#theme = readTheme(this.#canvas);
      this.#options.onTheme?.(this.#theme);
    }
    return this.#theme;
  }

  #size(layout: Layout): void {
    const backing = [
      Math.round(layout.width * devicePixelRatio),
      Math.round(layout.height * devicePixelRatio),
    ] as const;
    if (this.#canvas.width !== backing[0]) this.#canvas.width = backing[0];
    if (this.#canvas.height !== backing[1]) this.#canvas.height = backing[1];
    for (const element of [this.#canvas, this.#sight]) place(element, { width: layout.width, height: layout.height });
    place(this.#space, { width: layout.width + layout.contentWidth - layout.sightWidth, height: layout.height });
    // the outline of a marked cell may stand out by EDGE
    place(this.#cells, { left: layout.gutter, top: EDGE, width: layout.sightWidth, height: layout.bodyHeight });
  }

  #describe(layout: Layout, { view, opens }: GridContent): void {
    const { element } = this;
    element.setAttribute("aria-label", view.title);
    element.setAttribute("aria-rowcount", String(layout.rows));
    element.setAttribute("aria-colcount", String(layout.cols));
    element.classList.toggle("pw-opens", opens);
    Object.assign(element.dataset, {
      rows: layout.rows,
      cols: layout.cols,
      x0: layout.gutter - this.#scroller.scrollLeft,
      y0: EDGE,
      cellW: layout.cellWidth,
      cellH: layout.cellHeight,
      row0: layout.upwards ? "bottom" : "top",
      view: view.id,
      status: view.status,
    });
  }

  #placeBoxes(layout: Layout): void {
    const content = this.#content;
    if (!content) return;
    const scroll = this.#scroller.scrollLeft;
    const put = (box: HTMLElement, cell: Cell | null) => {
      toggle(box, cell !== null && cell.row >= 0 && cell.col >= 0 && cell.row < layout.rows && cell.col < layout.cols);
      if (!cell) return;
      const { left, ...rest } = boxOf(layout, cell);
      place(box, { left: left - scroll, ...rest });
    };
    const cursor = this.#cursorCell(layout);
    put(this.#chosenBox, content.chosen);
    put(this.#hoverBox, this.#hover);
    put(this.#cursorBox, cursor);
    this.#placeRow(layout, content.view);
    this.#line.setAttribute("aria-rowindex", String(lineOf(layout, cursor.row) + 1));
    this.#cursorBox.setAttribute("aria-colindex", String(cursor.col + 1));
    const label = spoken(content.view, cursor);
    if (this.#cursorBox.getAttribute("aria-label") !== label) this.#cursorBox.setAttribute("aria-label", label);
    this.#cursorBox.setAttribute("aria-selected", String(sameCell(content.chosen, cursor)));
  }

  /** The row that the user came from. */
  #placeRow(layout: Layout, view: GridView): void {
    const row = view.marked?.row ?? null;
    const wholeRow = row !== null && view.marked?.col == null && row < layout.rows;
    toggle(this.#rowBox, wholeRow);
    if (wholeRow) place(this.#rowBox, { ...boxOf(layout, { row, col: 0 }), left: 0, width: layout.sightWidth });
  }
}
