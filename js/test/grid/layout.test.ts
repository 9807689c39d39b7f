import { describe, expect, it } from "vitest";
import { labelledCols } from "../../src/grid/labels";
import {
  between,
  boxOf,
  EDGE,
  type GridSize,
  indexAt,
  inSight,
  layoutGrid,
  MIN_CELL_WIDTH,
  nearestPlace,
  openingAt,
  placeAt,
  placeOf,
  scrollTo,
} from "../../src/grid/layout";
import { byStrength, downwards, upwards } from "../../src/grid/order";

const size: GridSize = {
  form: "grid",
  cols: 14,
  order: upwards(30),
  width: 500,
  gutter: 34,
  labelHeight: 50,
  maxCellWidth: 44,
};
const layout = layoutGrid(size);
const still = { x: 0, y: 0 };

describe("the layout", () => {
  it.each([
    [2, 3, 480],
    [30, 14, 500],
    [80, 64, 700],
    [48, 512, 480],
    [512, 512, 900],
    [1, 1, 1600],
    [12, 40, 0],
  ])("of %i x %i cells in %i px keeps cells usable and the height bounded", (rows, cols, width) => {
    const one = layoutGrid({ ...size, order: upwards(rows), cols, width });
    expect(one.cellWidth).toBeGreaterThanOrEqual(MIN_CELL_WIDTH);
    expect(one.cellWidth).toBeLessThanOrEqual(size.maxCellWidth);
    expect(one.cellHeight).toBeGreaterThanOrEqual(6);
    expect(one.sightWidth).toBeLessThanOrEqual(Math.max(0, width - size.gutter));
    expect(one.sightHeight).toBeLessThanOrEqual(560);
    expect(one.contentWidth).toBe(cols * one.cellWidth);
    expect([one.cellWidth, one.cellHeight].every(Number.isInteger)).toBe(true);
  });

  it("of a list has one column, as wide as the room, and whole lines in sight", () => {
    const list = layoutGrid({ ...size, form: "list", cols: 1, order: downwards(16384) });
    expect(list.cellWidth).toBe(500 - 34 - EDGE);
    expect(list.contentHeight).toBe(16384 * list.cellHeight);
    expect(list.sightHeight % list.cellHeight).toBe(0);
  });

  it("has layer 0 at the bottom", () => {
    expect(placeOf(layout, 0)).toEqual({ line: 29, col: 0 });
    expect(indexAt(layout, { line: 0, col: 3 })).toBe(29 * 14 + 3);
    expect(indexAt({ ...layout, order: downwards(30) }, { line: 0, col: 3 })).toBe(3);
  });
});

describe("the order of a list", () => {
  it("is by size of effect, ties in order, the unknown last", () => {
    const order = byStrength(Float32Array.from([0.1, -0.5, Number.NaN, 0.5, 0]));
    expect([0, 1, 2, 3, 4].map(order.rowAt)).toEqual([1, 3, 0, 4, 2]);
    for (let row = 0; row < 5; row++) expect(order.rowAt(order.lineOf(row))).toBe(row);
  });
});

describe("hit-testing", () => {
  it("finds every cell from its middle and its corners", () => {
    for (let index = 0; index < 420; index++) {
      const { left, top, width, height } = boxOf(layout, placeOf(layout, index));
      for (const [dx, dy] of [
        [0, 0],
        [width / 2, height / 2],
        [width - 0.01, height - 0.01],
      ] as const) {
        const place = placeAt(layout, still, size.gutter + left + dx, EDGE + top + dy);
        expect(place && indexAt(layout, place)).toBe(index);
      }
    }
  });

  it.each([
    ["row labels", 20, 100],
    ["column labels", 100, EDGE + layout.sightHeight + 1],
    ["the edge above", 100, 0],
    ["the room at the right", size.gutter + layout.sightWidth, 100],
  ])("finds nothing on %s", (_, x, y) => {
    expect(placeAt(layout, still, x, y)).toBeNull();
  });

  it("counts what has been scrolled away, both ways", () => {
    const large = layoutGrid({ ...size, cols: 200, order: downwards(400) });
    expect(placeAt(large, { x: 95, y: 61 }, size.gutter + 6, EDGE)).toEqual({ line: 10, col: 10 });
    expect(inSight(large, { x: 95, y: 61 })).toEqual({
      cols: [9, Math.ceil((95 + large.sightWidth) / 10)],
      lines: [10, Math.ceil((61 + large.sightHeight) / 6)],
    });
  });

  it("takes the nearest place from outside", () => {
    expect(nearestPlace(layout, still, -50, 9999)).toEqual({ line: 29, col: 0 });
    expect(nearestPlace(layout, still, 9999, -50)).toEqual({ line: 0, col: 13 });
  });
});

describe("a rectangle", () => {
  it("is the same from all its corners", () => {
    const cells = between(layout, { line: 2, col: 3 }, { line: 4, col: 5 });
    expect(cells).toHaveLength(9);
    expect(new Set(between(layout, { line: 4, col: 3 }, { line: 2, col: 5 }))).toEqual(new Set(cells));
    expect(cells).toContain(indexAt(layout, { line: 3, col: 4 }));
  });
});

describe("scrolling to a place", () => {
  const large = layoutGrid({ ...size, cols: 200, order: downwards(400) });

  it("leaves one in sight where it is", () => {
    expect(scrollTo(large, { x: 100, y: 60 }, { line: 20, col: 20 })).toEqual({ x: 100, y: 60 });
  });
  it("brings one from any side just into sight", () => {
    expect(scrollTo(large, { x: 100, y: 60 }, { line: 3, col: 3 })).toEqual({ x: 30, y: 18 });
    expect(scrollTo(large, { x: 100, y: 60 }, { line: 399, col: 199 })).toEqual({
      x: large.contentWidth - large.sightWidth,
      y: large.contentHeight - large.sightHeight,
    });
  });
});

describe("where a grid opens", () => {
  const long = layoutGrid({ ...size, cols: 66 });
  const marked = (...cols: number[]) => Array.from({ length: 66 }, (_, col) => cols.includes(col));

  it.each([[8], [30], [58], [65]])("has its first marked column, %i, in sight", (col) => {
    const x = openingAt(long, marked(col, 65));
    expect(x).toBeLessThanOrEqual(col * long.cellWidth);
    expect(x + long.sightWidth).toBeGreaterThanOrEqual((col + 1) * long.cellWidth);
    expect(x).toBeLessThanOrEqual(long.contentWidth - long.sightWidth);
  });

  it("is its left where nothing is marked, or all has room", () => {
    expect(openingAt(long, [])).toBe(0);
    expect(openingAt(layout, marked(9))).toBe(0);
  });
});

describe("the labels of columns", () => {
  const crowd = (cols: number[]) => {
    const sorted = [...cols].sort((a, b) => a - b);
    return Math.min(...sorted.slice(1).map((col, i) => col - (sorted[i] as number)));
  };
  const strong = (...cols: number[]) => Array.from({ length: 66 }, (_, col) => cols.includes(col));

  it("stand so far apart that each can be read, strong ones among them", () => {
    const cols = labelledCols(66, { every: 2, apart: 1.1 }, strong(57));
    expect(cols).toEqual(expect.arrayContaining([57, 54, 60]));
    expect(crowd(cols)).toBe(2);
    expect(crowd(labelledCols(66, { every: 2, apart: 1.1 }, strong(57, 58, 59)))).toBe(2);
  });

  it("are all there where there is room", () => {
    expect(labelledCols(14, { every: 1, apart: 0.4 }, strong(9, 10))).toHaveLength(14);
  });
});
