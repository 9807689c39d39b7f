/** Which tokens of a text are not those of another.  Pure. */

/** Fewer tokens in a row than this are in common by chance: every text has its "the". */
const LEAST_RUN = 3;

/** For each token of `mine`, whether it is outside of what both have in common: their beginning, and longer runs after it. */
export function changedTokens(other: readonly string[], mine: readonly string[]): boolean[] {
  const changed = outsideOfCommon(other, mine);
  const start = changed.indexOf(true);
  let run = 0;
  for (let i = Math.max(0, start); i <= changed.length; i++) {
    if (changed[i] === false) run += 1;
    else {
      if (run < LEAST_RUN && i < changed.length) changed.fill(true, i - run, i);
      run = 0;
    }
  }
  return changed;
}

/** Outside of the longest sequence that both have in common. */
function outsideOfCommon(other: readonly string[], mine: readonly string[]): boolean[] {
  let start = 0;
  while (start < mine.length && start < other.length && mine[start] === other[start]) start += 1;
  const [a, b] = [other.slice(start), mine.slice(start)];
  const width = b.length + 1;
  // common[i * width + j]: the longest common sequence of a from i on and b from j on
  const common = new Uint16Array((a.length + 1) * width);
  const length = (i: number, j: number) => common[i * width + j] as number;
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i * width + j] = a[i] === b[j] ? 1 + length(i + 1, j + 1) : Math.max(length(i + 1, j), length(i, j + 1));
    }
  }
  const changed = new Array<boolean>(mine.length).fill(false);
  let [i, j] = [0, 0];
  while (j < b.length) {
    if (i < a.length && a[i] === b[j]) [i, j] = [i + 1, j + 1];
    else if (i < a.length && length(i + 1, j) >= length(i, j + 1)) i += 1;
    else {
      changed[start + j] = true;
      j += 1;
    }
  }
  return changed;
}
