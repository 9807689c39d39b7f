/** Grids as sheets to be drawn: as they are, as the difference of two, and with their values hidden. */
import { type Axis, codeOf, isTokens, type Kind, kindAt, type Sheet } from "../grid/sheet";
import { compact, fixed, signed } from "../text/format";
import { visible } from "../text/tokens";
import { cellOf } from "./cells";
import type { WireAxis } from "./message-schema";
import type { AttentionView, GridView } from "./messages";

/** The recovery of the run that was patched, before it is. */
export function unpatched(direction: string): number {
  return direction === "noise" ? 1 : 0;
}

const known: Record<number, Kind> = { 1: "exact", 2: "estimate" };

/** The kind of a cell.  "quiet" is an exact value whose effect is within the noise floor. */
export function kindOf(state: number, recovery: number, effect: number, noiseFloor: number | null): Kind {
  if (state === 0) return "pending";
  const kind = known[state];
  if (!kind || Number.isNaN(recovery)) return "unmeasurable";
  if (!Number.isFinite(recovery)) return "infinite";
  return kind === "exact" && Math.abs(effect) <= (noiseFloor ?? 0) ? "quiet" : kind;
}

export function sheetOf(view: GridView, metric: string): Sheet {
  const { cells, noise_floor } = view;
  const size = view.rows.size * view.cols.size;
  const middle = unpatched(view.direction);
  const effect = cells ? cells.recovery.map((recovery) => recovery - middle) : new Float32Array(size).fill(Number.NaN);
  const kinds = new Uint8Array(size);
  if (cells) {
    for (let i = 0; i < size; i++) {
      const kind = kindOf(cells.state[i] as number, cells.recovery[i] as number, effect[i] as number, noise_floor);
      kinds[i] = codeOf(kind);
    }
  }
  const numbers = (index: number): [string, string, string][] => {
    if (!cells || cells.state[index] === 0) return [];
    const [recovery, value] = [cells.recovery[index] as number, cells.values[index] as number];
    return [
      ["recovery", compact(recovery, 3), fixed(recovery, 2)],
      [metric, compact(value, 3), fixed(value, 2)],
    ];
  };
  const sheet = made(view, view.title, effect, kinds, numbers, (kind) => noteOf(view, kind), view.significant);
  return { ...sheet, outlined: view.outlined };
}

/** What is compared of two grids: recovery, or, where one denoises and the other noises, how much the patch did in each. */
export function comparedBy(view: GridView, other: GridView): "recovery" | "effect" {
  return view.direction === other.direction ? "recovery" : "effect";
}

/** What `view` has more than `other`, cell by cell.  Both have the same axes. */
export function differenceOf(view: GridView, other: GridView): Sheet {
  const [mine, theirs] = [sheetOf(view, ""), sheetOf(other, "")];
  const by = comparedBy(view, other);
  const at = (grid: GridView, index: number) => {
    const recovery = grid.cells?.recovery[index] ?? Number.NaN;
    return by === "effect" && grid.direction === "noise" ? 1 - recovery : recovery;
  };
  const effect = mine.effect.map((_, i) => at(view, i) - at(other, i));
  const floor = Math.max(view.noise_floor ?? 0, other.noise_floor ?? 0);
  const kinds = mine.kinds.map((_, i) => {
    const both = [kindAt(mine, i), kindAt(theirs, i)];
    const unknown = (["pending", "unmeasurable", "infinite"] as const).find((kind) => both.includes(kind));
    if (unknown) return codeOf(unknown);
    if (both.includes("estimate")) return codeOf("estimate");
    return codeOf(Math.abs(effect[i] as number) <= floor ? "quiet" : "exact");
  });
  const numbers = (index: number): [string, string, string][] => {
    const difference = effect[index] as number;
    if (Number.isNaN(difference)) return [];
    return [
      ["difference", signed(difference, 3), signed(difference, 2)],
      ["this", compact(at(view, index), 3), fixed(at(view, index), 2)],
      ["pinned", compact(at(other, index), 3), fixed(at(other, index), 2)],
    ];
  };
  return made(view, `${view.title}: difference`, effect, kinds, numbers, (kind) => noteOf(view, kind));
}

/** The same places, and no values: to be predicted first. */
export function hiddenSheet(sheet: Sheet): Sheet {
  const kinds = new Uint8Array(sheet.kinds.length).fill(codeOf("hidden"));
  const effect = new Float32Array(sheet.effect.length).fill(Number.NaN);
  const tip = (index: number) => ({
    place: sheet.tip(index).place,
    numbers: [],
    kind: "hidden" as const,
    note: "click to predict",
  });
  const spoken = (index: number) => `${tip(index).place}, hidden, Enter to predict`;
  return { ...sheet, effect, kinds, significant: null, outlined: "", tip, spoken };
}

