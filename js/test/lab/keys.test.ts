/** The keys of a lab, on a page without pixels. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { stop } from "../fixtures";
import { answer, begin, end, focusCell, frame, last, part, press, receive, view } from "./page";

beforeEach(() => begin());
afterEach(end);

describe("keys", () => {
  it("move one focusable cell, and are kept from the notebook", async () => {
    const el = view();
    await receive("hello", "result");
    const cell = focusCell(el, "grid");
    const heard = vi.fn();
    el.addEventListener("keydown", heard);
    expect(cell.getAttribute("aria-label")).toContain("layer 1, token 'A' (0)");
    press(cell, "End");
    expect(cell.getAttribute("aria-label")).toBe("layer 1, token ' to' (2), recovery 0.95, logit difference 4.00");
    expect(cell.getAttribute("aria-colindex")).toBe("3");
    expect(cell.parentElement?.getAttribute("aria-rowindex")).toBe("1");
    expect(press(cell, "ArrowDown").defaultPrevented).toBe(true);
    press(cell, "x");
    press(cell, "Enter", { shiftKey: true });
    expect(heard).not.toHaveBeenCalled();
    press(cell, "Escape");
    press(cell, "s", { ctrlKey: true });
    expect(heard).toHaveBeenCalledTimes(2);
  });

  it("open the heads, go there, ask for attention, and come back", async () => {
    const el = view();
    await receive("hello", "result");
    const main = focusCell(el, "grid");
    main.focus();
    press(main, "End");
    press(main, "Enter");
    const { id } = last();
    expect(last()).toMatchObject({ method: "heads", params: { site: "z", pos: 2, parent: [stop("v1", 1, 2)] } });
    await answer("progress_open", (json) =>
      Object.assign(json, { id, open: { ...(json.open as object), request: id } }),
    );
    await answer("lab", (json) => Object.assign(json.lab, { teach: false }));
    const heads = focusCell(el, "detail-grid");
    expect(document.activeElement).toBe(heads);
    expect(part(el, "crumb").textContent).toBe("resid_pre›layer 1 at ·to (2) › heads");
    press(heads, "Enter");
    expect(last()).toMatchObject({ method: "attention", params: { layer: 1, head: 0, pos: 2 } });
    press(heads, "Escape");
    expect(last()).toMatchObject({ method: "show", params: { view: "v1" } });
    expect(document.activeElement).toBe(main);
  });

  it("go to the prompts by a slash", async () => {
    const el = view();
    await receive("hello", "result");
    press(focusCell(el, "grid"), "/");
    expect(document.activeElement).toBe(part(el, "edit-clean"));
    press(part(el, "edit-clean"), "Escape");
    expect(part(el, "edit-clean").closest<HTMLElement>("[role=group]")?.hidden).toBe(true);
  });

  it("select with the space bar and with Shift", async () => {
    const el = view();
    await receive("hello", "result");
    const cell = focusCell(el, "grid");
    press(cell, " ");
    expect(last()).toMatchObject({ method: "select", params: { cells: [{ site: "resid_pre", layer: 1, pos: 0 }] } });
    await frame();
    expect(cell.getAttribute("aria-selected")).toBe("true");
    press(cell, "ArrowRight", { shiftKey: true });
    press(cell, "ArrowDown", { shiftKey: true });
    expect((last().params.cells as unknown[]).length).toBe(4);
    await frame();
    press(cell, "Escape");
    expect(last()).toMatchObject({ method: "select", params: { cells: [] } });
  });
});
