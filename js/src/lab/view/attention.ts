/** Where a head looks from one position: two thin bars for each token, clean and corrupted. */
import { h, setText, toggle } from "../../dom/dom";
import { fixed } from "../../text/format";
import { visible } from "../../text/tokens";
import type { Columns } from "../message-schema";
import type { AttentionView } from "../messages";

export function createAttention() {
  const heading = h("h4", "pw-heading");
  const legend = h("div", "pw-bars-legend pw-muted");
  const bars = h("ol", { class: "pw-bars", tabindex: 0, label: "attention by token" });
  const element = h("section", { pw: "attention", label: "attention" }, heading, legend, bars);
  let shown: AttentionView | null = null;

  return {
    element,
    /** Only of one position; the whole pattern is a grid. */
    show(view: AttentionView | null, columns: Columns | null): void {
      const row = view?.pos == null ? null : view;
      toggle(element, row !== null);
      if (!row || row === shown) return;
      shown = row;
      setText(heading, `Head ${row.layer}.${row.head} attends`);
      legend.replaceChildren(
        h("span", {}, "from ", token(row.tokens[row.pos as number] ?? ""), " to"),
        h("span", {}, key("clean"), key("corrupted")),
      );
      bars.replaceChildren(...rows(row, row.pos as number, columns ?? row.tokens.map((_, i) => [i, i] as const)));
    },
  };
}

/** A line for each column of the two prompts that can be attended to. */
function rows({ tokens, tokens_clean, clean, corrupted }: AttentionView, pos: number, columns: Columns): HTMLElement[] {
  const highest = Math.max(...(clean ?? []), ...(corrupted ?? []), 1e-9);
  const seen = columns.filter(([i, j]) => Math.min(i ?? j ?? 0, j ?? i ?? 0) <= pos);
  return seen.map(([i, j]) => {
    const [one, two] = [(i !== null && clean?.[i]) || 0, (j !== null && corrupted?.[j]) || 0];
    const [mine, other] = [i === null ? "" : ((tokens_clean ?? tokens)[i] ?? ""), j === null ? "" : (tokens[j] ?? "")];
    const text = other || mine;
    const label = mine && other && mine !== other ? [token(mine), "/", token(other)] : [token(text)];
    const bar = (run: string, p: number) =>
      h("i", { class: `pw-bar pw-${run}`, style: `width:${(100 * p) / highest}%` });
    return h(
      "li",
      {
        label: `${i ?? j}, '${text}': clean ${fixed(one, 3)}, corrupted ${fixed(two, 3)}`,
        title: `position ${i ?? j}`,
      },
      h("span", "pw-bar-token", ...label),
      h("span", "pw-track", bar("clean", one), bar("corrupted", two)),
      number(one),
      number(two),
    );
  });
}

function number(p: number): HTMLElement {
  return h("span", { class: p < 0.005 ? "pw-p pw-p-small" : "pw-p" }, fixed(p, 2));
}

function token(text: string): HTMLElement {
  return h("bdi", "pw-mono", visible(text));
}

function key(run: string): HTMLElement {
  return h("span", "pw-key", h("i", { class: `pw-sign pw-sign-bar pw-${run}` }), run);
}
