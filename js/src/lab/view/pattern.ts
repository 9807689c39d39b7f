/** The whole pattern of a head: each token's attention to each, in one of the runs. */
import { h, toggle } from "../../dom/dom";
import { remember } from "../../dom/memo";
import { createSegments } from "../../dom/segments";
import { Grid } from "../../grid/grid";
import type { AttentionView } from "../messages";
import { patternOf } from "../sheets";
import type { Deps } from "./context";

type Run = "clean" | "corrupted";

export function createPattern(deps: Deps, leave: () => boolean, signal: AbortSignal) {
  let run: Run = "clean";
  let view: AttentionView | null = null;
  const sheet = remember(patternOf);
  const grid = new Grid(
    {
      name: "pattern",
      maxCellWidth: 24,
      onOpen: () => {},
      onSelect: () => {},
      onLeave: leave,
      onHover: deps.hover,
    },
    signal,
  );
  const runs = createSegments<Run>(
    "run",
    [
      { name: "clean", text: "clean" },
      { name: "corrupted", text: "corrupted" },
    ],
    (chosen) => {
      run = chosen;
      draw();
    },
    signal,
  );
  const title = h("span");
  const element = h(
    "section",
    { label: "attention pattern" },
    h("h4", "pw-heading", title, runs.element),
    grid.element,
  );

  function draw(): void {
    if (!view) return;
    title.textContent = `Pattern of head ${view.layer}.${view.head}`;
    runs.show(run);
    grid.show({
      sheet: sheet(view, run),
      limit: 1,
      chosen: null,
      selected: new Set(),
      visited: new Set(),
      ring: null,
      strongCols: [],
      strongRow: null,
      ranked: false,
      stage: view.status,
      opens: false,
    });
  }

  return {
    element,
    show(attention: AttentionView | null): void {
      view = attention?.pos === null ? attention : null;
      toggle(element, view !== null);
      draw();
    },
  };
}
