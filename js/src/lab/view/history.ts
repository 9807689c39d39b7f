/** All steps so far as a tree: each is shown again by a click, without computing. */
import { h, hear, toggle } from "../../dom/dom";
import { keepInSight } from "../../dom/reveal";
import type { Theme } from "../../grid/theme";
import type { Actions } from "../actions";
import { crumbs } from "../breadcrumb";
import type { View } from "../messages";
import { standing, viewsOn } from "../navigation";
import { isHidden } from "../pane-content";
import type { LabState } from "../state";
import type { UiState } from "../view-state";
import { samePlace, taken, type Way } from "../ways";
import { pairText, settingText } from "../wording";
import { paintThumbnail } from "./thumbnail";

type Node = { way: Way; view: View; here: boolean; text: string };

export function createHistory(actions: Pick<Actions, "go">, colours: () => Theme | null, signal: AbortSignal) {
  const tree = h("ul", { class: "pw-tree", role: "tree", label: "steps so far", pw: "history" });
  const element = h("section", "pw-history", h("h4", "pw-heading", "Steps"), tree);
  const items = () => [...tree.children] as HTMLElement[];
  const current = () => items().filter((item) => item.getAttribute("aria-selected") === "true");
  const reveal = keepInSight(tree, current, signal);
  let nodes: Node[] = [];
  let drawn = "";
  let shown = "";

  hear(
    tree,
    "click",
    (event) => {
      const item = (event.target as Element).closest<HTMLElement>("[role=treeitem]");
      const node = item && nodes[items().indexOf(item)];
      if (node) actions.go(node.way);
    },
    signal,
  );
  hear(
    tree,
    "keydown",
    (event) => {
      const all = items();
      const at = all.findIndex((item) => item.matches(":focus"));
      const depth = (i: number) => Number(all[i]?.getAttribute("aria-level"));
      const parent = all
        .slice(0, Math.max(0, at))
        .map((_, i) => depth(i) < depth(at))
        .lastIndexOf(true);
      const moves: Record<string, number> = {
        ArrowDown: at + 1,
        ArrowUp: at - 1,
        ArrowLeft: parent,
        ArrowRight: depth(at + 1) > depth(at) ? at + 1 : at,
        Home: 0,
        End: all.length - 1,
      };
      const to = moves[event.key];
      if (to === undefined && event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      event.stopPropagation();
      if (to === undefined) all[at]?.click();
      else focusItem(all, to);
    },
    signal,
  );

  return {
    element,
    show(state: LabState, ui: UiState): void {
      nodes = flat(state);
      toggle(element, nodes.length > 0);
      const theme = colours();
      const key = JSON.stringify([
        nodes.map(({ way, view, here, text }) => [
          way,
          here,
          text,
          view.status,
          view.kept,
          isHidden(state, ui, view as never),
        ]),
        state.lab?.pinned,
        theme?.background,
      ]);
      if (key === drawn) return;
      drawn = key;
      const had = items().findIndex((item) => item.matches(":focus"));
      tree.replaceChildren(...nodes.map((node) => treeItem(node, state, ui, theme)));
      const at = nodes.findIndex(({ here }) => here);
      for (const [i, item] of items().entries()) item.tabIndex = i === Math.max(0, at) ? 0 : -1;
      if (had >= 0) focusItem(items(), had);
      const place = `${at} of ${nodes.length}`;
      if (place !== shown) reveal(); // and what the user has scrolled to stays while cells come in
      shown = place;
    },
  };
}

function focusItem(items: HTMLElement[], to: number): void {
  const item = items[to];
  if (!item) return;
  for (const one of items) one.tabIndex = one === item ? 0 : -1;
  item.focus();
}

/** The ways to all places, depth first, oldest first. */
function flat(state: LabState): Node[] {
  const several = new Set([...state.views.values()].map((view) => view.pair)).size > 1;
  const here = standing(state);
  const ways = taken(state.lab?.ways ?? [], here).filter((way) => viewsOn(state.views, way).length === way.length);
  const visit = (way: Way): Node[] => {
    const view = viewsOn(state.views, way).at(-1);
    if (!view) return [];
    const crumb = crumbs(state, way).at(-1)?.text;
    const pair = several ? `${pairText(state.lab, view.pair)} · ` : "";
    const own = crumb === view.crumb ? view.title : crumb; // a name that only repeats the cell tells too little
    const text = way.length === 1 ? `${pair}${settingText(view)}` : (own ?? view.crumb);
    const under = ways.filter((one) => one.length === way.length + 1 && samePlace(one.slice(0, -1), way));
    return [{ way, view, here: samePlace(way, here), text }, ...under.flatMap(visit)];
  };
  return ways.filter((way) => way.length === 1).flatMap(visit);
}

const signs: Partial<Record<View["status"], string>> = {
  cancelled: "stopped",
  failed: "failed",
  running: "…",
  queued: "…",
};

function treeItem({ way, view, here, text }: Node, state: LabState, ui: UiState, theme: Theme | null): HTMLElement {
  const canvas = h("canvas", { width: 32, height: 20, "aria-hidden": "true" });
  const hidden = view.kind === "grid" && isHidden(state, ui, view);
  if (theme && !hidden) paintThumbnail(canvas, view, theme);
  const above = state.views.get(way.at(-2)?.view ?? "");
  const other = (["metric", "direction"] as const).filter((name) => above && above[name] !== view[name]);
  const notes = [
    ...other.map((name) => view[name]),
    signs[view.status],
    view.id === state.lab?.pinned ? "pinned" : "",
  ].filter(Boolean);
  return h(
    "li",
    {
      role: "treeitem",
      "data-view": view.id,
      "aria-level": way.length,
      "aria-selected": String(here),
      title: `${view.title}, ${settingText(view)}`,
      style: `--depth:${way.length - 1}`,
    },
    canvas,
    h("bdi", "pw-tree-text", text),
    h("span", "pw-muted", notes.join(" · ")),
  );
}
