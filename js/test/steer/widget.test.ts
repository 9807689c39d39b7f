/** The steering panel: its scale, ladders, marks, state; and the whole of it on a page without pixels. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import messages from "../../../tests/protocol/steer_messages.json";
import { readNumber } from "../../src/dom/field";
import { changedTokens } from "../../src/steer/diff";
import steerLab from "../../src/steer/index";
import { type Ladder, parseMessage } from "../../src/steer/messages";
import { asked, awaited, currentRow, initialState, isFresh, received, type SteerState } from "../../src/steer/state";
import {
  barsAt,
  curveTokens,
  highest,
  klAt,
  placeOf,
  probabilityAt,
  roundUp,
  rungAt,
  STEPS,
  strengthAt,
} from "../../src/steer/strength";
import type { FromPage } from "../../src/transport/messages";
import { dataView } from "../fixtures";

type Name = keyof typeof messages.from_kernel;
// biome-ignore lint/suspicious/noExplicitAny: a message of the fixture, to be changed anywhere
type Json = Record<string, any>;

function wire(name: Name, change: (json: Json) => void = () => {}): [Json, DataView[]] {
  const { json, buffers } = messages.from_kernel[name];
  const copy = structuredClone(json) as Json;
  change(copy);
  return [copy, buffers.map((buffer) => dataView(buffer))];
}
const parsed = (name: Name, change?: (json: Json) => void) => parseMessage(...wire(name, change));
const stateAfter = (...names: Name[]): SteerState =>
  names.reduce((state, name) => received(state, parsed(name)), initialState);

const ladder: Ladder = {
  row: "r1",
  key: "k",
  strengths: Float32Array.of(-2, -0.5, 0, 0.5, 2),
  tokens: [" a", " b", " c"],
  base: Float32Array.of(0.5, 0.25, 0.125),
  probabilities: Float32Array.of(0, 0, 1, 0.25, 0.25, 0.5, 0.5, 0.25, 0.125, 0.25, 0.5, 0.125, 0, 1, 0),
  kl: Float32Array.of(4, 1, 0, 1, 4),
};

describe("the strength slider", () => {
  it("is fine around 0 and reaches its limit", () => {
    expect([0, 1, 10, 50, STEPS, -STEPS].map((place) => strengthAt(place, 5))).toEqual([0, 0.0005, 0.05, 1.25, 5, -5]);
  });

  it("gives each place its own strength, and back", () => {
    for (let place = -STEPS; place <= STEPS; place++) expect(placeOf(strengthAt(place, 3), 3)).toBe(place);
  });

  it("stays at its end beyond the limit", () => {
    expect(placeOf(7, 5)).toBe(STEPS);
    expect(placeOf(-7, 5)).toBe(-STEPS);
  });
});

describe("a ladder", () => {
  it("says what was computed at its rungs", () => {
    for (const [i, strength] of ladder.strengths.entries()) {
      expect(klAt(ladder, strength)).toBe(ladder.kl[i]);
      expect(probabilityAt(ladder, 2, strength)).toBe(ladder.probabilities[i * 3 + 2]);
    }
  });

  it("is straight between them and level beyond its ends", () => {
    expect(klAt(ladder, 1.25)).toBeCloseTo(2.5);
    expect(probabilityAt(ladder, 1, -1.25)).toBeCloseTo(0.125);
    expect([klAt(ladder, 9), klAt(ladder, -9)]).toEqual([4, 4]);
    expect(rungAt(Float32Array.of(1), 5)).toEqual({ low: 0, part: 0 });
  });

  it("lists the likeliest tokens at a strength with what they were", () => {
    expect(barsAt(ladder, 2, 2)).toEqual([
      { token: 1, base: 0.25, steered: 1 },
      { token: 0, base: 0.5, steered: 0 },
    ]);
    expect(barsAt(ladder, 0, 9).map(({ base, steered }) => base === steered)).toEqual([true, true, true]);
  });

  it("has its curves' tokens and its whole bar", () => {
    expect(curveTokens(ladder)).toEqual([0, 1, 2]);
    expect(highest(ladder)).toBe(1);
    expect([0.3, 1, 1.2, 7, 0].map(roundUp)).toEqual([0.5, 1, 2, 10, 1]);
  });
});

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

describe("the panel", () => {
  let sent: FromPage[];
  let listener: (content: unknown, buffers: DataView[]) => void;
  let life: AbortController;
  let seq: number;
  let stored: unknown;

  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  const receive = async (name: Name, change?: (json: Json) => void) => {
    const [content, buffers] = wire(name, change);
    seq += 1;
    listener({ ...content, seq }, buffers);
    await frame();
  };
  const part = <T extends HTMLElement>(name: string) => document.querySelector(`[data-pw="${name}"]`) as T;
  const requests = () => sent.filter((message) => message.type === "request");
  const slide = async (place: number, type = "input") => {
    const slider = part<HTMLInputElement>("strength");
    slider.value = String(place);
    slider.dispatchEvent(new Event(type, { bubbles: true }));
    await frame();
  };

  const start = () => {
    const model = {
      send: (message: FromPage) => sent.push(message),
      on: (name: string, heard: typeof listener) => {
        if (name === "msg:custom") listener = heard;
      },
      off: () => {},
      get: () => stored,
    };
    // biome-ignore lint/suspicious/noExplicitAny: a stand-in has only what the widget uses
    const host = { model, signal: life.signal, el: document.body } as any;
    const widget = steerLab();
    widget.initialize(host);
    widget.render(host);
  };
  beforeEach(async () => {
    document.body.replaceChildren();
    [sent, seq, stored, life] = [[], 0, null, new AbortController()];
  });
  afterEach(() => life.abort());

  it("shows bars, texts and damage", async () => {
    start();
    await receive("hello");
    expect(part("next-tokens").querySelectorAll("li")).toHaveLength(10);
    expect(part("text-base").textContent).not.toBe("");
    expect(part("damage").textContent).toContain("nats");
    expect(part("curve").querySelectorAll("path").length).toBeGreaterThan(1);
    expect(part("stop").hidden).toBe(true);
  });

  it("draws each step of a drag and asks nothing until it is let go", async () => {
    start();
    await receive("hello");
    const drawn = Number(part("next-tokens").dataset.frames);
    for (let place = -50; place < 50; place++) await slide(place);
    expect(sent.filter(({ type }) => type === "request")).toEqual([]);
    expect(Number(part("next-tokens").dataset.frames)).toBe(drawn + 100);
    await slide(-20);
    await slide(-20, "change");
    expect(requests().map(({ method, params }) => [method, params])).toEqual([
      ["row", { row: "r2", strength: strengthAt(-20, 5) }],
    ]);
  });

  it("lets go where it was grabbed, which is no change", async () => {
    start();
    await receive("hello");
    const place = Number(part<HTMLInputElement>("strength").value);
    await slide(place + 1);
    expect(part("text-steered").dataset.status).toBe("old");
    await slide(place, "pointerup");
    await new Promise((resolve) => setTimeout(resolve, 5));
    await frame();
    expect(part("text-steered").dataset.status).toBe("done");
  });

  it("stops a text that is being written when a slider is grabbed, once", async () => {
    start();
    await receive("hello");
    await receive("text_begins");
    expect(part("stop").hidden).toBe(false);
    await slide(10);
    await slide(11);
    expect(sent.filter(({ type }) => type === "cancel")).toEqual([{ v: 2, type: "cancel", id: "text" }]);
  });

  it("asks while dragging if it is told to, one request at a time", async () => {
    start();
    await receive("hello");
    part("follow").click();
    await slide(10);
    await slide(11);
    expect(requests()).toHaveLength(1);
  });

  it("shows the text that is written while dragging, until the slider moves on", async () => {
    start();
    await receive("hello");
    part("follow").click();
    await slide(10);
    expect(part("text-steered").dataset.status).toBe("old");
    await receive("panel", (json) => {
      json.id = requests().at(-1)?.id;
      json.panel.rows[0].strength = strengthAt(10, 5);
    });
    await receive("text_begins");
    await receive("text");
    expect(part("text-steered").dataset.status).toBe("writing");
    await slide(12);
    expect(part("text-steered").dataset.status).toBe("old");
  });

  it("says under the field what is wrong with it", async () => {
    start();
    await receive("hello");
    const number = part<HTMLInputElement>("strength-number");
    number.value = "strong";
    number.dispatchEvent(new Event("change"));
    await frame();
    expect(requests()).toEqual([]);
    const shown = [...document.querySelectorAll<HTMLElement>('[data-pw="error"]')].filter((error) => !error.hidden);
    expect(shown.map((error) => error.textContent)).toEqual(['The strength "strong" is not a number.']);
  });

  it("makes a vector from two boxes", async () => {
    start();
    await receive("hello");
    part("making").click();
    await frame();
    part<HTMLTextAreaElement>("positive").value = "John went";
    part("make-apply").click();
    expect(requests().at(-1)).toMatchObject({
      method: "make",
      params: { positive: "John went", negative: "", method: "mean_diff", layer: 1 },
    });
    await receive("error", (json) => Object.assign(json, { id: requests().at(-1)?.id }));
    expect(part("make").textContent).toContain("There is no negative example.");
  });

  it("shows a saved state without a kernel, with a slider that moves", async () => {
    const { json, buffers } = messages.from_kernel.hello;
    const base64 = buffers.map((buffer) => {
      const view = dataView(buffer);
      return btoa(String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset, view.byteLength)));
    });
    stored = { content: { ...json, seq: 0, panel: { ...json.panel, live: false } }, buffers: base64 };
    start();
    await frame();
    const drawn = Number(part("next-tokens").dataset.frames);
    await slide(70);
    await slide(70, "change");
    expect(Number(part("next-tokens").dataset.frames)).toBeGreaterThan(drawn);
    expect(requests()).toEqual([]);
    expect(part<HTMLButtonElement>("write").disabled).toBe(true);
    expect(part("steer").textContent).toContain("A saved panel");
  });

  it("goes away with its view", async () => {
    start();
    life.abort();
    expect(document.body.children).toHaveLength(0);
  });
});
