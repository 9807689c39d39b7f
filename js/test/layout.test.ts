import { describe, expect, it } from "vitest";
import { boxOf, cellAt, columnsInSight, EDGE, layoutGrid, MIN_CELL_WIDTH, scrollTo } from "../src/grid/layout";

const size = { rows: 30, cols: 14, width: 500, gutter: 34, labelHeight: 50, maxCellWidth: 44, upwards: true };
const layout = layoutGrid(size);

describe("the layout", () => {
  it.each([
    [2, 3, 480],
    [30, 14, 500],
    [80, 64, 700],
    [48, 512, 480],
    [1, 1, 1600],
    [12, 40, 0],
  ])("of %i x %i cells in %i px keeps cells usable", (rows, cols, width) => {
    const one = layoutGrid({ ...size, rows, cols, width });
    expect(one.cellWidth).toBeGreaterThanOrEqual(MIN_CELL_WIDTH);
    expect(one.cellWidth).toBeLessThanOrEqual(size.maxCellWidth);
    expect(one.cellHeight).toBeGreaterThanOrEqual(7);
    expect(one.sightWidth).toBeLessThanOrEqual(Math.max(0, width - size.gutter));
    expect(one.contentWidth).toBe(cols * one.cellWidth);
    expect([one.cellWidth, one.cellHeight].every(Number.isInteger)).toBe(true);
  });

  it("has layer 0 at the bottom", () => {
    expect(boxOf(layout, { row: 0, col: 0 }).top).toBe(29 * layout.cellHeight);
    expect(boxOf({ ...layout, upwards: false }, { row: 0, col: 0 }).top).toBe(0);
  });
});

describe("hit-testing", () => {
  it("finds every cell from its middle and its corners", () => {
    for (let row = 0; row < size.rows; row++) {
      for (let col = 0; col < size.cols; col++) {
        const { left, top, width, height } = boxOf(layout, { row, col });
        for (const [dx, dy] of [
          [0, 0],
          [width / 2, height / 2],
          [width - 0.01, height - 0.01],
        ] as const) {
          expect(cellAt(layout, 0, size.gutter + left + dx, EDGE + top + dy)).toEqual({ row, col });
        }
      }
    }
  });

  it.each([
    ["row labels", 20, 100],
    ["column labels", 100, EDGE + layout.bodyHeight + 1],
    ["the edge above", 100, 0],
    ["the room at the right", size.gutter + layout.sightWidth, 100],
  ])("finds nothing on %s", (_, x, y) => {
    expect(cellAt(layout, 0, x, y)).toBeNull();
  });

  it("counts what has been scrolled away", () => {
    const wide = layoutGrid({ ...size, cols: 200 });
    expect(cellAt(wide, 95, size.gutter + 6, EDGE)).toEqual({ row: 29, col: 10 });
    expect(columnsInSight(wide, 95)).toEqual([9, Math.ceil((95 + wide.sightWidth) / 10)]);
  });
});

describe("scrolling to a column", () => {
  const wide = layoutGrid({ ...size, cols: 200 });

  it("leaves a column in sight where it is", () => {
    expect(scrollTo(wide, 100, 20)).toBe(100);
  });
  it("brings one from either side just into sight", () => {
    expect(scrollTo(wide, 100, 3)).toBe(30);
    expect(scrollTo(wide, 100, 199)).toBe(wide.contentWidth - wide.sightWidth);
  });
});
