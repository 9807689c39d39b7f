/** The panel answers about the cell that was clicked: every pair of cells, every step, with a kernel and without. */
import { describe, expect, it } from "vitest";
import { crumbsHere, trail } from "../../src/lab/breadcrumb";
import { defaultStep, questionOf, stepsAt } from "../../src/lab/cells";
import type { Step } from "../../src/lab/message-schema";
import { shown, standing } from "../../src/lab/navigation";
import { chosenIn, createPaneContent } from "../../src/lab/pane-content";
import { initialUi } from "../../src/lab/view-state";
import type { Question } from "../../src/transport/messages";
import { stop } from "../fixtures";
import { gridOn, Kernel, LAYERS, Page, settle, TOKENS } from "./kernel";

const cells = Array.from({ length: LAYERS * TOKENS }, (_, index) => index);
const pairs = cells.flatMap((a) => cells.filter((b) => b !== a).map((b) => [a, b] as const));
const [layerOf, posOf] = [(index: number) => Math.floor(index / TOKENS), (index: number) => index % TOKENS];
const main = (page: Page) => gridOn(page, "v1");

function open(): { kernel: Kernel; page: Page } {
  const kernel = new Kernel();
  return { kernel, page: new Page("p", kernel) };
}

/** As a click on a cell of the main grid. */
function click(page: Page, index: number): void {
  const step = defaultStep(main(page), index);
  if (step) page.actions.take(step, main(page), index);
}

/** As a click on a step of the line of the main grid. */
function press(page: Page, method: string): Question {
  const line = trail(page.state, initialUi)[0];
  const step = line?.steps.find(({ step: one }) => one.method === method)?.step;
  if (!line || !step) throw new Error(`${method} is not offered`);
  page.actions.take(step, line.view, line.index);
  return questionOf(line.view, line.index, step);
}

/** All on the page that names the cell. */
function told(page: Page) {
  const line = trail(page.state, initialUi)[0];
  const { detail } = shown(page.state);
  const content = detail && createPaneContent()(page.state, initialUi, detail);
  return {
    chosen: chosenIn(page.state, main(page)),
    line: line?.index,
    crumb: crumbsHere(page.state)[1],
    row: content?.grid.strongRow,
  };
}

const expected = (index: number) => ({
  chosen: index,
  line: index,
  crumb: `layer ${layerOf(index)} at ${posOf(index)} (${posOf(index)}) › heads`,
  row: layerOf(index),
});

describe.each(["live", "stored"] as const)("of two cells, %s,", (link) => {
  /** A page on which everything has been measured where there is no kernel. */
  function prepared(): { kernel: Kernel; page: Page } {
    const { kernel, page } = open();
    if (link === "live") return { kernel, page };
    for (const index of cells) {
      for (const step of stepsAt(main(page), index)) {
        if (step.method !== "steer") page.actions.take(step, main(page), index);
        settle(kernel);
      }
    }
    page.update((state) => ({ ...state, link: "stored" }));
    page.sent.length = 0;
    return { kernel, page };
  }

  it("each click is about its own cell, there and back", () => {
    const { kernel, page } = prepared();
    for (const [a, b] of pairs) {
      for (const index of [a, b, a]) {
        click(page, index);
        expect(told(page)).toMatchObject({ chosen: index, line: index });
        settle(kernel);
        expect(told(page)).toEqual(expected(index));
      }
    }
  });

  it.each(["neurons", "positions", "heads", ...(link === "live" ? ["steer"] : [])])(
    "%s are those of the second",
    (method) => {
      const { kernel, page } = prepared();
      for (const [a, b] of pairs) {
        click(page, a);
        settle(kernel);
        click(page, b);
        const { params } = press(page, method);
        if ("layer" in params) expect(params.layer).toBe(layerOf(b));
        if ("pos" in params) expect(params.pos).toBe(posOf(b));
        settle(kernel);
        expect(chosenIn(page.state, main(page))).toBe(b);
        if (method !== "steer") expect(shown(page.state).detail?.question).toEqual({ method, params });
        else expect(page.sent.at(-1)).toMatchObject({ method, params: { layer: layerOf(b), pos: posOf(b) } });
      }
      if (link === "stored") expect(page.sent).toEqual([]);
    },
  );
});

describe("history", () => {
  it("has a line for each cell of a column, each of which leads back to it", () => {
    const { kernel, page } = open();
    const column = cells.filter((index) => posOf(index) === 2);
    for (const index of column) {
      click(page, index);
      settle(kernel);
    }
    expect(new Set(page.state.lab?.ways.map((way) => way.at(-1)?.view))).toEqual(new Set(["v1", "v2"]));
    const ways = page.state.lab?.ways.filter((way) => way.length === 2) ?? [];
    expect(ways.map((way) => way[0])).toEqual(column.map((index) => stop("v1", layerOf(index), 2)));
    for (const [i, way] of ways.entries()) {
      page.actions.go(way);
      settle(kernel);
      expect(told(page)).toEqual(expected(column[i] as number));
    }
  });
});

describe("two pages", () => {
  it("of one lab stand at the same cell", () => {
    const { kernel, page } = open();
    const other = new Page("q", kernel);
    click(page, 2);
    settle(kernel);
    click(other, 5);
    settle(kernel);
    expect(told(page)).toEqual(expected(5));
    expect(told(other)).toEqual(expected(5));
    page.actions.go(standing(page.state).slice(0, 1));
    settle(kernel);
    for (const one of [page, other]) expect(told(one)).toMatchObject({ chosen: 5, line: 5, crumb: undefined });
  });

  it("that click at the same time end where the kernel says", () => {
    const { kernel, page } = open();
    const other = new Page("q", kernel);
    click(page, 2);
    settle(kernel);
    click(page, 5);
    click(other, 8);
    expect([told(page).line, told(other).line]).toEqual([5, 8]);
    settle(kernel);
    expect([told(page).line, told(other).line]).toEqual([8, 8]);
  });
});

describe("a question that can't be asked", () => {
  it("leaves one at the cell where it was asked", () => {
    const { kernel, page } = open();
    click(page, 2);
    settle(kernel);
    const refused: Step = { ...(defaultStep(main(page), 5) as Step), method: "positions", params: { layer: 99 } };
    page.actions.take(refused, main(page), 5);
    const id = page.state.open.detail?.id ?? "";
    kernel.inbox.length = 0;
    page.mail.push({ type: "error", seq: 0, id, view: null, message: "no", hint: "", field: null } as never);
    page.read();
    expect(told(page)).toMatchObject({ chosen: 5, line: 5 });
    expect(shown(page.state).detail).toBeNull();
  });
});
