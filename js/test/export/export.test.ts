import { describe, expect, it } from "vitest";
import { toCsv } from "../../src/export/csv";
import { toSvg } from "../../src/export/svg";
import { darkStops, makeScale } from "../../src/grid/colour-scale";
import type { GridView } from "../../src/lab/messages";
import { sheetOf } from "../../src/lab/sheets";
import { mainGrid, opened } from "../fixtures";

describe("CSV", () => {
  const csv = toCsv({
    rows: { axis: "layer", labels: ["0", "1"] },
    cols: { axis: "pos", labels: ['"Hi,"', " to\n"] },
    metric: "logit difference",
    values: Float32Array.from([1.5, Number.NaN, 0.1, -2]),
    recovery: Float32Array.from([0.25, Number.NaN, Number.POSITIVE_INFINITY, 0]),
    states: ["exact", "not measurable", "exact", "estimate"],
    significant: null,
  });
  const lines = csv.split("\r\n");

  it("has a line for each cell under a header", () => {
    expect(lines[0]).toBe("layer,layer_label,pos,pos_label,logit difference,recovery,state");
    expect(lines).toHaveLength(5);
  });

  it("quotes what needs it, and leaves unknown numbers empty", () => {
    expect(lines[1]).toBe('0,0,0,"""Hi,""",1.5,0.25,exact');
    expect(lines[2]).toBe('0,0,1," to\n",,,not measurable');
    expect(lines[3]).toBe('1,1,0,"""Hi,""",0.1,inf,exact');
  });
});

describe("CSV of texts that a spreadsheet would take for formulas", () => {
  const labels = ["=1+1", "+", "-", "@SUM(A1)", "\tx", "\r", "\n", "'", " =2", "'=3", "a"];
  const axis = (name: string, labels: string[]) => ({ axis: name, labels });
  const values = new Float32Array(labels.length).fill(-1);
  const csv = toCsv({
    rows: axis("layer", ["0"]),
    cols: axis("pos", labels),
    metric: "=metric",
    values,
    recovery: values,
    states: labels.map(() => "exact"),
    significant: null,
  });
  const fields = fieldsOf(csv);

  it("begins none with what begins a formula, and leaves numbers as they are", () => {
    for (const line of fields) for (const text of line) if (text !== "-1") expect(text).not.toMatch(/^[=+\-@\t\r\n]/);
    expect(fields[1]?.slice(4, 6)).toEqual(["-1", "-1"]);
  });

  it("is read back by taking one apostrophe away", () => {
    expect(fields.slice(1).map((line) => line[3]?.replace(/^'/, ""))).toEqual(labels);
  });
});

/** Reads RFC 4180. */
function fieldsOf(csv: string): string[][] {
  const lines: string[][] = [[]];
  for (const [, text = "", end] of csv.matchAll(/("(?:[^"]|"")*"|[^",\r\n]*)(,|\r\n|$)/g)) {
    lines.at(-1)?.push(text.startsWith('"') ? text.slice(1, -1).replaceAll('""', '"') : text);
    if (end === "\r\n") lines.push([]);
    if (end === "") break;
  }
  return lines;
}

it("CSV tells what is significant", () => {
  const axis = (name: string) => ({ axis: name, labels: ["0"] });
  const one = Float32Array.of(1);
  const given = { values: one, recovery: one, states: ["exact"], significant: Uint8Array.of(1) };
  const lines = toCsv({ rows: axis("layer"), cols: axis("head"), metric: "m", ...given }).split("\r\n");
  expect(lines).toEqual(["layer,layer_label,head,head_label,m,recovery,state,significant", "0,0,0,0,1,1,exact,1"]);
});

describe("SVG", () => {
  const theme = { scale: makeScale(darkStops), background: "#111", foreground: "#eee", muted: "#888" };
  const view = mainGrid({ title: "Recovery <by> layer & token" });
  const sheet = sheetOf(view, "logit difference");
  const draw = () => toSvg({ sheet, title: view.title, caption: "resid_pre", limit: 1, middle: 0, theme });
  const parse = (svg: string) => new DOMParser().parseFromString(svg, "image/svg+xml");

  it("is well formed, whatever the texts", () => {
    const document = parse(draw());
    expect(document.querySelector("parsererror")).toBeNull();
    expect(document.querySelector("title")?.textContent).toBe("Recovery <by> layer & token");
  });

  it("has every cell, label and the ends of the scale", () => {
    const texts = [...parse(draw()).querySelectorAll("text")].map((text) => text.textContent);
    expect(texts).toEqual(expect.arrayContaining(["0", "A", "·John", "·to", "≤ −1", "≥ 1", "resid_pre"]));
    expect((draw().match(/<rect/g) ?? []).length).toBeGreaterThanOrEqual(6);
  });

  it("outlines what is significant, and says what that means", () => {
    const mean = sheetOf(opened("result_mean") as GridView, "logit difference");
    const svg = toSvg({ sheet: mean, title: "", caption: "", limit: 1, middle: 0, theme });
    const lines = [...parse(svg).querySelectorAll("path[stroke-width='1.5']")].map((path) => path.getAttribute("d"));
    expect(lines).toHaveLength(1);
    expect(lines[0]?.match(/M/g)).toHaveLength(8);
    expect(svg).toContain("outlined: significant at 0.05");
  });

  it("of a list has its strongest, one under the other", () => {
    const recovery = Float32Array.from({ length: 300 }, (_, i) => (i === 77 ? -0.9 : i / 1000));
    const axes = {
      rows: { axis: "layer", size: 1, labels: null, values: [3] },
      cols: { axis: "neuron", size: 300, labels: null, values: null },
    };
    const cells = { recovery, values: recovery, state: new Uint8Array(300).fill(1) };
    const list = sheetOf(mainGrid({ ...axes, cells }), "logit difference");
    const svg = toSvg({ sheet: list, title: "Neurons", caption: "", limit: 1, middle: 0, theme });
    const texts = [...parse(svg).querySelectorAll("text")].map((text) => text.textContent);
    expect(texts.slice(1, 3)).toEqual(["neuron 77: −0.900", "neuron 299: 0.299"]);
    expect((svg.match(/<rect/g) ?? []).length).toBeLessThan(50);
  });

  it("asks for nothing from elsewhere", () => {
    expect(draw().replace("http://www.w3.org/2000/svg", "")).not.toMatch(/https?:|url\((?!#)/);
  });
});
