/** The one grid component: a canvas that draws the cells, and one real focusable cell that moves over it. */
import { labelRoom } from "../grid/labels";
import {
  boxOf,
  EDGE,
  indexAt,
  type Layout,
  layoutGrid,
  type Place,
  placeOf,
  type Scroll,
  scrollTo,
} from "../grid/layout";
import { byStrength, downwards, type Order, upwards } from "../grid/order";
import { paintGrid } from "../grid/paint";
import { isList, kindAt, type Sheet, type Tip } from "../grid/sheet";
import { onResolutionChange, onThemeChange, readTheme, type Theme } from "../theme";
import { h, hear, place, toggle } from "./dom";
import { type By, listenToKeys, listenToPointer, type SelectionChange } from "./grid-input";

/** A cell and a point in the page beside it. */
export type Hover = { tip: Tip; x: number; y: number } | null;

export interface GridOptions {
  /** The value of data-pw. */
  name: string;
  maxCellWidth: number;
  onOpen(index: number, by: By): void;
  onSelect(change: SelectionChange): void;
  /** Escape; false where there is nothing to leave. */
  onLeave(): boolean;
  onHover(hover: Hover): void;
  /** The host's colours have been read. */
  onTheme?(theme: Theme): void;
}

export interface GridContent {
  sheet: Sheet;
  limit: number;
  /** The cell whose detail is shown. */
  chosen: number | null;
  selected: ReadonlySet<number>;
  visited: ReadonlySet<number>;
  /** The cell that was predicted. */
  ring: number | null;
  strongCols: readonly boolean[];
  /** The row that the user came from. */
  strongRow: number | null;
  /** In a list: the strongest first. */
  ranked: boolean;
  /** How far the measurement is; a list is ranked anew when it changes, and not between. */
  stage: string;
  /** Whether a click on a cell leads anywhere. */
  opens: boolean;
}

export class Grid {
  readonly element: HTMLElement;
  readonly #canvas = h("canvas", { class: "pw-canvas", "aria-hidden": "true" });
  readonly #cursorBox = h("div", { class: "pw-cursor", role: "gridcell", tabindex: 0 });
  readonly #chosenBox = h("div", "pw-chosen");
  readonly #rowBox = h("div", "pw-chosen-row");
  readonly #hoverBox = h("div", "pw-hover");
  readonly #line = h("div", { role: "row" }, this.#cursorBox);
  readonly #cells = h("div", "pw-cells", this.#rowBox, this.#chosenBox, this.#hoverBox, this.#line);
  readonly #sight = h("div", "pw-sight", this.#canvas, this.#cells);
  readonly #space = h("div", "pw-space", this.#sight);
  readonly #scroller = h("div", { class: "pw-scroller", tabindex: -1 }, this.#space);
  readonly #options: GridOptions;
  #content: GridContent | null = null;
  #layout: Layout | null = null;
  #theme: Theme | null = null;
  #order: { key: string; order: Order } | null = null;
  #room: { key: string; labelHeight: number; gutter: number } | null = null;
  /** Where the keys are, as a flat index; null is the upper left. */
  #cursor: number | null = null;
  #hover: number | null = null;
  #frame = 0;
  /** The sheet on view. */
  #drawn: string | null = null;
  #focusDue = false;

