import { describe, expect, it } from "vitest";
import { parseMessage } from "../../src/lab/messages";
import { ProtocolError } from "../../src/transport/errors";
import { readStored } from "../../src/transport/saved-state";
import { array, count, nullable, object, oneOf, optional, string, tuple, variant } from "../../src/transport/schema";
import { fromKernel, opened, parsed, stored, wire } from "../fixtures";

describe("messages of the kernel", () => {
  it.each(Object.keys(fromKernel))("%s is read", (name) => {
    const message = parsed(name);
    expect(message.type).toBe(fromKernel[name]?.json.type);
    expect(message.seq).toBe(fromKernel[name]?.json.seq);
  });

  it("carry arrays, in which what is unknown is NaN", () => {
    const [view] = parsed<"hello">("hello").views;
    if (view?.kind !== "grid" || !view.cells) throw new Error("the first view is the main grid");
    expect([...view.cells.values]).toEqual([-6.5, Number.NaN, Number.NaN, -6.5, Number.NaN, Number.NaN]);
    expect([...view.cells.state]).toEqual([1, 0, 0, 1, 0, 0]);
  });

  it("carry no arrays while nothing is known", () => {
    expect(opened("progress_open")).toMatchObject({ kind: "grid", cells: null });
  });

  it("carry cells by flat index", () => {
    const { cells } = parsed<"progress">("progress_cells");
    expect([...(cells?.index ?? [])]).toEqual([1, 2]);
    expect([...(cells?.recovery ?? [])]).toEqual([1, 0.5]);
  });

  it("carry both attention rows, and whole patterns", () => {
    const row = opened("result_attention");
    const pattern = opened("result_pattern");
    if (row.kind !== "attention" || pattern.kind !== "attention") throw new Error("attention views");
    expect([...(row.clean ?? [])]).toEqual([0.5, 0.25, 0.25]);
    expect(row.tokens_clean).toEqual(["A", " John", " to"]);
    expect(pattern.clean).toHaveLength(9);
  });

  it("may come in windows on larger, misaligned buffers", () => {
    const straight = parseMessage(...wire("result"));
    expect(parseMessage(...wire("result", {}, 3))).toEqual(straight);
  });

  it("may have fields that are not known yet", () => {
    expect(parsed("error", { novelty: 1 })).toEqual(parsed("error"));
  });
});

describe("messages that are not as agreed", () => {
  const without = (name: string, field: string) => wire(name, { [field]: undefined });
  it.each([
    ["another version", wire("error", { v: 1 }), /version 1/],
    ["no object", [null, []] as [unknown, DataView[]], /version undefined/],
    ["an unknown type", wire("error", { type: "gossip" }), /could not be read: type should be hello or lab/],
    ["a missing field", without("error", "message"), /message should be a string, and is nothing/],
    ["a wrong field deep inside", wire("preview", { columns: [[0, "1"]] }), /columns\.0\.1 should be a whole number/],
    ["a missing buffer", [wire("result")[0], []] as [unknown, DataView[]], /buffer 0/],
    ["half a number", [wire("result")[0], [new DataView(new ArrayBuffer(5))]] as [unknown, DataView[]], /5 bytes/],
    [
      "too few numbers",
      [wire("result")[0], [new DataView(new ArrayBuffer(8))]] as [unknown, DataView[]],
      /2 numbers instead of 6/,
    ],
  ])("%s is refused with a sentence", (_, [content, buffers], sentence) => {
    expect(() => parseMessage(content, buffers)).toThrow(ProtocolError);
    expect(() => parseMessage(content, buffers)).toThrow(sentence);
  });
});

describe("shapes", () => {
  const shape = object({ a: string, b: nullable(count), c: optional(array(tuple(string, count)), []) });

  it("keep what is known, and fill in what is missing", () => {
    expect(shape({ a: "x", more: 1 }, "")).toEqual({ a: "x", b: null, c: [] });
    expect(shape({ a: "x", b: 2, c: [["y", 1]] }, "")).toEqual({ a: "x", b: 2, c: [["y", 1]] });
  });

  it.each([
    [{ a: 1 }, "a should be a string, and is 1"],
    [{ a: "", b: -1 }, "b should be a whole number"],
    [{ a: "", c: [["y"]] }, "c.0 should be a list of 2"],
    ["text", "it should be an object"],
  ])("say where %o is wrong", (value, sentence) => {
    expect(() => shape(value, "")).toThrow(sentence);
  });

  it("tell variants apart by a field", () => {
    const one = variant("kind", { dot: object({ x: count }), word: object({ text: oneOf("yes", "no") }) });
    expect(one({ kind: "dot", x: 1 }, "")).toEqual({ kind: "dot", x: 1 });
    expect(() => one({ kind: "word", text: "perhaps" }, "")).toThrow("text should be yes or no");
    expect(() => one({ kind: "line" }, "")).toThrow("kind should be dot or word");
  });
});

describe("what a notebook has kept", () => {
  it("is read as the message it was", () => {
    const kept = readStored(stored);
    if (!kept) throw new Error("the fixture has a stored state");
    const message = parseMessage(kept.content, kept.buffers);
    if (message.type !== "hello") throw new Error("a hello");
    expect(message.lab.live).toBe(false);
    const [view] = message.views;
    expect(view?.kind === "grid" && [...(view.cells?.state ?? [])]).toEqual([1, 1, 1, 1, 1, 1]);
  });

  it.each([[null], [undefined], [{}], [{ content: {}, buffers: "none" }]])("%o is nothing", (value) => {
    expect(readStored(value)).toBeNull();
  });
});