/** The pattern of a head: the attention of each token to each, in one of the runs. */
export function patternOf(view: AttentionView, run: "clean" | "corrupted"): Sheet {
  const tokens = run === "clean" ? (view.tokens_clean ?? view.tokens) : view.tokens;
  const attention = view[run] ?? new Float32Array(tokens.length ** 2).fill(Number.NaN);
  const axis = (name: string): WireAxis => ({ axis: name, size: tokens.length, labels: tokens, values: null });
  const shape = { id: `${view.id} ${run}`, rows: axis("dest_pos"), cols: axis("src_pos") };
  // what lies above the diagonal can't be attended to
  const kinds = attention.map((p) => codeOf(Number.isNaN(p) ? "pending" : p === 0 ? "quiet" : "exact"));
  const numbers = (index: number): [string, string, string][] => {
    const p = attention[index] as number;
    return Number.isNaN(p) ? [] : [["attention", fixed(p, 3), fixed(p, 2)]];
  };
  return made(shape, `${view.title}, ${run}`, attention, Uint8Array.from(kinds), numbers, () => "");
}

function made(
  view: Pick<GridView, "id" | "rows" | "cols">,
  title: string,
  effect: Float32Array,
  kinds: Uint8Array,
  numbers: (index: number) => [name: string, seen: string, spoken: string][],
  stateOf: (kind: Kind) => string,
  significant: Uint8Array | null = null,
): Sheet {
  const [rows, cols] = [axisOf(view.rows), axisOf(view.cols)];
  const sheet = { id: view.id, title, rows, cols, effect, kinds, significant, outlined: "" };
  const note = (index: number) =>
    [significant?.[index] && "significant", stateOf(kindAt(sheet, index))].filter(Boolean).join(", ");
  return {
    ...sheet,
    spoken(index) {
      const words = numbers(index).map(([name, , spoken]) => `${name} ${spoken}`);
      return [spokenPlace(sheet, cellOf(view, index)), ...words, note(index)].filter(Boolean).join(", ");
    },
    tip(index) {
      return {
        place: shortPlace(sheet, cellOf(view, index)),
        numbers: numbers(index).map(([name, seen]) => [name, seen]),
        kind: kindAt(sheet, index),
        note: note(index),
      };
    },
  };
}

export function axisOf({ axis, size, labels, values }: WireAxis): Axis {
  return { axis, size, label: (index) => labels?.[index] ?? String(values?.[index] ?? index) };
}

/** What is known of a cell besides its numbers; empty for an ordinary exact value. */
function noteOf(view: GridView, kind: Kind): string {
  switch (kind) {
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
    default:
      return "";
  }
}

type Places = Pick<Sheet, "rows" | "cols">;

/** "layer 7, token ' Paris' (3)", "layer 7, head 4": where a cell is, for reading aloud. */
function spokenPlace({ rows, cols }: Places, { row, col }: { row: number; col: number }): string {
  const on = (axis: Axis, index: number) => {
    if (isNamed(axis, index)) return `${tokenName(axis.axis)} '${axis.label(index)}' (${index})`;
    return `${axisName(axis.axis)} ${axis.label(index)}`;
  };
  return [on(rows, row), on(cols, col)].join(", ");
}

/** "layer 7 at ·Paris (3)", "head 7.4": where a cell is, for reading at a glance. */
export function shortPlace({ rows, cols }: Places, { row, col }: { row: number; col: number }): string {
  const on = (axis: Axis, index: number) => {
    const label = axis.label(index);
    if (isNamed(axis, index)) return `${arrows[axis.axis] ?? ""}${visible(label)} (${index})`;
    return axis.axis === "site" || axis.axis === "sender" ? label : `${axisName(axis.axis)} ${label}`;
  };
  if (rows.axis === "layer" && cols.axis === "head") return `head ${rows.label(row)}.${cols.label(col)}`;
  const [from, to] = [on(rows, row), on(cols, col)];
  if (cols.axis === "src_pos") return `${from} ${to}`;
  return isTokens(cols.axis) ? `${from} at ${to}` : `${from}, ${to}`;
}

/** A position with one token, the same in all prompts. */
function isNamed({ axis, label }: Axis, index: number): boolean {
  return isTokens(axis) && axis !== "role" && label(index) !== `[${index}]`;
}

const arrows: Record<string, string> = { dest_pos: "from ", src_pos: "to " };

function tokenName(axis: string): string {
  return { dest_pos: "from token", src_pos: "to token" }[axis] ?? "token";
}

/** "kv_head" -> "key-value head" */
export function axisName(axis: string): string {
  return { kv_head: "key-value head", site: "part", pos: "position" }[axis] ?? axis;
}
