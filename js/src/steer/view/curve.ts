/** The dose-response curve: probabilities and KL against strength, with a line where the slider stands. */
import { h } from "../../dom/dom";
import { remember } from "../../dom/memo";
import { compact, percent } from "../../text/format";
import { visible } from "../../text/tokens";
import type { Ladder } from "../messages";
import { curveTokens, klAt, probabilityAt, roundUp } from "../strength";

const SVG = "http://www.w3.org/2000/svg";
const [LEFT, RIGHT, TOP, HEIGHT, GAP, KL_HEIGHT, BOTTOM] = [34, 8, 6, 108, 16, 48, 20];
const TOTAL = TOP + HEIGHT + GAP + KL_HEIGHT + BOTTOM;

interface Frame {
  x(strength: number): number;
  p(probability: number): number;
  kl(nats: number): number;
}

export function createCurve(signal: AbortSignal) {
  const picture = svg("svg", { height: TOTAL, role: "img" });
  const still = svg("g", {});
  const line = svg("line", { class: "pw-now", y1: TOP, y2: TOTAL - BOTTOM });
  const dots = [0, 1, 2].map((i) => svg("circle", { class: `pw-dot pw-line-${i}`, r: 3 }));
  const klDot = svg("circle", { class: "pw-dot pw-line-kl", r: 3 });
  picture.append(still, line, ...dots, klDot);
  const keys = h("span", { class: "pw-bars-legend" });
  const element = h(
    "section",
    { class: "pw-curve", "data-pw": "curve", "aria-label": "dose and response" },
    h("div", { class: "pw-heading" }, "Dose and response"),
    picture as unknown as HTMLElement,
    keys,
  );
  let width = 300;
  let ladder: Ladder | null = null;
  let strength = 0;

  const draw = remember((now: Ladder, wide: number) => {
    const [low, high] = [now.strengths[0] as number, now.strengths.at(-1) as number];
    const top = roundUp(Math.max(1e-6, ...now.kl));
    const inner = wide - LEFT - RIGHT;
    const frame: Frame = {
      x: (value) => LEFT + (inner * (Math.min(high, Math.max(low, value)) - low)) / (high - low || 1),
      p: (value) => TOP + HEIGHT * (1 - value),
      kl: (value) => TOP + HEIGHT + GAP + KL_HEIGHT * (1 - value / top),
    };
    const tokens = curveTokens(now);
    const path = (y: (i: number) => number) =>
      Array.from(now.strengths, (value, i) => `${i ? "L" : "M"}${frame.x(value).toFixed(1)} ${y(i).toFixed(1)}`).join(
        "",
      );
    const axis = (y: number, text: string) => [
      svg("line", { class: "pw-axis", x1: LEFT, x2: wide - RIGHT, y1: y, y2: y }),
      label(LEFT - 5, y + 4, text, "end"),
    ];
    picture.setAttribute("width", String(wide));
    still.replaceChildren(
      ...axis(frame.p(1), "100%"),
      ...axis(frame.p(0), "0"),
      ...axis(frame.kl(top), compact(top, top < 1 ? 2 : 0)),
      ...axis(frame.kl(0), "0"),
      svg("line", { class: "pw-axis", x1: frame.x(0), x2: frame.x(0), y1: TOP, y2: TOTAL - BOTTOM }),
      ...[low, 0, high].map((value, i) =>
        label(
          frame.x(value),
          TOTAL - 6,
          compact(value, 2).replace(/\.?0+$/, "") || "0",
          ["start", "middle", "end"][i] as string,
        ),
      ),
      ...tokens.map((token, n) =>
        svg("path", {
          class: `pw-line-${n}`,
          d: path((i) => frame.p(now.probabilities[i * now.tokens.length + token] as number)),
        }),
      ),
      svg("path", { class: "pw-line-kl", d: path((i) => frame.kl(now.kl[i] as number)) }),
    );
    keys.replaceChildren(
      ...tokens.map((token, n) =>
        h(
          "span",
          {},
          h("i", { class: `pw-swatch pw-line-${n}` }),
          h("bdi", { class: "pw-mono" }, visible(now.tokens[token] as string)),
        ),
      ),
      h("span", {}, h("i", { class: "pw-swatch pw-line-kl" }), "KL, nats"),
    );
    return { frame, tokens };
  });

  const place = () => {
    if (!ladder) return;
    const { frame, tokens } = draw(ladder, width);
    const x = frame.x(strength);
    for (const side of ["x1", "x2"]) line.setAttribute(side, x.toFixed(1));
    dots.forEach((dot, i) => {
      const token = tokens[i];
      dot.style.display = token === undefined ? "none" : "";
      if (token !== undefined && ladder) move(dot, x, frame.p(probabilityAt(ladder, token, strength)));
    });
    const kl = klAt(ladder, strength);
    move(klDot, x, frame.kl(kl));
    const most = tokens.map(
      (token) => `${visible(ladder?.tokens[token] ?? "")} ${percent(probabilityAt(ladder as Ladder, token, strength))}`,
    );
    picture.setAttribute(
      "aria-label",
      `at strength ${compact(strength, 2)}: ${most.join(", ")}; KL ${compact(kl, 3)} nats`,
    );
  };

  const observer = new ResizeObserver(([entry]) => {
    const wide = Math.round(entry?.contentRect.width ?? 0);
    if (wide < 1 || wide === width) return;
    width = wide;
    place();
  });
  observer.observe(element);
  signal.addEventListener("abort", () => observer.disconnect(), { once: true });

  return {
    element,
    show(now: Ladder | null, at: number, stale: boolean): void {
      element.classList.toggle("pw-stale", stale);
      element.classList.toggle("pw-unknown", now === null);
      if (now === ladder && at === strength) return;
      [ladder, strength] = [now, at];
      place();
    },
  };
}

function move(dot: SVGElement, x: number, y: number): void {
  dot.setAttribute("cx", x.toFixed(1));
  dot.setAttribute("cy", y.toFixed(1));
}

function label(x: number, y: number, text: string, anchor: string): SVGElement {
  const element = svg("text", { x: x.toFixed(1), y: y.toFixed(1), "text-anchor": anchor });
  element.textContent = text;
  return element;
}

function svg(tag: string, attributes: Record<string, string | number>): SVGElement {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}
