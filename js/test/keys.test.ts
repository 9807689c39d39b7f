import { describe, expect, it } from "vitest";
import { actionOf, type Keyed } from "../src/grid/keys";

const size = { rows: 30, cols: 14, upwards: true };
const none: Keyed = { key: "", ctrlKey: false, metaKey: false, altKey: false, shiftKey: false };
const press = (key: string, more: Partial<Keyed> = {}, at = { row: 10, col: 5 }, on = size) =>
  actionOf({ ...none, key, ...more }, at, on);
const to = (row: number, col: number) => ({ kind: "move", to: { row, col } });

describe("keys", () => {
  it.each([
    ["ArrowUp", to(11, 5)],
    ["ArrowDown", to(9, 5)],
    ["ArrowLeft", to(10, 4)],
    ["ArrowRight", to(10, 6)],
    ["Home", to(10, 0)],
    ["End", to(10, 13)],
    ["PageUp", to(15, 5)],
    ["PageDown", to(5, 5)],
    ["Enter", { kind: "activate" }],
    [" ", { kind: "activate" }],
    ["Escape", { kind: "leave" }],
  ])("%s", (key, action) => {
    expect(press(key)).toEqual(action);
  });

  it("go with what is seen where row 0 is at the top", () => {
    const downwards = { ...size, upwards: false };
    expect(press("ArrowUp", {}, { row: 10, col: 5 }, downwards)).toEqual(to(9, 5));
    expect(press("Home", { ctrlKey: true }, { row: 10, col: 5 }, downwards)).toEqual(to(0, 0));
  });

  it("with Ctrl or Cmd go to the corners", () => {
    expect(press("Home", { ctrlKey: true })).toEqual(to(29, 0));
    expect(press("End", { metaKey: true })).toEqual(to(0, 13));
  });

  it("stop at the border", () => {
    expect(press("ArrowUp", {}, { row: 29, col: 0 })).toEqual(to(29, 0));
    expect(press("PageDown", {}, { row: 2, col: 0 })).toEqual(to(0, 0));
    expect(press("ArrowRight", {}, { row: 0, col: 13 })).toEqual(to(0, 13));
  });

  it.each<[string, Partial<Keyed>?]>([
    ["a"],
    ["Tab"],
    ["F5"],
    ["ArrowUp", { altKey: true }],
    ["Enter", { shiftKey: true }],
    ["Enter", { ctrlKey: true }],
    ["c", { ctrlKey: true }],
  ])("%s %o belongs to others", (key, more = {}) => {
    expect(press(key, more)).toBeNull();
  });
});
