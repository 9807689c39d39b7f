/** The one grid component: a canvas that draws the cells, and one real focusable cell that moves over it. */
import { h, hear } from "../dom/dom";
import { GridBoxes } from "./boxes";
import { type By, listenToKeys, listenToPointer, type SelectionChange } from "./input";
import { labelRoom } from "./labels";
import { EDGE, indexAt, inSight, type Layout, layoutGrid, openingAt, type Place, placeOf, scrollTo } from "./layout";
import { byStrength, downwards, type Order, upwards } from "./order";
import { paintGrid } from "./paint";
import { GridScroller } from "./scroller";
import { isList, type Sheet, type Tip } from "./sheet";
import { onResolutionChange, onThemeChange, readTheme, type Theme } from "./theme";

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
  readonly #boxes = new GridBoxes();
  readonly #scroller: GridScroller;
  readonly #options: GridOptions;
  #content: GridContent | null = null;
  #layout: Layout | null = null;
  #theme: Theme | null = null;
  #order: { key: string; order: Order } | null = null;
  #room: { key: string; labelHeight: number; gutter: number } | null = null;
  /** Where the keys are, as a flat index; null is the upper left in sight. */
  #cursor: number | null = null;
  /** The cell that was opened last. */
  #opened: number | null = null;
  #hover: number | null = null;
  #frame = 0;
  /** The sheet on view. */
  #drawn: string | null = null;
  #focusDue = false;

  constructor(options: GridOptions, signal: AbortSignal) {
    this.#options = options;
    this.#scroller = new GridScroller(this.#canvas, this.#boxes.element, () => this.#draw(), signal);
    this.element = h(
      "div",
      { class: "pw-grid", role: "grid", pw: options.name, "aria-multiselectable": "true" },
      this.#scroller.element,
    );
    this.#watch(signal);
    const target = {
      layout: () => this.#layout,
      scroll: () => this.#scroller.at,
      selected: () => this.#content?.selected ?? new Set<number>(),
      cursor: () => this.#place(),
      moveTo: (to: Place) => this.#moveTo(to),
      point: (index: number | null, at?: { x: number; y: number }) => this.#point(index, at),
      open: (index: number, by: By) => {
        options.onHover(null);
        this.#opened = index;
        options.onOpen(index, by);
      },
      select: options.onSelect,
      leave: () => {
        options.onHover(null);
        return options.onLeave();
      },
    };
    listenToKeys(this.#boxes.cursor, target, signal);
    listenToPointer(this.#scroller.sight, target, signal);
  }

  show(content: GridContent): void {
    const [old, { sheet }] = [this.#content, content];
    if (old?.sheet.id !== sheet.id && (!old || !isAlike(old, content))) {
      this.#cursor = null;
      this.#scroller.reset();
    }
    this.#follow(content);
    this.#content = content;
    if (this.#layout) this.#draw();
    else this.#drawNow(content); // at once, so that it never has another height
  }

  /** The keys go to the cell at which one stands, or to the row one comes from, as soon as that is another; not back to a cell opened here. */
  #follow({ sheet, chosen, strongRow }: GridContent): void {
    const old = this.#content?.sheet.id === sheet.id ? this.#content : null;
    if (chosen !== null && chosen !== old?.chosen) {
      if (chosen !== this.#opened) this.#cursor = chosen;
      this.#opened = null;
    } else if (strongRow !== null && strongRow !== old?.strongRow) this.#cursor = strongRow * sheet.cols.size;
  }

  /** Moves the keyboard focus to the grid's cell; a grid that has not been drawn takes it once it has. */
  focus(): void {
    this.#focusDue = this.#drawn !== this.#content?.sheet.id;
    this.#boxes.cursor.focus({ preventScroll: true });
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
    hear(this.#boxes.cursor, "focus", redraw, signal);
    hear(this.#boxes.cursor, "blur", () => this.#options.onHover(null), signal);
    const stop = () => {
      observer.disconnect();
      cancelAnimationFrame(this.#frame);
    };
    signal.addEventListener("abort", stop, { once: true });
  }

  #place(): Place {
    const layout = this.#layout;
    if (!layout) return { line: 0, col: 0 };
    if (this.#cursor !== null) return placeOf(layout, this.#cursor);
    const { lines, cols } = inSight(layout, this.#scroller.at);
    return { line: lines[0], col: cols[0] };
  }

  #moveTo(to: Place): void {
    const [layout, content] = [this.#layout, this.#content];
    if (!layout || !content) return;
    this.#cursor = indexAt(layout, to);
    this.#scroller.moveTo(scrollTo(layout, this.#scroller.at, to));
    this.#placeBoxes(layout, content);
    this.focus();
    const box = this.#boxes.cursor.getBoundingClientRect();
    this.#options.onHover({ tip: content.sheet.tip(this.#cursor), x: box.right, y: box.bottom });
    this.#draw();
  }

  #point(index: number | null, at?: { x: number; y: number }): void {
    const [layout, content] = [this.#layout, this.#content];
    if (!layout || !content) return;
    if (index !== this.#hover) {
      this.#hover = index;
      this.#boxes.hover(layout, this.#scroller.at, index);
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
    const size = {
      form,
      cols: form === "list" ? 1 : sheet.cols.size,
      order: this.#orderOf(content, form === "list"),
      ...this.#labelRoom(context, sheet, form, theme.font),
      maxCellWidth: this.#options.maxCellWidth,
    } as const;
    const layout = this.#scroller.fit((width) => layoutGrid({ ...size, width }));
    this.#layout = layout;
    this.#scroller.openAt(openingAt(layout, content.strongCols));
    this.#describe(layout, content);
    this.#placeBoxes(layout, content);
    this.#drawn = sheet.id;
    if (this.#focusDue) this.focus();
    if (!context || layout.width <= 0) return;
    const ratio = this.#canvas.width / layout.width;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    paintGrid(context, { ...content, layout, theme, scroll: this.#scroller.at });
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
    if (this.#theme) return this.#theme;
    const theme = readTheme(this.#canvas);
    // a host may put the panel into its page only later: until then it has no colours, and afterwards it is drawn anew
    if (!this.#canvas.isConnected) return theme;
    this.#theme = theme;
    this.#options.onTheme?.(theme);
    return theme;
  }

  #describe(layout: Layout, { sheet, opens, stage }: GridContent): void {
    const { element } = this;
    element.setAttribute("aria-label", sheet.title);
    element.setAttribute("aria-rowcount", String(layout.lines));
    element.setAttribute("aria-colcount", String(layout.cols));
    element.classList.toggle("pw-opens", opens);
    const scroll = this.#scroller.at;
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

  #placeBoxes(layout: Layout, content: GridContent): void {
    if (this.#cursor !== null && this.#cursor >= content.sheet.kinds.length) this.#cursor = null;
    this.#boxes.show(layout, this.#scroller.at, this.#place(), content);
    this.#boxes.hover(layout, this.#scroller.at, this.#hover);
  }
}

/** Whether what was in sight of one grid is what should be of the other. */
function isAlike(one: GridContent, other: GridContent): boolean {
  const [a, b] = [one.sheet, other.sheet];
  const sameShape = a.rows.size === b.rows.size && a.cols.size === b.cols.size;
  return sameShape && one.strongCols.indexOf(true) === other.strongCols.indexOf(true);
}
