/** What a grid draws: effects in rows and columns, and what is known of each.  Knows nothing of where they come from. */

/** How a cell is drawn and told. */
export const KINDS = ["pending", "exact", "estimate", "quiet", "unmeasurable", "infinite", "hidden"] as const;
export type Kind = (typeof KINDS)[number];

export interface Axis {
  readonly axis: string;
  readonly size: number;
  label(index: number): string;
}

export interface Sheet {
  /** Sheets of one id are stages of one grid: the cursor stays where it is. */
  readonly id: string;
  readonly title: string;
  readonly rows: Axis;
  readonly cols: Axis;
  /** Flat, rows x cols in C order; 0 is no effect, NaN is not known. */
  readonly effect: Float32Array;
  /** Index in `KINDS` of each cell. */
  readonly kinds: Uint8Array;
  /** The cells that are outlined; and in words what an outline means, or why there is none. */
  readonly significant: Uint8Array | null;
  readonly outlined: string;
  /** A cell in one line, for reading aloud. */
  spoken(index: number): string;
  /** A cell at a glance. */
  tip(index: number): Tip;
}

export interface Tip {
  place: string;
  numbers: [name: string, value: string][];
  kind: Kind;
  /** What is known besides the numbers. */
  note: string;
}

export function kindAt(sheet: Pick<Sheet, "kinds">, index: number): Kind {
  return KINDS[sheet.kinds[index] ?? 0] as Kind;
}

export function codeOf(kind: Kind): number {
  return KINDS.indexOf(kind);
}

/** Tokens, or the roles that they play. */
export function isTokens(axis: string): boolean {
  return axis.endsWith("pos") || axis === "role";
}

/** One line of cells is drawn as a list. */
export function isList({ rows, cols }: Pick<Sheet, "rows" | "cols">): boolean {
  return (rows.size === 1) !== (cols.size === 1) && !isTokens(rows.axis) && !isTokens(cols.axis);
}

/** The axis along which a list runs. */
export function listAxis({ rows, cols }: Pick<Sheet, "rows" | "cols">): Axis {
  return rows.size === 1 ? cols : rows;
}

/** How many cells there are of each kind. */
export function countKinds({ kinds }: Pick<Sheet, "kinds">): Record<Kind, number> {
  const counts = Object.fromEntries(KINDS.map((kind) => [kind, 0])) as Record<Kind, number>;
  for (const code of kinds) counts[KINDS[code] as Kind] += 1;
  return counts;
}
