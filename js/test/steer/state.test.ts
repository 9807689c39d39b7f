/** What the steering panel knows, and how messages change it. */
import { describe, expect, it } from "vitest";
import { asked, awaited, currentRow, isFresh, received } from "../../src/steer/state";
import { parsed, stateAfter } from "./kernel";

describe("state", () => {
  it("is whole after hello", () => {
    const state = stateAfter("hello");
    expect(state.link).toBe("live");
    expect(currentRow(state)?.id).toBe("r2");
    expect(state.ladders.r2?.probabilities).toHaveLength(
      (state.ladders.r2?.strengths.length ?? 0) * (state.ladders.r2?.tokens.length ?? 0),
    );
    expect(isFresh(state, "base") && isFresh(state, "steered")).toBe(true);
  });

  it("knows that texts are old once settings have changed", () => {
    const state = stateAfter("hello", "panel");
    expect(isFresh(state, "base")).toBe(true);
    expect(isFresh(state, "steered")).toBe(false);
    expect(isFresh(stateAfter("hello", "panel", "text_begins"), "steered")).toBe(true);
  });

  it("puts a text together from its pieces, whatever was lost or is told twice", () => {
    const once = stateAfter("hello", "panel", "text_begins", "text", "text");
    expect(once.texts.steered?.pieces).toHaveLength(1);
    const done = received(
      once,
      parsed("text_done", (json) => Object.assign(json, { start: 1, pieces: [" b", " c"] })),
    );
    expect(done.texts.steered?.pieces.slice(1)).toEqual([" b", " c"]);
    expect(done.texts.steered?.damage?.tokens).toBeGreaterThan(0);
  });

  it("shows what was asked for until it is answered", () => {
    const before = stateAfter("hello");
    const row = currentRow(before);
    if (!row) throw new Error("no row");
    const open = asked(before, { id: "p7f3a-2", method: "row", params: { row: "r2", strength: -0.33 } });
    expect(awaited(open, row).strength).toBe(-0.33);
    const answered = received(open, parsed("panel"));
    expect(answered.open).toEqual({});
    expect(currentRow(answered)?.strength).toBe(-0.33);
  });

  it("keeps a sentence by its field until something else is asked", () => {
    const failed = received(stateAfter("hello"), parsed("error"));
    expect(failed.fields.negative?.message).toBe("There is no negative example.");
    expect(asked(failed, { id: "x", method: "write", params: {} }).fields).toEqual({});
  });

  it("is not of a message of another version", () => {
    expect(() => parsed("panel", (json) => Object.assign(json, { v: 1 }))).toThrow("speaks version 1");
    expect(() => parsed("panel", (json) => Object.assign(json, { panel: {} }))).toThrow("could not be read");
  });
});
