import { describe, expect, it } from "vitest";
import { ProtocolError } from "../src/errors";
import { type Hello, type Progress, parseMessage, type Result } from "../src/protocol";
import { fromKernel, parsed, wire } from "./fixtures";

describe("messages of the kernel", () => {
  it.each(Object.keys(fromKernel))("%s is read", (name) => {
    const message = parsed(name);
    expect(message.type).toBe(fromKernel[name]?.json.type);
    expect(message.seq).toBe(fromKernel[name]?.json.seq);
  });

  it("carry arrays, in which what is unknown is NaN", () => {
    const [view] = (parsed("hello") as Hello).views;
    if (view?.kind !== "grid") throw new Error("the first view is the main grid");
    expect([...view.values]).toEqual([-6.5, Number.NaN, Number.NaN, -6.5, Number.NaN, Number.NaN]);
    expect([...view.state]).toEqual([1, 0, 0, 1, 0, 0]);
  });

  it("carry cells by flat index", () => {
    const { cells } = parsed("progress_cells") as Progress;
    expect([...(cells?.index ?? [])]).toEqual([1, 2]);
    expect([...(cells?.recovery ?? [])]).toEqual([1, 0.5]);
  });

  it("carry both attention rows", () => {
    const { open } = parsed("result_attention") as Result;
    if (open?.kind !== "attention") throw new Error("an attention view");
    expect([...open.clean]).toEqual([0.5, 0.25, 0.25]);
    expect([...open.corrupted]).toEqual([0.25, 0.5, 0.25]);
    expect(open.tokens_clean).toEqual(["A", " John", " to"]);
  });

  it("may come in windows on larger, misaligned buffers", () => {
    const straight = parseMessage(...wire("result")) as Result;
    const shifted = parseMessage(...wire("result", {}, 3)) as Result;
    expect(shifted).toEqual(straight);
  });

  it("may have fields that are not known yet", () => {
    expect(parsed("error", { novelty: 1 })).toEqual(parsed("error"));
  });
});

describe("messages that are not as agreed", () => {
  it.each([
    ["another version", wire("error", { v: 2 }), /version 2/],
    ["no object", [null, []] as [unknown, DataView[]], /version undefined/],
    ["an unknown type", wire("error", { type: "gossip" }), /could not be read: type/],
    ["a missing field", wire("error", { message: undefined }), /message/],
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
