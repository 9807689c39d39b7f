/** What people type into a field. */
import { describe, expect, it } from "vitest";
import { readNumber } from "../../src/dom/field";

describe("numbers", () => {
  it("are read as people type them", () => {
    expect(["1.5", " \u22120,25 ", "1e3", "", "x", "1/0", "Infinity"].map(readNumber)).toEqual([
      1.5,
      -0.25,
      1000,
      null,
      null,
      null,
      null,
    ]);
  });
});
