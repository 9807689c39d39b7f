/** What the made-up lab holds: prompts, menus, and made-up numbers for every question. */
import type { Axis } from "./wire";

export type Numbers = number[][];
export interface Data {
  clean: string[];
  corrupted: string[];
  baselines: [number, number];
  resid_pre: Numbers;
  heads: Numbers;
  attention: { clean: number[]; corrupted: number[] };
}
type Params = Record<string, unknown>;

const option = (name: string, label = name, reason: string | null = null) => ({
  name,
  label,
  text: `${label}.`,
  reason,
});

export const sites = [
  option("resid_pre", "residual before each layer"),
  option("resid_mid", "residual between attention and MLP"),
  option("resid_post", "residual after each layer"),
  option("attn_out", "output of attention"),
  option("mlp_out", "output of the MLP"),
  option("z", "output of each head"),
];
export const metrics = [
  option("logit_diff", "logit difference"),
  option("prob_diff", "probability difference"),
  option("kl", "KL divergence", "This metric needs no answer, and is not offered here."),
];
export const directions = [option("denoise", "clean into corrupted"), option("noise", "corrupted into clean")];

export interface Drawn {
  title: string;
  crumb: string;
  rows: Axis;
  cols: Axis;
  recovery: number[];
  patch: Params | null;
  site: string;
}

const axis = (
  name: string,
  size: number,
  labels: string[] | null = null,
  values: (string | number)[] | null = null,
) => ({
  axis: name,
  size,
  labels,
  values,
});

/** The grid that answers a question. */
export function draw(data: Data, method: string, params: Params, site: string, direction: string): Drawn {
  const drawn = plain(data, method, params, site);
  if (direction === "noise") drawn.recovery = drawn.recovery.map((r) => 1 - 0.9 * r);
  return drawn;
}

function plain(data: Data, method: string, params: Params, site: string): Drawn {
  const tokens = data.corrupted;
  const pos = (name = "pos") => axis(name, tokens.length, tokens);
  const layers = data.resid_pre.length;
  const heads = data.heads[0]?.length ?? 1;
  const layer = axis("layer", layers);
  const at = `'${tokens[Number(params.pos)] ?? ""}' (${params.pos})`;
  switch (method) {
    case "set": {
      const factor = { resid_pre: 1, resid_mid: 0.97, resid_post: 0.95 }[site] ?? 0.24;
      const recovery = data.resid_pre.flatMap((row, l) =>
        row.map((r, p) => (factor < 0.5 ? r * factor * Math.cos(l + p) : r * factor)),
      );
      return {
        title: "Recovery by layer and token",
        crumb: site,
        rows: layer,
        cols: pos(),
        recovery,
        patch: { site },
        site,
      };
    }
    case "heads":
      return {
        title: `Heads at ${at}`,
        crumb: "heads",
        rows: layer,
        cols: axis("head", heads),
        recovery: data.heads.flat(),
        patch: { site: "z", pos: params.pos },
        site: "z",
      };
    case "parts": {
      const parts = ["q", "k_per_head", "v_per_head", "pattern", "z"];
      return {
        title: `Head ${params.layer}.${params.head} by part and token`,
        crumb: `head ${params.layer}.${params.head}`,
        rows: axis("site", 5, ["q", "k", "v", "pattern", "z"], parts),
        cols: pos(),
        recovery: waves(5, tokens.length, 0.3),
        patch: { layer: params.layer, head: params.head },
        site: "z",
      };
    }
    case "entries": {
      const recovery = waves(tokens.length, tokens.length, 0.12).map((r, i) =>
        i % tokens.length > Math.floor(i / tokens.length) ? 0 : r,
      );
      return {
        title: `Head ${params.layer}.${params.head}'s pattern, entry by entry`,
        crumb: "entries",
        rows: pos("dest_pos"),
        cols: pos("src_pos"),
        recovery,
        patch: { site: "pattern", layer: params.layer, head: params.head },
        site: "pattern",
      };
    }
    case "neurons": {
      const count = Number(new URLSearchParams(location.search).get("neurons") ?? 1536);
      return {
        title: `Neurons of layer ${params.layer} at ${at}`,
        crumb: "neurons",
        rows: axis("layer", 1, null, [Number(params.layer)]),
        cols: axis("neuron", count),
        recovery: Array.from({ length: count }, (_, i) => (Math.sin(i * 12.9898) * 43758.5453) % 1).map(
          (r) => r ** 9 * 0.2,
        ),
        patch: { site: "mlp_post", layer: params.layer, pos: params.pos },
        site: "mlp_post",
      };
    }
    case "paths": {
      const senders = [...Array.from({ length: heads }, (_, i) => i), "mlp"];
      return {
        title: `Paths into ${String(params.site)[0]} of head ${params.layer}.${params.head}`,
        crumb: `paths into ${String(params.site)[0]}`,
        rows: axis("layer", Number(params.layer)),
        cols: axis("sender", senders.length, senders.map(String), senders),
        recovery: waves(Number(params.layer), senders.length, 0.08),
        patch: null,
        site: String(params.site),
      };
    }
    default:
      throw new Error(`no made-up answer to ${method}`);
  }
}

function waves(rows: number, cols: number, size: number): number[] {
  return Array.from({ length: rows * cols }, (_, i) => {
    const [r, c] = [Math.floor(i / cols), i % cols];
    return size * Math.sin(r * 1.7 + c / 2) * Math.cos(c / 1.5) ** 5;
  });
}

const step = (method: string, label: string, takes: Params, more: Params = {}) => ({
  method,
  label,
  text: `${label}.`,
  params: {},
  takes,
  only: null,
  reason: null,
  ...more,
});
const headOf = { layer: "layer", head: "head" };

/** What may be asked at a cell of the answer to a question. */
export function steps(method: string, params: Params) {
  switch (method) {
    case "set":
      return [
        step("heads", "heads", { pos: "pos" }, { params: { site: "z" } }),
        step("neurons", "MLP neurons", { layer: "layer", pos: "pos" }),
      ];
    case "heads":
      return [
        step("attention", "attention", headOf, { params: { pos: params.pos } }),
        step("parts", "q, k, v, pattern", headOf),
        step("entries", "entries", headOf),
        step("paths", "paths into q", headOf, { params: { site: "q" } }),
        step("paths", "paths into k", headOf, { params: { site: "k" } }),
        step("paths", "paths into v", headOf, { params: { site: "v" }, reason: "Made up: not of this model." }),
      ];
    case "parts": {
      const head = { layer: params.layer, head: params.head };
      return [
        step("entries", "entries", {}, { params: head, only: { site: ["pattern"] } }),
        step(
          "paths",
          "paths in",
          { site: "site" },
          { params: head, only: { site: ["q", "k_per_head", "v_per_head"] } },
        ),
      ];
    }
    case "attention":
      return [step("entries", "patch entries", {}, { params: { layer: params.layer, head: params.head } })];
    default:
      return [];
  }
}

export function explain(direction: string): string {
  const [from, to] = direction === "noise" ? ["corrupted", "clean"] : ["clean", "corrupted"];
  const need =
    direction === "noise"
      ? "Near 1 the model did not need what was there; near 0 it was necessary; below 0 or above 1 the answer is pushed past either prompt."
      : "Near 1 what was copied suffices to bring the clean answer back; near 0 it does nothing; above 1 it overshoots; below 0 it pushes the other way.";
  return `Each cell is one run of the ${to} prompt in which the activation at that place is replaced by the ${from} run's. Recovery places the logit of ·Mary minus that of ·John between the two prompts: 0 is the corrupted run, 1 the clean run. ${need}`;
}
