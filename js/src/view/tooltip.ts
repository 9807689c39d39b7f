/** The numbers of the cell under the pointer, or of the cell that the keys have reached. */
import { flatIndex, kindOf, numbers, shortPlace, stateInWords } from "../grid/cells";
import { h } from "./dom";
import type { Hover } from "./grid";

const OFFSET = 14;

export function createTooltip(root: HTMLElement) {
  const element = h("div", { class: "pw-tooltip", "data-pw": "tooltip", "aria-hidden": "true", hidden: true });

  return {
    element,
    show(hover: Hover): void {
      element.hidden = hover === null;
      if (!hover) return;
      const { view, cell } = hover;
      const index = flatIndex(view, cell);
      const state = kindOf(view, index);
      element.replaceChildren(
        h("bdi", { class: "pw-tooltip-place" }, shortPlace(view, cell)),
        ...numbers(view, cell).flatMap(([name, value]) => [h("span", {}, name), h("b", {}, value)]),
        h("span", { class: `pw-tooltip-state pw-state-${state}` }, stateInWords(view, index)),
      );
      place(hover.x, hover.y);
    },
  };

  /** Right and below the point, or on the other side where there is no room: hosts cut off what stands out. */
  function place(x: number, y: number): void {
    const box = root.getBoundingClientRect();
    const [width, height] = [element.offsetWidth, element.offsetHeight];
    const left = x - box.left + OFFSET;
    const top = y - box.top + OFFSET;
    element.style.left = `${left + width > box.width ? Math.max(0, x - box.left - OFFSET - width) : left}px`;
    element.style.top = `${top + height > box.height ? Math.max(0, y - box.top - OFFSET - height) : top}px`;
  }
}
