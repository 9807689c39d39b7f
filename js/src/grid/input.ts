/** What the pointer and the keys do on a grid, told in flat indices of its cells. */
import { hear } from "../dom/dom";
import { actionOf } from "./keys";
import { between, indexAt, type Layout, nearestPlace, type Place, placeAt, type Scroll } from "./layout";

export type By = "key" | "pointer";

export interface SelectionChange {
  indices: number[];
  /** What is selected in other grids stays so. */
  adds: boolean;
  /** False while the pointer still drags. */
  final: boolean;
}

/** What the input needs to know and to do. */
export interface GridTarget {
  /** Null until the grid has been drawn. */
  layout(): Layout | null;
  scroll(): Scroll;
  selected(): ReadonlySet<number>;
  cursor(): Place;
  moveTo(place: Place): void;
  point(index: number | null, at?: { x: number; y: number }): void;
  open(index: number, by: By): void;
  /** These are to be selected. */
  select(change: SelectionChange): void;
  /** False where the key is not taken. */
  leave(): boolean;
}

/** The pointer has to go this far before it drags. */
const DRAG = 5;
const PAGE = 5;

export function listenToKeys(cell: HTMLElement, target: GridTarget, signal: AbortSignal): void {
  /** Where a selection by Shift and arrows began. */
  let anchor: Place | null = null;
  hear(
    cell,
    "keydown",
    (event) => {
      const layout = target.layout();
      if (!layout) return;
      const at = target.cursor();
      const page = layout.form === "list" ? Math.floor(layout.sightHeight / layout.cellHeight) - 1 : PAGE;
      const action = actionOf(event, at, { lines: layout.lines, cols: layout.cols, page });
      if (!action || (action.kind === "leave" && !target.leave())) return;
      event.preventDefault();
      event.stopPropagation(); // the notebook has its own meaning for these keys
      if (action.kind === "move") {
        anchor = action.extends ? (anchor ?? at) : null;
        target.moveTo(action.to);
        if (anchor) target.select({ indices: between(layout, anchor, action.to), adds: false, final: true });
      }
      if (action.kind === "activate") target.open(indexAt(layout, at), "key");
      if (action.kind === "select") toggle(target, indexAt(layout, at));
    },
    signal,
  );
}

export function listenToPointer(sight: HTMLElement, target: GridTarget, signal: AbortSignal): void {
  let drag: { from: Place; x: number; y: number; moved: boolean; adds: boolean; kept: number[] } | null = null;
  const inside = (event: MouseEvent) => {
    const box = sight.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top] as const;
  };
  const under = (layout: Layout, event: MouseEvent) => placeAt(layout, target.scroll(), ...inside(event));
  const on = <K extends keyof HTMLElementEventMap>(name: K, heard: (event: HTMLElementEventMap[K]) => void) =>
    hear(sight, name, heard, signal);
  const dragged = (layout: Layout, event: PointerEvent, final: boolean) => {
    if (!drag) return;
    const to = nearestPlace(layout, target.scroll(), ...inside(event));
    target.select({ indices: [...new Set([...drag.kept, ...between(layout, drag.from, to)])], adds: drag.adds, final });
  };

  on("pointerdown", (event) => {
    const layout = target.layout();
    const from = layout && under(layout, event);
    // a finger scrolls
    if (!from || event.button !== 0 || event.pointerType === "touch") return;
    const kept = adds(event) ? [...target.selected()] : [];
    drag = { from, x: event.clientX, y: event.clientY, moved: false, adds: adds(event), kept };
  });
  on("pointermove", (event) => {
    const layout = target.layout();
    if (!layout) return;
    const place = under(layout, event);
    target.point(place && indexAt(layout, place), { x: event.clientX, y: event.clientY });
    if (!drag) return;
    if (!drag.moved && Math.hypot(event.clientX - drag.x, event.clientY - drag.y) < DRAG) return;
    if (!drag.moved) sight.setPointerCapture(event.pointerId);
    drag.moved = true;
    dragged(layout, event, false);
  });
  on("pointerup", (event) => {
    const layout = target.layout();
    if (drag?.moved && layout) dragged(layout, event, true);
  });
  on("pointercancel", () => {
    drag = null;
  });
  on("pointerleave", () => target.point(null));
  on("click", (event) => {
    const layout = target.layout();
    const wasDrag = drag?.moved ?? false;
    drag = null;
    const place = layout && under(layout, event);
    if (wasDrag || !layout || !place) return;
    target.moveTo(place);
    if (adds(event)) toggle(target, indexAt(layout, place));
    else target.open(indexAt(layout, place), "pointer");
  });
}

/** Whether a click adds to the selection. */
function adds(event: MouseEvent): boolean {
  return event.shiftKey || event.ctrlKey || event.metaKey;
}

function toggle(target: GridTarget, index: number): void {
  const next = new Set(target.selected());
  if (!next.delete(index)) next.add(index);
  target.select({ indices: [...next], adds: true, final: true });
}
