/** The panel on a page without pixels, by keys and by clicks: breadcrumb, cursors, steps and history are those of the cell. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { mountApp } from "../../src/lab/view/app";
import { stop } from "../fixtures";
import { Kernel, LAYERS, Page, settle } from "./kernel";

let kernel: Kernel;
let page: Page;
let life: AbortController;
const el = document.createElement("div");

const frame = async () => {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => requestAnimationFrame(resolve));
};
const answered = async () => {
  settle(kernel);
  await frame();
};
const part = (name: string) => el.querySelector<HTMLElement>(`[data-pw="${name}"]`) as HTMLElement;
const cursor = (grid: string) => part(grid).querySelector<HTMLElement>("[role=gridcell]") as HTMLElement;
const press = (element: HTMLElement, ...keys: string[]) => {
  for (const key of keys) element.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
};
const takeStep = (name: string, line = 0) =>
  part("steps").querySelectorAll(".pw-step-line")[line]?.querySelector<HTMLElement>(`[data-step="${name}"]`)?.click();
const lines = () => [...part("steps").querySelectorAll(".pw-step-place")].map(({ textContent }) => textContent);
const history = () => [...part("history").querySelectorAll<HTMLElement>("[role=treeitem]")];
const place = (layer: number, pos = 2) => `layer ${layer} at ${pos} (${pos})`;

beforeEach(async () => {
  [kernel, life] = [new Kernel(), new AbortController()];
  page = new Page("p", kernel);
  document.body.append(el);
  mountApp(el, page.store, page.actions, life.signal);
  await frame();
});
afterEach(() => {
  life.abort();
  el.remove();
});

it("colours are read where there are some: in the page", async () => {
  const host = document.createElement("div");
  mountApp(host, page.store, page.actions, life.signal);
  await frame();
  const root = host.firstElementChild as HTMLElement;
  expect(root.style.colorScheme).toBe("");
  document.body.append(host);
  page.update((state) => ({ ...state })); // the observer of its size, which there is none of here, would see it
  await frame();
  expect(root.style.colorScheme).not.toBe("");
  host.remove();
});

/** To the last token, and up the column by keys. */
async function openByKeys(layer: number): Promise<void> {
  press(cursor("grid"), "Home", "End", ...Array(LAYERS).fill("ArrowDown"), ...Array(layer).fill("ArrowUp"), "Enter");
  await answered();
}

it("each cell of a column is opened by keys, and the focus goes to its row of the heads", async () => {
  for (const layer of [0, 2, 2, 1, 2]) {
    await openByKeys(layer);
    expect(part("crumb").textContent).toContain(`${place(layer)} › heads`);
    expect(lines()[0]).toBe(place(layer));
    expect(cursor("grid").getAttribute("aria-label")).toContain(`layer ${layer}`);
    expect(document.activeElement).toBe(cursor("detail-grid"));
    expect(cursor("detail-grid").getAttribute("aria-label")).toContain(`layer ${layer}`);
    takeStep("neurons");
    await answered();
    expect(page.sent.at(-1)).toMatchObject(
      page.sent.at(-1)?.method === "show" ? {} : { method: "neurons", params: { layer, pos: 2 } },
    );
    expect(part("crumb").textContent).toContain(`${place(layer)} › neurons`);
  }
});

it("Enter goes to the heads also where they are there already", async () => {
  await openByKeys(1);
  cursor("grid").focus();
  press(cursor("grid"), "Enter");
  await frame();
  expect(document.activeElement).toBe(cursor("detail-grid"));
});

it("the cell is at hand before the kernel has answered", async () => {
  await openByKeys(0);
  press(cursor("grid"), "ArrowUp", "ArrowLeft", "Enter");
  await frame();
  expect(part("crumb").textContent).toContain(place(1, 1));
  expect(lines()).toEqual([place(1, 1)]);
  takeStep("steer");
  expect(page.sent.at(-1)).toMatchObject({ method: "steer", params: { layer: 1, pos: 1 } });
  await answered();
  expect(part("crumb").textContent).toContain(`${place(1, 1)} › heads`);
});

it("the history has a line for each cell, and leads the cursor back there", async () => {
  for (const layer of [0, 2]) await openByKeys(layer);
  expect(history().map(({ textContent }) => textContent)).toEqual([
    expect.stringContaining("resid_pre"),
    expect.stringContaining(place(0)),
    expect.stringContaining(place(2)),
  ]);
  expect(history().findIndex((item) => item.getAttribute("aria-selected") === "true")).toBe(2);
  history()[1]?.click();
  await answered();
  expect(history().findIndex((item) => item.getAttribute("aria-selected") === "true")).toBe(1);
  expect(cursor("grid").getAttribute("aria-label")).toContain("layer 0");
  expect(cursor("detail-grid").getAttribute("aria-label")).toContain("layer 0");
  expect(lines()[0]).toBe(place(0));
});

it("a cell that leads nowhere is chosen, for both pages", async () => {
  const other = new Page("q", kernel);
  await openByKeys(1);
  takeStep("neurons");
  await answered();
  press(cursor("detail-grid"), "ArrowDown", "Enter");
  await answered();
  expect(other.state.lab?.way.at(-1)).toEqual(stop(page.state.lab?.way.at(-1)?.view ?? "", 0, 1));
});

it("the breadcrumb leads back to the cell, with its steps", async () => {
  await openByKeys(2);
  press(cursor("detail-grid"), "Enter");
  await answered();
  part("crumb").querySelector("button")?.click();
  await answered();
  expect(part("crumb").textContent).toBe("");
  expect(lines()).toEqual([place(2)]);
});

it("all measured, the button is quiet; while and after it is measured again nothing is lost", async () => {
  const states = () => [...(page.state.views.get("v1") as { cells: { state: Uint8Array } }).cells.state];
  expect(part("run").textContent).toBe("Measure again");
  expect(part("run").classList).toContain("pw-quiet");
  part("run").click();
  kernel.handle();
  kernel.measure(2);
  page.read();
  await frame();
  expect(part("status").textContent).toContain("2 of 9 exact");
  expect(new Set(states())).toEqual(new Set([1]));
  part("cancel").click();
  await answered();
  expect(part("status").textContent).toBe("9 cells");
  expect(part("run").textContent).toBe("Measure again");
  expect(new Set(states())).toEqual(new Set([1]));
});