  constructor(options: GridOptions, signal: AbortSignal) {
    this.#options = options;
    this.element = h(
      "div",
      { class: "pw-grid", role: "grid", pw: options.name, "aria-multiselectable": "true" },
      this.#scroller,
    );
    this.#watch(signal);
    const target = {
      layout: () => this.#layout,
      scroll: () => this.#scroll(),
      selected: () => this.#content?.selected ?? new Set<number>(),
      cursor: () => this.#place(),
      moveTo: (to: Place) => this.#moveTo(to),
      point: (index: number | null, at?: { x: number; y: number }) => this.#point(index, at),
      open: (index: number, by: By) => {
        options.onHover(null);
        options.onOpen(index, by);
      },
      select: options.onSelect,
      leave: () => {
        options.onHover(null);
        return options.onLeave();
      },
    };
    listenToKeys(this.#cursorBox, target, signal);
    listenToPointer(this.#sight, target, signal);
  }

  show(content: GridContent): void {
    const [old, { sheet }] = [this.#content?.sheet, content];
    const sameShape = old?.rows.size === sheet.rows.size && old.cols.size === sheet.cols.size;
    if (old?.id !== sheet.id) {
      if (!sameShape) this.#cursor = null;
      if (!sameShape) this.#scroller.scrollTo(0, 0);
      if (content.strongRow !== null) this.#cursor = content.strongRow * sheet.cols.size;
    }
    this.#content = content;
    if (this.#layout) this.#draw();
    else this.#drawNow(content); // at once, so that it never has another height
  }

  /** Moves the keyboard focus to the grid's cell; a grid that has not been drawn takes it once it has. */
  focus(): void {
    this.#focusDue = this.#drawn !== this.#content?.sheet.id;
    this.#cursorBox.focus({ preventScroll: true });
  }

  #watch(signal: AbortSignal): void {
    const redraw = () => this.#draw();
    const observer = new ResizeObserver(redraw);
    observer.observe(this.element);
    const recolour = () => {
      this.#theme = null;
      this.#draw();
    };
    onThemeChange(this.#canvas, recolour, signal);
    onResolutionChange(redraw, signal);
    this.#scroller.addEventListener("scroll", redraw, { signal, passive: true });
    hear(this.#cursorBox, "focus", redraw, signal);
    hear(this.#cursorBox, "blur", () => this.#options.onHover(null), signal);
    const stop = () => {
      observer.disconnect();
      cancelAnimationFrame(this.#frame);
    };
    signal.addEventListener("abort", stop, { once: true });
  }

  #scroll(): Scroll {
    return { x: this.#scroller.scrollLeft, y: this.#scroller.scrollTop };
  }

  #place(): Place {
    const layout = this.#layout;
    return this.#cursor === null || !layout ? { line: 0, col: 0 } : placeOf(layout, this.#cursor);
  }

  #moveTo(to: Place): void {
    const [layout, content] = [this.#layout, this.#content];
    if (!layout || !content) return;
    this.#cursor = indexAt(layout, to);
    const { x, y } = scrollTo(layout, this.#scroll(), to);
    [this.#scroller.scrollLeft, this.#scroller.scrollTop] = [x, y];
    this.#placeBoxes(layout, content);
    this.focus();
    const box = this.#cursorBox.getBoundingClientRect();
    this.#options.onHover({ tip: content.sheet.tip(this.#cursor), x: box.right, y: box.bottom });
    this.#draw();
  }

  #point(index: number | null, at?: { x: number; y: number }): void {
    const [layout, content] = [this.#layout, this.#content];
    if (!layout || !content) return;
    if (index !== this.#hover) {
      this.#hover = index;
      put(this.#hoverBox, layout, this.#scroll(), index);
    }
    this.#options.onHover(index !== null && at ? { tip: content.sheet.tip(index), ...at } : null);
  }

  #draw(): void {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      if (this.#content) this.#drawNow(this.#content);
    });
  }

  #drawNow(content: GridContent): void {
    const theme = this.#currentTheme();
    const context = this.#canvas.getContext("2d");
    const { sheet } = content;
    const form = isList(sheet) ? "list" : "grid";
    const layout = layoutGrid({
      form,
      cols: form === "list" ? 1 : sheet.cols.size,
      order: this.#orderOf(content, form === "list"),
      width: this.element.clientWidth,
      ...this.#labelRoom(context, sheet, form, theme.font),
      maxCellWidth: this.#options.maxCellWidth,
    });
    this.#layout = layout;
    this.#size(layout);
    this.#describe(layout, content);
    this.#placeBoxes(layout, content);
    this.#drawn = sheet.id;
    if (this.#focusDue) this.focus();
    if (!context || layout.width <= 0) return;
    const ratio = this.#canvas.width / layout.width;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    paintGrid(context, { ...content, layout, theme, scroll: this.#scroll() });
  }

  #orderOf({ sheet, ranked, stage }: GridContent, isList: boolean): Order {
    const key = [sheet.id, sheet.kinds.length, sheet.rows.axis, isList, ranked, isList && ranked && stage].join();
    if (this.#order?.key !== key) {
      const count = isList ? sheet.kinds.length : sheet.rows.size;
      const plain = sheet.rows.axis === "layer" ? upwards : downwards;
      const order = isList && ranked ? byStrength(sheet.effect) : plain(count);
      this.#order = { key, order };
    }
    return this.#order.order;
  }

  #labelRoom(context: CanvasRenderingContext2D | null, sheet: Sheet, form: Layout["form"], font: string) {
    const key = [sheet.id, sheet.rows.size, sheet.cols.size, form, font].join();
    if (this.#room?.key !== key) this.#room = { key, ...labelRoom(context, sheet, form, font) };
    const { labelHeight, gutter } = this.#room;
    return { labelHeight, gutter };
  }

  #currentTheme(): Theme {
    if (!this.#theme) {
      this.#theme = readTheme(this.#canvas);
      this.#options.onTheme?.(this.#theme);
    }
    return this.#theme;
  }

  #size(layout: Layout): void {
    const { width, height, contentWidth, contentHeight, sightWidth, sightHeight } = layout;
    const backing = [Math.round(width * devicePixelRatio), Math.round(height * devicePixelRatio)] as const;
    if (this.#canvas.width !== backing[0]) this.#canvas.width = backing[0];
    if (this.#canvas.height !== backing[1]) this.#canvas.height = backing[1];
    for (const element of [this.#canvas, this.#sight]) place(element, { width, height });
    place(this.#space, { width: width + contentWidth - sightWidth, height: height + contentHeight - sightHeight });
    this.#scroller.style.maxHeight = contentHeight > sightHeight ? `${height}px` : "";
    // the outline of a marked cell may stand out by EDGE
    place(this.#cells, { left: layout.gutter, top: EDGE, width: sightWidth, height: sightHeight });
  }

  #describe(layout: Layout, { sheet, opens, stage }: GridContent): void {
    const { element } = this;
    element.setAttribute("aria-label", sheet.title);
    element.setAttribute("aria-rowcount", String(layout.lines));
    element.setAttribute("aria-colcount", String(layout.cols));
    element.classList.toggle("pw-opens", opens);
    const scroll = this.#scroll();
    Object.assign(element.dataset, {
      form: layout.form,
      rows: layout.lines,
      cols: layout.cols,
      x0: layout.gutter - scroll.x,
      y0: EDGE - scroll.y,
      cellW: layout.cellWidth,
      cellH: layout.cellHeight,
      top: layout.order.lineOf(0) === 0 ? "first" : "last",
      view: sheet.id,
      stage,
    });
  }

  #placeBoxes(layout: Layout, { sheet, chosen, selected, strongRow }: GridContent): void {
    const scroll = this.#scroll();
    if (this.#cursor !== null && this.#cursor >= sheet.kinds.length) this.#cursor = null;
    const at = this.#place();
    const cursor = indexAt(layout, at);
    put(this.#chosenBox, layout, scroll, chosen);
    put(this.#hoverBox, layout, scroll, this.#hover);
    put(this.#cursorBox, layout, scroll, cursor);
    toggle(this.#rowBox, strongRow !== null && layout.form === "grid");
    if (strongRow !== null) {
      const { top, height } = boxOf(layout, { line: layout.order.lineOf(strongRow), col: 0 });
      place(this.#rowBox, { top: top - scroll.y, height, left: 0, width: layout.sightWidth });
    }
    this.#line.setAttribute("aria-rowindex", String(at.line + 1));
    this.#cursorBox.setAttribute("aria-colindex", String(at.col + 1));
    const label = sheet.spoken(cursor);
    if (this.#cursorBox.getAttribute("aria-label") !== label) this.#cursorBox.setAttribute("aria-label", label);
    this.#cursorBox.setAttribute("aria-selected", String(selected.has(cursor) || chosen === cursor));
    this.#cursorBox.dataset.kind = kindAt(sheet, cursor);
  }
}

/** Lays a box over a cell, or hides it. */
function put(box: HTMLElement, layout: Layout, scroll: Scroll, index: number | null): void {
  const shown = index !== null && index < layout.lines * layout.cols;
  toggle(box, shown);
  if (!shown) return;
  const { left, top, ...size } = boxOf(layout, placeOf(layout, index));
  place(box, { left: left - scroll.x, top: top - scroll.y, ...size });
}
