/** The host's colours as the canvas needs them, and the news that they, or the screen's resolution, have changed. */
import { darkStops, lightStops, luminance, makeScale, type Rgb, type Scale } from "./colour-scale";

export interface Theme {
  readonly dark: boolean;
  readonly background: string;
  readonly foreground: string;
  readonly muted: string;
  /** For what is there but says nothing yet. */
  readonly faint: string;
  readonly line: string;
  readonly soft: string;
  readonly accent: string;
  readonly font: string;
  readonly scale: Scale;
  /** A canvas for small pictures that are drawn at once. */
  pixels(width: number, height: number): HTMLCanvasElement;
}

/** Reads the theme from an element that wears it as ordinary colour properties (`.pw-canvas` in grid/grid.css):
 *  only those are computed to plain colours, custom properties are not. */
export function readTheme(element: Element): Theme {
  const style = getComputedStyle(element);
  const dark = luminance(parseColour(style.backgroundColor)) < 0.3;
  const canvas = document.createElement("canvas");
  return {
    dark,
    background: style.backgroundColor,
    foreground: style.color,
    muted: style.outlineColor,
    faint: style.textDecorationColor,
    line: style.columnRuleColor,
    soft: style.borderTopColor,
    accent: style.caretColor,
    font: style.fontFamily || "sans-serif",
    scale: makeScale(dark ? darkStops : lightStops),
    pixels: (width, height) => Object.assign(canvas, { width, height }),
  };
}

/** The colour behind any CSS notation: rgb() is read directly, all else is painted and looked at. */
export function parseColour(text: string): Rgb {
  const rgb = /^rgba?\((\d+)[, ]+(\d+)[, ]+(\d+)/.exec(text);
  if (rgb) return [Number(rgb[1]), Number(rgb[2]), Number(rgb[3])];
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d");
  if (!context) return [255, 255, 255];
  context.fillStyle = text;
  context.fillRect(0, 0, 1, 1);
  const [r, g, b] = context.getImageData(0, 0, 1, 1).data;
  return [r as number, g as number, b as number];
}
/** Calls back when the host may have changed its colours. */
export function onThemeChange(element: Element, changed: () => void, signal: AbortSignal): void {
  const observer = new MutationObserver(changed);
  for (const node of themed(element)) observer.observe(node, { attributes: true });
  signal.addEventListener("abort", () => observer.disconnect(), { once: true });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed, { signal });
  // a host may set its attributes before its new style sheet is in force
  element.addEventListener("transitionend", changed, { signal });
}

/** Calls back when the page moves to a screen of another resolution, or is zoomed. */
export function onResolutionChange(changed: () => void, signal: AbortSignal): void {
  // a query for one resolution fires once it is left; then the next one is watched
  const next = () => {
    changed();
    onResolutionChange(changed, signal);
  };
  matchMedia(`(resolution: ${devicePixelRatio}dppx)`).addEventListener("change", next, { once: true, signal });
}

/** Hosts mark the theme on html or body, and those with a shadow root on its content as well. */
function themed(element: Element): Element[] {
  const found: Element[] = [document.documentElement, document.body];
  const root = element.getRootNode();
  if (root instanceof ShadowRoot) {
    found.push(root.host, ...root.children);
  }
  return found;
}
