/** The numbers of the cell under the pointer, or of the cell that the keys have reached. */
import { h } from "../../dom/dom";
import type { Hover } from "../../grid/grid";

const OFFSET = 14;

export function createTooltip(root: HTMLElement, signal: AbortSignal) {
  const element = h("div", { class: "pw-tooltip", pw: "tooltip", "aria-hidden": "true", hidden: true });
  let wanted: Hover = null;
  let frame = 0;
  signal.addEventListener("abort", () => cancelAnimationFrame(frame), { once: true });

  const draw = () => {
    frame = 0;
    element.hidden = wanted === null;
    if (!wanted) return;
    const { tip, x, y } = wanted;
    element.replaceChildren(
      h("bdi", "pw-tooltip-place", tip.place),
      ...tip.numbers.flatMap(([name, value]) => [h("span", {}, name), h("b", {}, value)]),
      h("span", { class: "pw-tooltip-state", hidden: tip.note === "" }, tip.note),
    );
    place(x, y);
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

  return {
    element,
    /** However many events come, it is drawn once for each frame. */
    show(hover: Hover): void {
      wanted = hover;
      frame ||= requestAnimationFrame(draw);
    },
  };
}
