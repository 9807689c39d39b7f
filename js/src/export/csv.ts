/** A grid as CSV: one line for each cell. */

export interface CsvGrid {
  rows: { axis: string; labels: readonly string[] };
  cols: { axis: string; labels: readonly string[] };
  metric: string;
  values: Float32Array;
  recovery: Float32Array;
  states: readonly string[];
  significant: Uint8Array | null;
}

/** Axis, index and label of row and column, the metric, the recovery, how the cell is known, and whether it is significant
 *  (1 or 0), where that was tested.  RFC 4180.
 *
 *  A label that a spreadsheet would take for a formula has an apostrophe in front, and so has one that begins with an
 *  apostrophe: a reader takes the first apostrophe of a label away. */
export function toCsv({ rows, cols, metric, values, recovery, states, significant }: CsvGrid): string {
  const header = [
    rows.axis,
    `${rows.axis}_label`,
    cols.axis,
    `${cols.axis}_label`,
    asText(metric),
    "recovery",
    "state",
  ];
  if (significant) header.push("significant");
  const lines = rows.labels.flatMap((rowLabel, row) =>
    cols.labels.map((colLabel, col) => {
      const i = row * cols.labels.length + col;
      const told = [
        row,
        asText(rowLabel),
        col,
        asText(colLabel),
        number(values[i]),
        number(recovery[i]),
        states[i] ?? "",
      ];
      return significant ? [...told, significant[i] as number] : told;
    }),
  );
  return [header, ...lines].map((line) => line.map(field).join(",")).join("\r\n");
}

function number(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return "";
  return Number.isFinite(value) ? String(Number(value.toPrecision(7))) : value > 0 ? "inf" : "-inf";
}

function asText(label: string): string {
  return /^[=+\-@\t\r\n']/.test(label) ? `'${label}` : label;
}

function field(value: string | number): string {
  const text = String(value);
  return /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
