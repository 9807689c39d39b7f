/** What a user can do, in the words of the protocol.  Without a kernel, what has been computed is all there is to go to. */
import { cellOf, questionOf } from "./cells";
import type { View } from "./messages";
import type { Patch, Prompts, Question, Setting, Step } from "./protocol";
import type { LabState } from "./state";
import { answered, isWhole, mainGridOf, pathTo, settingOf, shownAt } from "./tree";

export interface Actions {
  set(changes: Partial<Setting>): void;
  setPair(prompts: Prompts): void;
  preview(prompts: Prompts): void;
  /** Measure a view again. */
  sweep(view: string): void;
  show(view: string): void;
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
  const goTo = (view: View | null) => {
    if (view) holder.update((state) => ({ ...state, current: view.id }));
  };
  const show = (id: string) => {
    const view = holder.state.views.get(id);
    if (!live()) goTo(view ?? null);
    else if (id !== holder.state.current || (view && !isWhole(view))) request("show", { view: id });
  };

  return {
    show,
    set(changes) {
      const { lab, views, current } = holder.state;
      if (live()) request("set", changes);
      else if (lab) goTo(mainGridOf(views, { ...settingOf(shownAt(views, current).main ?? lab), ...changes }));
    },
    setPair: (prompts) => request("set_pair", { ...prompts }),
    preview: (prompts) => request("preview", { ...prompts }),
    sweep: (view) => request("sweep", { view }),
    take(step, view, index) {
      const known = knownAnswer(holder.state, view, index, step);
      // a view under another main grid would take that one along
      const mine = known && rootOf(holder.state, known) === rootOf(holder.state, view);
      if (known && (!live() || (mine && known.status === "done"))) return show(known.id);
      const { method, params } = questionOf(view, index, step);
      const at = view.kind === "grid" && index !== null ? cellOf(view, index) : { row: null, col: null };
      request(method, { ...params, parent: { view: view.id, ...at } });
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

function rootOf({ views }: LabState, view: View): View | undefined {
  return pathTo(views, view.id)[0];
}
