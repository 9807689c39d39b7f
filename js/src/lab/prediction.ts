/** Predict first: how a marked cell compares with all cells once they are shown.  Pure. */

/** Rank of a cell by size of effect, 1 the strongest, and the strongest cell; null where the cell has no number. */
export function judge(effect: Float32Array, marked: number): { rank: number; of: number; best: number } | null {
  const mine = Math.abs(effect[marked] as number);
  if (Number.isNaN(mine)) return null;
  let [rank, of, best, most] = [1, 0, marked, mine];
  effect.forEach((value, index) => {
    const size = Math.abs(value);
    if (Number.isNaN(size)) return;
    of += 1;
    if (size > mine) rank += 1;
    if (size > most) [best, most] = [index, size];
  });
  return { rank, of, best };
}
