/** What measuring the prompts that are being typed would take: cells, and time as far as the pace has been seen. */
import { isTokens } from "../grid/sheet";
import type { GridView } from "./messages";
import { shown } from "./navigation";
import type { LabState } from "./state";

/** Seconds for a cell of one site in prompts of so many tokens. */
interface Pace {
  site: string;
  seconds: number;
  tokens: number;
}

/** A function that tells the cost, from all the states it has been shown: "30,000 cells, about 4 min"; "" while nothing is typed. */
export function createCost(): (state: LabState) => string {
  let pace: Pace | null = null;
  return (state) => {
    const { main } = shown(state);
    pace = (main && paceOf(main, state.pair?.corrupted.length ?? 0)) ?? pace;
    const { preview } = state;
    if (!main || !preview || preview.problems.length > 0) return "";
    const tokens = preview[main.direction === "noise" ? "clean" : "corrupted"].length;
    const cells = main.rows.size * (isTokens(main.cols.axis) ? tokens : main.cols.size);
    if (tokens === 0 || cells === 0) return "";
    const told = `${cells.toLocaleString("en-US")} cells`;
    if (pace?.site !== main.site) return told;
    // a cell's run is as long as its prompt
    return `${told}, about ${roughly(cells * pace.seconds * (tokens / pace.tokens))}`;
  };
}

function paceOf({ site, status, done, total, seconds_left }: GridView, tokens: number): Pace | null {
  if (status !== "running" || !seconds_left || done >= total || tokens === 0) return null;
  return { site, seconds: seconds_left / (total - done), tokens };
}

/** Seconds in words, no finer than such a guess can be. */
function roughly(seconds: number): string {
  const units = [
    [3600, "h"],
    [60, "min"],
  ] as const;
  const [size, name] = units.find(([size]) => seconds >= 2 * size) ?? [1, "s"];
  return `${Math.max(1, Math.round(seconds / size))} ${name}`;
}
