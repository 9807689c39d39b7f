/** Where one stands, what is on view there, and how a page moves before the kernel has heard of it.  Pure. */
import type { Lab } from "./message-schema";
import type { AttentionView, FromKernel, GridView, View } from "./messages";
import type { OpenRequest, Slot } from "./requests";
import type { Views } from "./view-tree";
import { beyond, sameWay, type Way } from "./ways";

/** A move of this page that the kernel has not confirmed yet. */
export interface Move {
  /** The id of the request that tells of it. */
  request: string;
  way: Way;
  /** What stays on view until the view that was asked for is opened; null where the way leads to it. */
  before: Way | null;
}

/** What it depends on where one stands: the part of the lab's state that navigation knows. */
export interface Here {
  lab: Lab | null;
  views: Views;
  /** Where this page has gone before the kernel has confirmed it; else one stands at `lab.way`. */
  moved: Move | null;
  open: Readonly<Partial<Record<Slot, OpenRequest>>>;
}

/** Where one stands: breadcrumb, cursors, values and steps are those of its cells. */
export function standing({ lab, moved }: Pick<Here, "lab" | "moved">): Way {
  return moved?.way ?? lab?.way ?? [];
}

/** The way to what is on view. */
export function onView(state: Here): Way {
  const { moved, open } = state;
  return moved?.before && open.detail?.id === moved.request ? moved.before : standing(state);
}

/** The way to a view that is on the page. */
export function wayOver(state: Here, view: string): Way {
  const here = standing(state);
  return here.some((stop) => stop.view === view) ? here : onView(state);
}

/** The views on a way, from the main grid down. */
export function viewsOn(views: Views, way: Way): View[] {
  return way.map(({ view }) => views.get(view)).filter((view) => view !== undefined);
}

/** What is on the page: the main grid, the finest other grid on the way, and the attention of one of its heads. */
export interface Shown {
  main: GridView | null;
  detail: GridView | null;
  attention: AttentionView | null;
}

export function shown(state: Here): Shown {
  const views = viewsOn(state.views, onView(state));
  const grids = views.filter((view) => view.kind === "grid");
  const last = views.at(-1);
  return {
    main: grids[0] ?? null,
    detail: grids.length > 1 ? (grids.at(-1) ?? null) : null,
    attention: last?.kind === "attention" ? last : null,
  };
}

/** A request that leads somewhere has been sent: one stands at once at the cell where it is asked, or at the view it goes to. */
export function leave(state: Here, { id, slot, params }: OpenRequest): Move | null {
  if (slot === "show") return { request: id, way: params.way as Way, before: null };
  if (!Array.isArray(params.parent)) return state.moved;
  return { request: id, way: params.parent as Way, before: onView(state) };
}

/** The move after a message of the kernel, which `state` has taken in already. */
export function land(state: Here, before: Here, message: FromKernel): Move | null {
  const { moved, lab } = state;
  if (!moved || moved.way.some(({ view }) => !state.views.has(view))) return null;
  const mine = "id" in message && message.id === moved.request;
  switch (message.type) {
    case "hello":
      return null;
    case "lab": {
      const going = Object.values(before.open).find(({ id }) => id === moved.request);
      return going && (going.slot === "show" || (moved.before && !goesOn(lab, moved.way))) ? moved : null;
    }
    case "progress":
      return mine && message.open ? arrived(state, moved, message.view) : moved;
    case "result": {
      if (!mine) return moved;
      const there = arrived(state, moved, message.view);
      // where it is not the kernel's word yet, that is on its way
      return lab && sameWay(there.way, lab.way) ? null : there;
    }
    case "error":
      if (!mine) return moved;
      return before.open.show?.id === moved.request ? null : { ...moved, before: null };
    default:
      return moved;
  }
}

/** Whether the kernel has gone on from the end of a way: to a view that is being filled for another request. */
function goesOn(lab: Lab | null, way: Way): boolean {
  return lab !== null && lab.way.length > way.length && sameWay(lab.way.slice(0, way.length), way);
}

/** At the view that was asked for. */
function arrived({ views, lab }: Here, moved: Move, view: string): Move {
  if (!moved.before || !views.has(view)) return { ...moved, before: null };
  return { ...moved, way: beyond(lab?.ways ?? [], moved.way, view), before: null };
}
