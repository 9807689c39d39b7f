/** Mounts the widget with a made-up kernel.  Query: theme=dark, case=ioi|long|rtl|deep|wide|shallow|states,
 *  state=done|running|silent|error|check|lost|stored, pace=ms, teach=1, neurons=16384, views=2. */
import patchLab from "../src/lab/index";
import type { FromPage } from "../src/transport/messages";
import fixture from "./fixture.json";
import { FakeKernel } from "./kernel";
import type { Data } from "./lab";
import { pack } from "./wire";

const query = new URLSearchParams(location.search);
const state = query.get("state") ?? "done";
const data = dataOf(query.get("case") ?? "ioi");
const kernel = new FakeKernel(data, {
  pace: Number(query.get("pace") ?? (state === "running" ? 20 : 4)),
  freezeAt: state === "running" ? 0.3 : 1,
  fails: state === "error" ? "engine" : state === "check" ? "check" : "",
  waits: query.get("waits"),
  teach: query.has("teach"),
  live: true,
});

document.body.className = query.get("theme") ?? "";
let closed = () => {};
const model = {
  send: (message: FromPage) => {
    if (state !== "silent" && state !== "stored") kernel.receive(message);
  },
  on: (name: string, listener: (content: unknown, buffers: DataView[]) => void) => {
    if (name === "msg:custom") kernel.on(listener);
    else closed = listener as () => void;
  },
  off: () => {},
  get: (name: string) =>
    name === "stored" && state === "stored" ? (window as unknown as { stored: unknown }).stored : null,
};
Object.assign(window, { kernel, pack, lose: () => closed() });
const signal = new AbortController().signal;
const widget = patchLab();
// biome-ignore lint/suspicious/noExplicitAny: a stand-in has only what the widget uses
const host = { model, signal } as any;
widget.initialize(host);
for (let i = 0; i < Number(query.get("views") ?? 1); i++) {
  const el = document.createElement("div");
  document.getElementById("here")?.append(el);
  widget.render({ ...host, el });
}
if (state === "lost") setTimeout(() => closed(), 800);

function dataOf(name: string): Data {
  const real = fixture as unknown as Data;
  switch (name) {
    case "long":
      return synthetic(words(180), 48, 32);
    case "wide":
      return synthetic(words(512), 48, 32);
    case "rtl":
      return synthetic(
        [
          "<|begin_of_text|>",
          "שלום",
          " עולם",
          " مرحبا",
          "👩‍👩‍👧‍👦",
          " 👍🏽",
          "e\u0301",
          "\n",
          "\t",
          "",
          " internationalization",
          " Donaudampfschifffahrtsgesellsch",
          "ไทย",
          " 日本語",
          "\u200b",
          " to",
        ],
        24,
        12,
      );
    case "deep":
      return synthetic(words(40), 80, 64);
    case "shallow":
      return synthetic(["A", " b", " c"], 2, 2);
    case "states":
      return {
        ...real,
        resid_pre: real.resid_pre.map((row, l) =>
          row.map((v, p) =>
            p === 2 ? Number.NaN : p === 4 && l > 20 ? Number.POSITIVE_INFINITY : p === 5 && l > 20 ? -l / 30 : v,
          ),
        ),
      };
    default:
      return real;
  }
}

function words(n: number): string[] {
  const some = [" the", " store", " John", ",", " gave", " extraordinarily", " a", " of", "\n", " Mary"];
  return Array.from({ length: n }, (_, i) => some[(i * 7) % some.length] as string);
}

function synthetic(tokens: string[], layers: number, heads: number): Data {
  const wave = (rows: number, cols: number) =>
    Array.from({ length: rows }, (_, r) =>
      Array.from({ length: cols }, (_, c) => Math.sin(r / 6 + c / 2) * Math.cos(c / 3) ** 3 * 1.1),
    );
  const flat = tokens.map((_, i) => 1 / (i + 2));
  return {
    clean: tokens.map((token, i) => (i === 2 ? " other" : token)),
    corrupted: tokens,
    baselines: [4.61, -6.47],
    resid_pre: wave(layers, tokens.length),
    heads: wave(layers, heads),
    attention: { clean: flat, corrupted: [...flat].reverse() },
  };
}
