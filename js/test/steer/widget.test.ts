/** The steering panel on a page without pixels: what it shows, what it asks, and that it goes away. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import messages from "../../../tests/protocol/steer_messages.json";
import steerLab from "../../src/steer/index";
import { strengthAt } from "../../src/steer/strength";
import type { FromPage } from "../../src/transport/messages";
import { dataView } from "../fixtures";
import { type Json, type Name, wire } from "./kernel";

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
