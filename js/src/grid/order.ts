/** Which row lies on which line. */

export interface Order {
  readonly count: number;
  rowAt(line: number): number;
  lineOf(row: number): number;
}

/** Row 0 at the top. */
export function downwards(count: number): Order {
  return { count, rowAt: (line) => line, lineOf: (row) => row };
}

/** Row 0 at the bottom, as layers are. */
export function upwards(count: number): Order {
  const swap = (n: number) => count - 1 - n;
  return { count, rowAt: swap, lineOf: swap };
}

/** The strongest first; what has no number comes last, and ties stay in order. */
export function byStrength(effect: Float32Array): Order {
  const strength = Float32Array.from(effect, (value) => (Number.isNaN(value) ? -1 : Math.abs(value)));
  const rows = Uint32Array.from(strength, (_, row) => row).sort(
    (a, b) => (strength[b] as number) - (strength[a] as number) || a - b,
  );
  const lines = new Uint32Array(rows.length);
  rows.forEach((row, line) => {
    lines[row] = line;
  });
  return { count: rows.length, rowAt: (line) => rows[line] as number, lineOf: (row) => lines[row] as number };
}
