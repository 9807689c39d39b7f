/** A grid's cells: the steps that lead on from one, and the patch that one stands for. */
import type { Question } from "../transport/messages";
import type { Patch, Step, WireAxis } from "./message-schema";
import type { GridView, View } from "./messages";

/** The value of an axis at an index: a number, or a name. */
export function valueOn({ values }: WireAxis, index: number): string | number {
  return values?.[index] ?? index;
}

/** The index of a value on an axis; null where it is not there. */
export function indexOn(axis: WireAxis, value: string | number): number | null {
  const index = axis.values ? axis.values.indexOf(value) : Number(value);
  return Number.isInteger(index) && index >= 0 && index < axis.size ? index : null;
}

export function cellOf({ cols }: { cols: { size: number } }, index: number): { row: number; col: number } {
  return { row: Math.floor(index / cols.size), col: index % cols.size };
}

/** The flat index of a cell; null where it is not wholly given. */
export function flatIndex({ cols }: Pick<GridView, "cols">, cell: { row: number | null; col: number | null } | null) {
  return cell?.row == null || cell.col === null ? null : cell.row * cols.size + cell.col;
}

/** Value of each axis at a cell. */
export function coordinates(view: GridView, index: number): Record<string, string | number> {
  const { row, col } = cellOf(view, index);
  return { [view.rows.axis]: valueOn(view.rows, row), [view.cols.axis]: valueOn(view.cols, col) };
}

// ---- steps

/** What may be asked at a cell; of a view without cells the index is null. */
export function stepsAt(view: View, index: number | null): Step[] {
  if (view.kind === "grid" && index === null) return [];
  const at = view.kind === "grid" && index !== null ? coordinates(view, index) : {};
  return view.steps.filter(({ only }) =>
    Object.entries(only ?? {}).every(([axis, values]) => at[axis] === undefined || values.includes(at[axis])),
  );
}

/** What Enter and a click ask. */
export function defaultStep(view: View, index: number | null): Step | null {
  return stepsAt(view, index).find((step) => step.reason === null) ?? null;
}

/** The question of a step at a cell, without `parent`. */
export function questionOf(view: View, index: number | null, { method, params, takes }: Step): Question {
  const at = view.kind === "grid" && index !== null ? coordinates(view, index) : {};
  const taken = Object.entries(takes).map(([parameter, axis]) => [parameter, at[axis]]);
  return { method, params: { ...params, ...Object.fromEntries(taken) } };
}

// ---- patches

export const inPatch = (axis: string) => ({ kv_head: "head", dest_pos: "pos" })[axis] ?? axis;

/** The patch of a cell; null in grids whose cells are not patches of one activation. */
export function patchOf(view: GridView, index: number): Patch | null {
  if (!view.patch) return null;
  const at = Object.entries(coordinates(view, index)).map(([axis, value]) => [inPatch(axis), value]);
  return { ...view.patch, ...Object.fromEntries(at) };
}

/** The cell of a grid that a patch is, as a flat index; null where it is none of them. */
export function indexOfPatch(view: GridView, patch: Patch): number | null {
  if (!view.patch) return null;
  const rest = { ...patch } as Record<string, string | number>;
  const take = (name: string) => {
    const value = rest[name];
    delete rest[name];
    return value;
  };
  const at = [view.rows, view.cols].map((axis) => {
    const value = take(inPatch(axis.axis));
    return value === undefined ? null : indexOn(axis, value);
  });
  const fixed = Object.entries(view.patch).filter(
    ([name]) => ![view.rows, view.cols].some((a) => inPatch(a.axis) === name),
  );
  if (!fixed.every(([name, value]) => take(name) === value)) return null;
  const [row, col] = at as [number | null, number | null];
  return row === null || col === null || Object.keys(rest).length > 0 ? null : row * view.cols.size + col;
}

export function selectedIn(view: GridView, patches: readonly Patch[]): Set<number> {
  const found = patches.map((patch) => indexOfPatch(view, patch));
  return new Set(found.filter((index) => index !== null));
}
