/** Keeps what matters of a small scrolled box in sight. */

type Span = { top: number; bottom: number };

/** Scrolls so that what `wanted` gives is in sight, its beginning at least, moving as little as possible: when the function
 *  that is returned is called, and whenever the box changes its size, as it does when it is first laid out. */
export function keepInSight(box: HTMLElement, wanted: () => HTMLElement[], signal: AbortSignal): () => void {
  const reveal = () => {
    const spans = wanted().map((element) => spanIn(box, element));
    if (spans.length === 0) return;
    const whole = {
      top: Math.min(...spans.map(({ top }) => top)),
      bottom: Math.max(...spans.map(({ bottom }) => bottom)),
    };
    const to = revealing(whole, box.scrollTop, box.clientHeight);
    if (to !== box.scrollTop) box.scrollTop = to;
  };
  const observer = new ResizeObserver(reveal);
  observer.observe(box);
  signal.addEventListener("abort", () => observer.disconnect(), { once: true });
  return reveal;
}

/** Where a box of a height has to be scrolled to, so that a span of what it holds is in sight. */
export function revealing({ top, bottom }: Span, scroll: number, height: number): number {
  if (top < scroll || bottom - top > height) return top;
  return bottom > scroll + height ? bottom - height : scroll;
}

function spanIn(box: HTMLElement, element: HTMLElement): Span {
  const from = box.getBoundingClientRect().top + box.clientTop - box.scrollTop;
  const { top, bottom } = element.getBoundingClientRect();
  return { top: top - from, bottom: bottom - from };
}
