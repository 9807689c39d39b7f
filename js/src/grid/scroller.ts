/** What of a grid is in sight: the canvas and the boxes stand still, and the cells move under them. */
import { h, place } from "../dom/dom";
import { EDGE, type Layout, type Scroll } from "./layout";

export class GridScroller {
  readonly element: HTMLElement;
  /** Where the pointer is heard. */
  readonly sight: HTMLElement;
  readonly #canvas: HTMLCanvasElement;
  readonly #cells: HTMLElement;
  readonly #space: HTMLElement;
  /** Until the user scrolls it stands where it opens, however its room changes. */
  #untouched = true;

  constructor(canvas: HTMLCanvasElement, cells: HTMLElement, scrolled: () => void, signal: AbortSignal) {
    [this.#canvas, this.#cells] = [canvas, cells];
    this.sight = h("div", "pw-sight", canvas, cells);
    this.#space = h("div", "pw-space", this.sight);
    this.element = h("div", { class: "pw-scroller", tabindex: -1 }, this.#space);
    this.element.addEventListener("scroll", scrolled, { signal, passive: true });
    const touched = () => {
      this.#untouched = false;
    };
    for (const how of ["wheel", "pointerdown"]) this.element.addEventListener(how, touched, { signal, passive: true });
  }

  get at(): Scroll {
    return { x: this.element.scrollLeft, y: this.element.scrollTop };
  }

  moveTo({ x, y }: Scroll): void {
    this.#untouched = false;
    [this.element.scrollLeft, this.element.scrollTop] = [x, y];
  }

  /** Forgets where the user has scrolled to. */
  reset(): void {
    this.moveTo({ x: 0, y: 0 });
    this.#untouched = true;
  }

  /** Stands `x` pixels to the right, unless the user has scrolled. */
  openAt(x: number): void {
    if (this.#untouched && this.element.scrollLeft !== x) this.element.scrollLeft = x;
  }

  /** Takes the size of a layout, which is made for the width that is left beside a scrollbar, where that takes room. */
  fit(layoutFor: (width: number) => Layout): Layout {
    const { element } = this;
    const tall = isTall(layoutFor(element.offsetWidth));
    element.style.overflowY = tall ? "scroll" : "hidden";
    const layout = layoutFor(element.clientWidth);
    element.style.overflowX = layout.contentWidth > layout.sightWidth ? "scroll" : "hidden";
    this.#size(layout);
    const bar = element.offsetHeight - element.clientHeight;
    element.style.maxHeight = tall ? `${layout.height + bar}px` : "";
    return layout;
  }

  #size({ gutter, width, height, contentWidth, contentHeight, sightWidth, sightHeight }: Layout): void {
    const backing = [Math.round(width * devicePixelRatio), Math.round(height * devicePixelRatio)] as const;
    if (this.#canvas.width !== backing[0]) this.#canvas.width = backing[0];
    if (this.#canvas.height !== backing[1]) this.#canvas.height = backing[1];
    for (const element of [this.#canvas, this.sight]) place(element, { width, height });
    place(this.#space, { width: width + contentWidth - sightWidth, height: height + contentHeight - sightHeight });
    // the outline of a marked cell may stand out by EDGE
    place(this.#cells, { left: gutter, top: EDGE, width: sightWidth, height: sightHeight });
  }
}

function isTall({ contentHeight, sightHeight }: Layout): boolean {
  return contentHeight > sightHeight;
}
