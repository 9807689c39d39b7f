/** Mounts the steering panel with a made-up kernel, on numbers of a real model (steer.json).
 *  Query: theme=dark, state=live|writing|stored|empty|two, pace=ms. */
import steerLab from "../src/steer/index";
import type { FromPage } from "../src/transport/messages";
import { readStored } from "../src/transport/saved-state";
import fixture from "./steer.json";

const query = new URLSearchParams(location.search);
const state = query.get("state") ?? "live";
const pace = Number(query.get("pace") ?? 60);
document.body.className = query.get("theme") ?? "";

type Json = Record<string, unknown>;
// biome-ignore lint/suspicious/noExplicitAny: plain data
const content = structuredClone(fixture.content) as any;
content.panel.waits = null;
const { buffers } = readStored(fixture) as { buffers: DataView[] };
let listener: (content: unknown, buffers: DataView[]) => void = () => {};
let seq = 0;
let round = 0;
const sent: FromPage[] = [];
const say = (message: Json, arrays: DataView[] = []) => {
  seq += 1;
  setTimeout(() => listener({ v: 2, seq, ...message }, arrays));
};
if (state === "empty") {
  content.panel.rows = content.panel.vectors = [];
  content.ladders = [];
}
if (state === "two") {
  const [row] = content.panel.rows;
  content.panel.rows = [
    row,
    { ...row, id: "other", strength: -0.4, unit: "residual norm", norm: 1, limit: 2, on: false },
  ];
}

/** Writes the steered text again, a token at a time, until something newer is asked for. */
async function write(): Promise<void> {
  round += 1;
  const mine = round;
  const text = content.texts.find((one: Json) => one.side === "steered");
  const fields = { type: "text", side: "steered", key: content.panel.keys.steered, message: null, hint: null };
  say({ ...fields, start: 0, pieces: [], status: "writing", damage: null });
  for (const [i, piece] of text.pieces.entries()) {
    await new Promise((resolve) => setTimeout(resolve, pace));
    if (mine !== round) return;
    say({ ...fields, start: i, pieces: [piece], status: "writing", damage: null });
  }
  say({ ...fields, start: text.pieces.length, pieces: [], status: "done", damage: text.damage });
}

function answer(message: FromPage): void {
  sent.push(message);
  if (message.type === "hello" && message.known === undefined) {
    say(content, buffers);
    if (state === "writing") void write();
  }
  if (message.type === "cancel") round += 1;
  if (message.type !== "request") return;
  const { id, method, params } = message;
  if (method === "row") {
    const row = content.panel.rows.find((one: Json) => one.id === params.row);
    Object.assign(row, params, { row: undefined });
    content.panel.keys.steered += "+";
    content.panel.current = row.id;
  }
  if (method === "set") Object.assign(content.panel, params);
  if (method === "make") {
    const field = params.positive ? "negative" : "positive";
    say({
      type: "error",
      id,
      view: null,
      message: `There is no ${field} example.`,
      hint: "Type at least one prompt, one a line.",
      field,
    });
    return;
  }
  say({ type: "panel", id, panel: content.panel });
  if (method === "row" || method === "write") void write();
}

const model = {
  send: (message: FromPage) => {
    if (state !== "stored") answer(message);
  },
  on: (name: string, heard: typeof listener) => {
    if (name === "msg:custom") listener = heard;
  },
  off: () => {},
  get: () =>
    state === "stored"
      ? { ...fixture, content: { ...content, seq: 0, panel: { ...content.panel, live: false } } }
      : null,
};
Object.assign(window, { sent });
const widget = steerLab();
const { signal } = new AbortController();
// biome-ignore lint/suspicious/noExplicitAny: a stand-in has only what the widget uses
const host = { model, signal, el: document.getElementById("here") } as any;
widget.initialize(host);
widget.render(host);
