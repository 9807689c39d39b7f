/** The parts of the made-up kernel's answers: a grid, a head's attention, typed prompts, checks. */
import { type Data, draw } from "./lab";
import type { Json } from "./wire";

export type Params = Record<string, unknown>;
export type Setting = { pair: number; site: string; metric: string; direction: string };

/** The selection of no cell. */
export const nothing = {
  cells: [],
  status: "none",
  joint: null,
  parts: null,
  synergy: null,
  noise_floor: 4e-7,
  explain: "",
  message: null,
  hint: null,
};

/** A measured selection of so many cells. */
export function jointOf(cells: number): Json {
  const part = (effect: number) => ({ value: effect * 11 - 6.47, recovery: effect, effect });
  const parts = Array.from({ length: cells }, (_, i) => part(0.31 / (i + 1)));
  const sum = parts.reduce((total, { effect }) => total + effect, 0);
  const joint = part(sum + 0.12);
  const explain = `Together these ${cells} patches recover ${joint.effect.toFixed(2)} of the difference; alone they would add up to ${sum.toFixed(2)}.`;
  return { status: "done", joint, parts, synergy: 0.12, explain };
}

export function grid(data: Data, method: string, params: Params, setting: Setting): Json {
  const { recovery, ...drawn } = draw(data, method, params, setting.site, setting.direction);
  const [clean, corrupted] = data.baselines;
  const known = Float32Array.from(recovery);
  return {
    kind: "grid",
    ...drawn,
    done: 0,
    total: known.length,
    seconds_left: null,
    clean,
    corrupted,
    noise_floor: 4e-7,
    reason: null,
    checks: [],
    values: known.map((r) => corrupted + r * (clean - corrupted)),
    recovery: known,
    state: Uint8Array.from(known, (r) => (Number.isNaN(r) ? 3 : 1)),
  };
}

export function attentionRow(data: Data, params: Params): Json {
  const { clean, corrupted, attention } = data;
  return {
    kind: "attention",
    title: `Head ${params.layer}.${params.head}`,
    crumb: "attention",
    layer: params.layer,
    head: params.head,
    pos: params.pos,
    tokens: corrupted,
    tokens_clean: clean,
    clean: Float32Array.from(attention.clean),
    corrupted: Float32Array.from(attention.corrupted),
  };
}

/** What a sweep is checked by; the first is not `ok` where a check is to fail. */
export const checks = (ok: boolean) => [
  {
    name: "identity patch",
    ok,
    value: ok ? 0 : 0.031,
    limit: 1e-4,
    text: "patching with the base run's own activation changes nothing",
  },
  { name: "full patch", ok: true, value: 1e-6, limit: 1e-3, text: "patching everything restores the clean run" },
  { name: "logits", ok: true, value: 3e-6, limit: 1e-4, text: "logits equal those of the model called directly" },
];

/** The likeliest next tokens of a prompt whose answer is `first`. */
const topTokens = (first: string, second: string) => [
  [first, 0.914],
  [" the", 0.021],
  [second, 0.009],
  [" a", 0.0062],
  [" his", 0.005],
  [" her", 0.0031],
  ["\n", 0.002],
  [" them", 0.0004],
];

/** The prompts of an experiment, and the model's answers to them. */
export function promptsOf({ clean, corrupted, baselines }: Data): Json {
  return {
    pair: {
      clean,
      corrupted,
      columns: clean.map((_, i) => [i, i]),
      differs: clean.map((token, i) => token !== corrupted[i]),
      answer: " Mary",
      distractor: " John",
    },
    baselines: {
      clean: baselines[0],
      corrupted: baselines[1],
      clean_top: topTokens(" Mary", " John"),
      corrupted_top: topTokens(" John", " Mary"),
    },
  };
}

/** Typed prompts as they are split, and what the model expects after them. */
export function previewOf(prompts: Params): Json {
  const [clean, corrupted] = [words(String(prompts.clean)), words(String(prompts.corrupted))];
  const count = Math.max(clean.length, corrupted.length);
  const columns = Array.from({ length: count }, (_, i) => [
    i < clean.length ? i : null,
    i < corrupted.length ? i : null,
  ]);
  const differs = columns.map((_, i) => clean[i] !== corrupted[i]);
  const top = {
    clean: [
      [" Mary", 0.914, 7],
      [" the", 0.02, 8],
    ],
    corrupted: [
      [" John", 0.8, 9],
      [" Mary", 0.04, 7],
    ],
  };
  return { clean, corrupted, columns, differs, top, problems: problemsOf(prompts) };
}

/** What is wrong with typed prompts. */
export function problemsOf({ clean, corrupted, answer }: Params): Json[] {
  const [a, b] = [words(String(clean)), words(String(corrupted))];
  if (a.length !== b.length) {
    const message = `The clean prompt has ${a.length} tokens and the corrupted one ${b.length}, so positions do not correspond.`;
    return [{ field: "corrupted", message, hint: "Choose words of equally many tokens." }];
  }
  if (words(String(answer ?? "")).length > 1)
    return [{ field: "answer", message: `The answer '${answer}' is not one token.`, hint: "Choose a shorter word." }];
  return [];
}

function words(text: string): string[] {
  return ["<|endoftext|>", ...(text.match(/\s?[^\s,.]+|[,.]|\s/gu) ?? [])];
}
