/** What can be done with a grid: copy its code, save it, ask it again under another setting. */
import { h, toggle } from "../../dom/dom";
import { type Command, createMenu } from "../../dom/menu";
import { toCsv } from "../../export/csv";
import { copyText, savePng, saveText } from "../../export/save";
import { toSvg } from "../../export/svg";
import { KINDS } from "../../grid/sheet";
import type { Setting } from "../message-schema";
import type { GridView } from "../messages";
import type { PaneContent } from "../pane-content";
import { metricLabel } from "../pane-content";
import { axisOf } from "../sheets";
import type { LabState } from "../state";
import { pairText, settingText } from "../wording";
import type { Deps } from "./context";

export function createPaneMenu(prefix: string, deps: Deps, signal: AbortSignal) {
  let state: LabState | null = null;
  let content: PaneContent | null = null;
  const on = (act: (now: PaneContent, state: LabState) => void) => () => {
    if (content && state) act(content, state);
  };
  const files: Command[] = [
    {
      name: `${prefix}code`,
      text: "Copy the code",
      run: on(({ view }) => void copyText(view.code).then(() => deps.say("Code copied"))),
    },
    {
      name: `${prefix}save-png`,
      text: "Picture (PNG)",
      run: on((now) => void savePng(`${fileName(now.view)}.png`, picture(now))),
    },
    {
      name: `${prefix}save-svg`,
      text: "Picture (SVG)",
      run: on((now) => saveText(`${fileName(now.view)}.svg`, picture(now), "image/svg+xml")),
    },
    {
      name: `${prefix}save-csv`,
      text: "Table (CSV)",
      run: on((now, lab) => saveText(`${fileName(now.view)}.csv`, table(now, lab), "text/csv")),
    },
  ];
  const picture = (now: PaneContent) => {
    const theme = deps.colours();
    if (!theme) return "";
    const { sheet, limit } = now.grid;
    return toSvg({ sheet, limit, theme, middle: now.middle, title: sheet.title, caption: settingText(now.view) });
  };
  const save = createMenu("Save ▾", "save this grid", files, `${prefix}export`, signal);
  const others = createMenu("Compare ▾", "the same under another setting", [], `${prefix}again`, signal);
  const element = h("span", "pw-pane-menu", others.element, save.element);

  return {
    element,
    show(now: LabState, shown: PaneContent): void {
      [state, content] = [now, shown];
      toggle(save.element, shown.view.cells !== null && !shown.hidden);
      const settings = now.link === "live" && shown.view.parent !== null ? otherSettings(now, shown.view) : [];
      toggle(others.element, settings.length > 0);
      others.set(
        settings.map(({ text, changes }) => ({
          name: `${prefix}again-${Object.values(changes)[0]}`,
          text,
          run: () => {
            if (now.lab?.pinned !== shown.view.id) deps.actions.pin(shown.view.id);
            deps.actions.again(shown.view, changes);
          },
        })),
      );
    },
  };
}

/** The same question with one thing changed. */
function otherSettings({ lab }: LabState, view: GridView): { text: string; changes: Partial<Setting> }[] {
  if (!lab) return [];
  // of these there is no mean
  const together = lab.every?.reason === null && !["parts", "paths"].includes(view.question.method);
  const free = (list: { name: string; reason: string | null }[], now: string) =>
    list.filter(({ name, reason }) => name !== now && reason === null).map(({ name }) => name);
  return [
    ...free(lab.directions, view.direction).map((direction) => ({ text: `with ${direction}`, changes: { direction } })),
    ...free(lab.metrics, view.metric).map((metric) => ({ text: `with ${metric}`, changes: { metric } })),
    ...[...(together ? [-1] : []), ...lab.pairs.keys()].flatMap((pair) =>
      pair === view.pair ? [] : [{ text: `with ${pairText(lab, pair)}`, changes: { pair } }],
    ),
  ];
}

function table({ view }: PaneContent, state: LabState): string {
  const labels = (axis: GridView["rows"]) => {
    const { label } = axisOf(axis);
    return { axis: axis.axis, labels: Array.from({ length: axis.size }, (_, i) => label(i)) };
  };
  const names = ["pending", "exact", "estimate", "not measurable"];
  const cells = view.cells ?? { values: new Float32Array(), recovery: new Float32Array(), state: new Uint8Array() };
  return toCsv({
    rows: labels(view.rows),
    cols: labels(view.cols),
    metric: metricLabel(state, view.metric),
    values: cells.values,
    recovery: cells.recovery,
    significant: view.significant,
    states: Array.from(cells.state, (code) => names[code] ?? KINDS[0]),
  });
}

function fileName({ title, metric, direction }: GridView): string {
  return [title, metric, direction]
    .join(" ")
    .replace(/[^\p{L}\p{N}]+/gu, "-")
    .replace(/^-|-$/g, "")
    .slice(0, 80)
    .toLowerCase();
}
