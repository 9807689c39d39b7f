/** What a cell is, in kinds that are drawn differently and in words. */
import { compact, fixed, metricName } from "../format";
import type { GridView } from "../protocol";
import { visible } from "../tokens";

export type Kind = "pending" | "exact" | "estimate" | "quiet" | "unmeasurable" | "infinite";
export type Cell = { row: number; col: number };

const states: Record<number, Kind> = { 0: "pending", 1: "exact", 2: "estimate" };

/** How far a cell lies from the run that was patched, towards clean: the recovery, or what it lacks to 1 when the clean
 *  run was patched.  So 0 is no effect in both directions. */
export function effectOf(view: Pick<GridView, "recovery" | "direction">, index: number): number {
  return (view.recovery[index] as number) - unpatched(view);
}

/** The recovery of the run that was patched, before it is. */
export function unpatched({ direction }: Pick<GridView, "direction">): number {
  return direction === "noise" ? 1 : 0;
}

/** The kind of the cell at a flat index.  "quiet" is an exact value whose effect is within the noise floor. */
export function kindOf(view: Pick<GridView, "state" | "recovery" | "noise_floor" | "direction">, index: number): Kind {
  const state = states[view.state[index] as number] ?? "unmeasurable";
  if (state === "pending" || state === "unmeasurable") return state;
  const recovery = view.recovery[index] as number;
  if (Number.isNaN(recovery)) return "unmeasurable";
  if (!Number.isFinite(recovery)) return "infinite";
  return state === "exact" && Math.abs(effectOf(view, index)) <= (view.noise_floor ?? 0) ? "quiet" : state;
}

export function sameCell(a: Cell | null, b: Cell | null): boolean {
  return a?.row === b?.row && a?.col === b?.col;
}

export function flatIndex(view: GridView, cell: Cell): number {
  return cell.row * view.cols.labels.length + cell.col;
}

/** "layer 7, token ' Paris' (3)", "layer 7, head 4": where a cell is, for reading aloud. */
export function place(view: GridView, cell: Cell): string {
  return [placeOn(view.rows, cell.row), placeOn(view.cols, cell.col)].join(", ");
}

function placeOn(axis: GridView["rows"], index: number): string {
  const label = axis.labels[index] ?? "";
  return isTokens(axis.axis) ? `token '${label}' (${index})` : `${axis.axis} ${label}`;
}

/** "layer 7 · ·Paris (3)", "head 7.4": where a cell is, for reading at a glance. */
export function shortPlace(view: GridView, cell: Cell): string {
  const [row, col] = [view.rows.labels[cell.row] ?? "", view.cols.labels[cell.col] ?? ""];
  if (view.rows.axis === "layer" && view.cols.axis === "head") return `head ${row}.${col}`;
  return `${axisText(view.rows.axis, row, cell.row)} · ${axisText(view.cols.axis, col, cell.col)}`;
}

function axisText(axis: string, label: string, index: number): string {
  return isTokens(axis) ? `${visible(label)} (${index})` : `${axis} ${label}`;
}

export function isTokens(axis: string): boolean {
  return axis === "pos" || axis.endsWith("_pos");
}

/** What is known of a cell besides its numbers; empty for an ordinary exact value. */
export function stateInWords(view: GridView, index: number): string {
  switch (kindOf(view, index)) {
    case "pending":
      return view.status === "running" || view.status === "queued" ? "not measured yet" : "not measured";
    case "estimate":
      return "estimate";
    case "quiet":
      return "no effect above the noise floor";
    case "unmeasurable":
      return view.reason ?? "not measurable";
    case "infinite":
      return "infinite";
    case "exact":
      return "exact";
  }
}

/** The whole cell in one line for a screen reader. */
export function spoken(view: GridView, cell: Cell): string {
  const index = flatIndex(view, cell);
  const kind = kindOf(view, index);
  const parts = [place(view, cell)];
  if (kind === "pending") return [...parts, stateInWords(view, index)].join(", ");
  if (kind !== "unmeasurable") parts.push(`recovery ${fixed(view.recovery[index] as number, 2)}`);
  parts.push(`${metricName(view.metric)} ${fixed(view.values[index] as number, 2)}`);
  if (kind !== "exact") parts.push(stateInWords(view, index));
  return parts.join(", ");
}

/** Name and value of a cell's numbers, for the tooltip; empty while it is pending. */
export function numbers(view: GridView, cell: Cell): [name: string, value: string][] {
  const index = flatIndex(view, cell);
  if (kindOf(view, index) === "pending") return [];
  return [
    ["recovery", compact(view.recovery[index] as number, 3)],
    [metricName(view.metric), compact(view.values[index] as number, 3)],
  ];
}
