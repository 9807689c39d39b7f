/** What a user can do, in the words of the protocol.  Without a kernel, what has been computed is all there is to go to. */
import type { Question } from "../transport/messages";
import { cellOf, questionOf } from "./cells";
import type { Patch, Prompts, Setting, Step } from "./message-schema";
import type { View } from "./messages";
import { shown, standing, wayOver } from "./navigation";
import type { LabState } from "./state";
import { answered, isWhole, mainGridOf, settingOf } from "./view-tree";
import { beyond, sameWay, taken, toCell, type Way } from "./ways";

export interface Actions {
  set(changes: Partial<Setting>): void;
  setPair(prompts: Prompts): void;
  preview(prompts: Prompts): void;
  /** Measure a view again. */
  sweep(view: string): void;
  /** Go to the end of a way. */
  go(way: Way): void;
  /** Stand at a cell of a view, without asking anything there. */
  choose(view: View, index: number): void;
  take(step: Step, view: View, index: number | null): void;
  /** The same question under another setting. */
  again(view: View, changes: Partial<Setting>): void;
  select(cells: Patch[]): void;
  pin(view: string | null): void;
  teach(on: boolean): void;
  cancel(view: View): void;
  /** Ends what another lab measures. */
  stopOther(lab: string): void;
}

/** Whether there is a kernel to ask: else what is known is all there is. */
export function asksKernel({ link }: LabState): boolean {
  return link !== "stored" && link !== "lost";
}

interface Port {
  request(question: Question): void;
  cancel(id: string): void;
}

/** What the actions need of the store. */
export interface Holder {
  readonly state: LabState;
  update(change: (state: LabState) => LabState): void;
}

/** Where a step leads without being computed; null where that is nowhere yet. */
export function knownAnswer({ views }: LabState, view: View, index: number | null, step: Step): View | null {
  const known = answered(views, questionOf(view, index, step), view);
  return known && isWhole(known) ? known : null;
}

export function makeActions(holder: Holder, port: () => Port | null): Actions {
  const live = () => asksKernel(holder.state);
  const request = (method: string, params: Record<string, unknown>) => {
    if (live()) port()?.request({ method, params });
  };
  const go = (way: Way) => {
    const end = way.at(-1);
    const { views } = holder.state;
    const view = views.get(end?.view ?? "");
    if (!end || !view) return;
    if (!live()) holder.update((state) => movedHere(state, way));
    else if (!sameWay(way, standing(holder.state)) || !isWhole(view)) request("show", { view: end.view, way });
  };
  const wayToCell = (view: View, index: number | null) =>
    toCell(wayOver(holder.state, view.id), view.id, at(view, index));

  return {
    go,
    choose: (view, index) => go(wayToCell(view, index)),
    set(changes) {
      const { lab, views } = holder.state;
      if (live()) return request("set", changes);
      const main = lab && mainGridOf(views, { ...settingOf(shown(holder.state).main ?? lab), ...changes });
      if (main) go(beyond(lab.ways, [], main.id));
    },
    setPair: (prompts) => request("set_pair", { ...prompts }),
    preview: (prompts) => request("preview", { ...prompts }),
    sweep: (view) => request("sweep", { view }),
    take(step, view, index) {
      const way = wayToCell(view, index);
      const known = knownAnswer(holder.state, view, index, step);
      if (known && (!live() || known.status === "done")) return go(beyond(holder.state.lab?.ways ?? [], way, known.id));
      if (!live()) return go(way);
      const { method, params } = questionOf(view, index, step);
      request(method, { ...params, parent: way });
    },
    again: (view, changes) => request("again", { view: view.id, ...changes }),
    select: (cells) => request("select", { cells }),
    pin(view) {
      if (live()) request("pin", { view });
      else holder.update((state) => (state.lab ? { ...state, lab: { ...state.lab, pinned: view } } : state));
    },
    teach(on) {
      if (live()) request("teach", { on });
      else holder.update((state) => (state.lab ? { ...state, lab: { ...state.lab, teach: on } } : state));
    },
    stopOther: (lab) => request("stop", { lab }),
    cancel: (view) => port()?.cancel(view.request ?? view.id),
  };
}

function at(view: View, index: number | null): { row: number | null; col: number | null } {
  return view.kind === "grid" && index !== null ? cellOf(view, index) : { row: null, col: null };
}

/** Without a kernel the page itself keeps where one stands. */
function movedHere(state: LabState, way: Way): LabState {
  const { lab } = state;
  return lab ? { ...state, moved: null, lab: { ...lab, way, ways: taken(lab.ways, way) } } : state;
}
