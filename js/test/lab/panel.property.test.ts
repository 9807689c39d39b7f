/** Whatever is done on two pages, in whatever order messages arrive: what holds of the panel at any time. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { trail } from "../../src/lab/breadcrumb";
import { defaultStep, questionOf, stepsAt, valueOn } from "../../src/lab/cells";
import type { View } from "../../src/lab/messages";
import { onView, shown, standing, viewsOn } from "../../src/lab/navigation";
import { chosenIn } from "../../src/lab/pane-content";
import { initialUi } from "../../src/lab/view-state";
import type { Way } from "../../src/lab/ways";
import { canonical } from "../../src/transport/canonical";
import { Kernel, Page, settle } from "./kernel";

interface World {
  kernel: Kernel;
  pages: [Page, Page];
  /** Cells that a page has seen exact, by page, view and index. */
  exact: Set<string>;
}
type Act = { toString(): string; do(world: World): void };

const page = fc.constantFrom(0, 1);
const any = fc.nat(99);
const pick = <T>(list: readonly T[], at: number): T | undefined => list[at % Math.max(1, list.length)];

/** A click on a cell, or Enter: what is asked is about this cell, and the cursor is there at once. */
function click({ pages }: World, who: number, place: "main" | "detail", at: number): void {
  const on = pages[who] as Page;
  const view = shown(on.state)[place];
  if (!view) return;
  const index = at % (view.rows.size * view.cols.size);
  const step = defaultStep(view, index);
  const before = on.sent.length;
  if (step) on.actions.take(step, view, index);
  else on.actions.choose(view, index);
  expect(chosenIn(on.state, view)).toBe(index);
  if (step) expectAbout(on, before, view, index);
}

/** What a request asks is of the cell: its place on each axis that its parameters name. */
function expectAbout(on: Page, since: number, view: View, index: number | null): void {
  const asked = on.sent.slice(since).find(({ params }) => "parent" in params);
  if (!asked || view.kind !== "grid" || index === null) return;
  const [row, col] = [Math.floor(index / view.cols.size), index % view.cols.size];
  expect((asked.params.parent as Way).at(-1)).toEqual({ view: view.id, row, col });
  for (const [axis, place] of [
    [view.rows, row],
    [view.cols, col],
  ] as const)
    if (axis.axis in asked.params) expect(asked.params[axis.axis]).toBe(valueOn(axis, place));
}

/** A click on a step of a line: it is about the cell that the line names. */
function press({ pages }: World, who: number, at: number, which: number): void {
  const on = pages[who] as Page;
  const line = pick(trail(on.state, initialUi), at);
  const step = line && pick(line.steps, which)?.step;
  if (!line || !step) return;
  if (line.view.kind === "grid") expect(line.index).toBe(chosenIn(on.state, line.view));
  const before = on.sent.length;
  on.actions.take(step, line.view, line.index);
  expectAbout(on, before, line.view, line.index);
}

const acts: fc.Arbitrary<Act>[] = [
  ["click", fc.tuple(page, any), (world: World, [who, at]: [number, number]) => click(world, who, "main", at)],
  ["click below", fc.tuple(page, any), (world: World, [who, at]: [number, number]) => click(world, who, "detail", at)],
  [
    "press",
    fc.tuple(page, any, any),
    (world: World, [who, at, which]: number[]) => press(world, who ?? 0, at ?? 0, which ?? 0),
  ],
  [
    "back",
    fc.tuple(page, any),
    ({ pages }: World, [who, at]: [number, number]) => {
      const way = onView((pages[who] as Page).state);
      pages[who]?.actions.go(way.slice(0, 1 + (at % way.length)));
    },
  ],
  [
    "history",
    fc.tuple(page, any),
    ({ pages }: World, [who, at]: [number, number]) => {
      const way = pick(pages[who]?.state.lab?.ways ?? [], at);
      if (way) pages[who]?.actions.go(way);
    },
  ],
  [
    "site",
    fc.tuple(page, fc.constantFrom("resid_pre", "mlp_out")),
    ({ pages }: World, [who, site]: [number, string]) => pages[who]?.actions.set({ site }),
  ],
  [
    "run",
    page,
    ({ pages }: World, who: number) => withMain(pages[who] as Page, (on, view) => on.actions.sweep(view.id)),
  ],
  [
    "cancel",
    page,
    ({ pages }: World, who: number) => withMain(pages[who] as Page, (on, view) => on.actions.cancel(view)),
  ],
  ["kernel answers", fc.nat(3), ({ kernel }: World, times: number) => repeat(times + 1, () => kernel.handle())],
  ["kernel measures", fc.nat(4), ({ kernel }: World, cells: number) => kernel.measure(cells + 1)],
  [
    "page reads",
    fc.tuple(page, fc.nat(4)),
    ({ pages }: World, [who, count]: [number, number]) => pages[who]?.read(count + 1),
  ],
].map(([name, given, act]) =>
  (given as fc.Arbitrary<unknown>).map((value) => ({
    toString: () => `${name} ${JSON.stringify(value)}`,
    do: (world: World) => (act as (world: World, value: unknown) => void)(world, value),
  })),
);

function withMain(on: Page, act: (on: Page, view: View) => void): void {
  const { main } = shown(on.state);
  if (main) act(on, main);
}

function repeat(times: number, act: () => void): void {
  for (let i = 0; i < times; i++) act();
}

/** What holds of a page at any time. */
function check({ exact }: World, { name, state }: Page): void {
  const way = standing(state);
  const views = viewsOn(state.views, way);
  expect(views.length, "each view on the way is there").toBe(way.length);
  expect(shown(state).main, "there is a main grid").not.toBeNull();
  expect(new Set(way.map(({ view }) => view)).size, "no view twice").toBe(way.length);
  for (const [i, view] of views.entries()) {
    const next = views[i + 1];
    const index = view.kind === "grid" ? chosenIn(state, view) : null;
    if (!next) continue;
    const asked = stepsAt(view, index).map((step) => canonical(questionOf(view, index, step)));
    expect(asked, "what is shown below a cell answers a question about it").toContain(canonical(next.question));
  }
  for (const view of state.views.values()) {
    if (view.kind !== "grid") continue;
    view.cells?.state.forEach((kind, index) => {
      const key = `${name} ${view.id} ${index}`;
      if (kind === 1) exact.add(key);
      expect(exact.has(key) && kind !== 1, `exact cell ${key} stays exact`).toBe(false);
    });
  }
}

it("holds", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(...acts), { maxLength: 40 }), (done) => {
      const kernel = new Kernel();
      const world: World = { kernel, pages: [new Page("p", kernel), new Page("q", kernel)], exact: new Set() };
      for (const act of done) {
        act.do(world);
        for (const one of world.pages) check(world, one);
        const sweeps = kernel.live.filter(({ parent }) => parent === null);
        expect(sweeps.length, "one sweep of a main grid").toBeLessThanOrEqual(1);
      }
      settle(kernel);
      for (const one of world.pages) {
        check(world, one);
        expect(one.state.moved, "nothing is left open").toBeNull();
        expect(one.state.open).toEqual({});
        expect(standing(one.state), "all pages stand where the kernel says").toEqual(kernel.way);
      }
    }),
    { numRuns: 150, seed: 12 },
  );
});
