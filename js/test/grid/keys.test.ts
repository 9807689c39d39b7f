import { describe, expect, it } from "vitest";
import { actionOf, type Extent, type Keyed } from "../../src/grid/keys";

const grid: Extent = { lines: 30, cols: 14, page: 5 };
const list: Extent = { lines: 16384, cols: 1, page: 20 };
const none: Keyed = { key: "", ctrlKey: false, metaKey: false, altKey: false, shiftKey: false };
const press = (key: string, more: Partial<Keyed> = {}, at = { line: 10, col: 5 }, on = grid) =>
  actionOf({ ...none, key, ...more }, at, on);
const to = (line: number, col: number, selects = false) => ({ kind: "move", to: { line, col }, extends: selects });

describe("keys", () => {
  it.each([
    ["ArrowUp", to(9, 5)],
    ["ArrowDown", to(11, 5)],
    ["ArrowLeft", to(10, 4)],
    ["ArrowRight", to(10, 6)],
    ["Home", to(10, 0)],
    ["End", to(10, 13)],
    ["PageUp", to(5, 5)],
    ["PageDown", to(15, 5)],
    ["Enter", { kind: "activate" }],
    [" ", { kind: "select" }],
    ["Escape", { kind: "leave" }],
  ])("%s", (key, action) => {
    expect(press(key)).toEqual(action);
  });

  it("with Ctrl or Cmd go to the corners", () => {
    expect(press("Home", { ctrlKey: true })).toEqual(to(0, 0));
    expect(press("End", { metaKey: true })).toEqual(to(29, 13));
  });

  it("with Shift select on the way", () => {
    expect(press("ArrowRight", { shiftKey: true })).toEqual(to(10, 6, true));
    expect(press("End", { shiftKey: true, ctrlKey: true })).toEqual(to(29, 13, true));
  });

  it("stop at the border", () => {
    expect(press("ArrowUp", {}, { line: 0, col: 0 })).toEqual(to(0, 0));
    expect(press("PageDown", {}, { line: 28, col: 0 })).toEqual(to(29, 0));
    expect(press("ArrowRight", {}, { line: 0, col: 13 })).toEqual(to(0, 13));
  });

  it("go to the ends of a list", () => {
    const at = { line: 40, col: 0 };
    expect(press("Home", {}, at, list)).toEqual(to(0, 0));
    expect(press("End", {}, at, list)).toEqual(to(16383, 0));
    expect(press("PageDown", {}, at, list)).toEqual(to(60, 0));
    expect(press("ArrowRight", {}, at, list)).toEqual(to(40, 0));
  });

  it.each<[string, Partial<Keyed>?]>([
    ["a"],
    ["Tab"],
    ["F5"],
    ["ArrowUp", { altKey: true }],
    ["Enter", { shiftKey: true }],
    ["Enter", { ctrlKey: true }],
    ["Escape", { shiftKey: true }],
    ["c", { ctrlKey: true }],
  ])("%s %o belongs to others", (key, more = {}) => {
    expect(press(key, more)).toBeNull();
  });
});
