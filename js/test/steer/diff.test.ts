/** Which tokens of a text are marked as changed. */
import { describe, expect, it } from "vitest";
import { changedTokens } from "../../src/steer/diff";

describe("changed tokens", () => {
  const words = (text: string) => text.split(" ");
  const marked = (other: string, mine: string) =>
    changedTokens(words(other), words(mine)).map((changed, i) => (changed ? words(mine)[i] : "."));

  it("are none in equal texts", () => expect(changedTokens(["a", "b"], ["a", "b"])).toEqual([false, false]));
  it("are all of a text that has nothing in common", () =>
    expect(changedTokens(["a"], ["b", "c"])).toEqual([true, true]));
  it("are those put in", () =>
    expect(marked("a b c d e f", "a b X c d e f")).toEqual([".", ".", "X", ".", ".", ".", "."]));
  it("are those after the point where texts part, but for longer runs", () => {
    expect(marked("we saw the film and it was fine", "we saw a dog and it was fine")).toEqual(
      words(". . a dog . . . ."),
    );
    expect(marked("we saw the film and left", "we hate a dog and run")).toEqual(words(". hate a dog and run"));
  });
  it("of an empty text are none", () => expect(changedTokens(["a"], [])).toEqual([]));
});
