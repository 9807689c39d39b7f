import { describe, expect, it } from "vitest";
import { cut } from "../../src/lab/prompt-text";
import { brief, compact, duration, fixed, percent, signed } from "../../src/text/format";
import { shorten, visible } from "../../src/text/tokens";

describe("tokens", () => {
  it.each([
    [" to", "·to"],
    ["\n\n", "⏎⏎"],
    ["\t", "⇥"],
    ["a b", "a·b"],
    ["", "∅"],
    ["\u200b", "‹200B›"],
    ["\u202e", "‹202E›"],
    ["\u0000", "‹0000›"],
    ["👩‍👩‍👧‍👦", "👩‍👩‍👧‍👦"],
    [" שלום", "·שלום"],
    ["\u0301", "◌\u0301"],
    ["e\u0301", "e\u0301"],
  ])("%j is shown as %s", (token, shown) => {
    expect(visible(token)).toBe(shown);
  });

  it("are cut between characters as people count them", () => {
    expect(shorten("👩‍👩‍👧‍👦👍🏽abc", 3)).toBe("👩‍👩‍👧‍👦👍🏽…");
    expect(shorten("abc", 3)).toBe("abc");
  });
});

describe("a prompt as it is typed", () => {
  it("is cut into its tokens, those that were added aside", () => {
    expect(cut("A to", ["<bos>", "A", " to"])).toEqual({
      added: ["<bos>"],
      pieces: [
        { text: "A", token: 1 },
        { text: " to", token: 2 },
      ],
    });
  });

  it("has a rest without tokens where typing is ahead", () => {
    expect(cut("A tower", ["A", " to", " b"]).pieces).toEqual([
      { text: "A", token: 0 },
      { text: " to", token: 1 },
      { text: "wer", token: null },
    ]);
  });

  it("is one piece while nothing is known, and none when empty", () => {
    expect(cut("A to", []).pieces).toEqual([{ text: "A to", token: null }]);
    expect(cut("A", ["<bos>", "B"])).toEqual({ added: [], pieces: [{ text: "A", token: null }] });
    expect(cut("", []).pieces).toEqual([]);
  });
});

describe("numbers", () => {
  it("are brief on a scale", () => {
    expect([0, 1, -1, 0.05, 1.5, 10, 0.002, -0.998].map(brief)).toEqual([
      "0",
      "1",
      "−1",
      "0.05",
      "1.5",
      "10",
      "0.002",
      "−0.998",
    ]);
  });

  it("have a true minus, and none for zero", () => {
    expect(fixed(-1.234, 2)).toBe("−1.23");
    expect(fixed(-0.0001, 2)).toBe("0.00");
    expect(signed(4.605, 1)).toBe("+4.6");
    expect(signed(-6.47, 2)).toBe("−6.47");
    expect(signed(0.0001, 2)).toBe("0.00");
  });
  it("that are none say so", () => {
    expect([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY].map((x) => fixed(x, 2))).toEqual([
      "NaN",
      "∞",
      "−∞",
    ]);
  });
  it("keep their size when they are small or large", () => {
    expect(compact(3e-6, 3)).toBe("3e−6");
    expect(compact(0, 3)).toBe("0.000");
    expect(compact(-0.25, 3)).toBe("−0.250");
    expect(fixed(1234567, 2)).toBe("1.23e6");
  });
  it("of probability and time", () => {
    expect([0.914, 0.0995, 0.0034, 0.0001, 0].map(percent)).toEqual(["91%", "10%", "0.3%", "<0.1%", "0.0%"]);
    expect([0.2, 12.4, 75, 120, 7320].map(duration)).toEqual(["0.2 s", "12 s", "1 min 15 s", "2 min", "2 h 2 min"]);
  });
});
