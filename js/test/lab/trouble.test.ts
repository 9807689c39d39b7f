/** A lab whose kernel reports trouble, or is not there, on a page without pixels. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { stored } from "../fixtures";
import {
  answer,
  begin,
  choose,
  end,
  focusCell,
  frame,
  type Json,
  life,
  listeners,
  part,
  press,
  receive,
  sent,
  view,
} from "./page";

beforeEach(() => begin());
afterEach(end);

describe("trouble", () => {
  it("is told as a sentence with its hint, and the grid stays", async () => {
    const el = view();
    await receive("hello", "result", "progress_open", "lab", "error");
    expect(part(el, "error").getAttribute("role")).toBe("alert");
    expect(part(el, "error").textContent).toBe(
      "Layer 99 does not exist: this model has layers 0 to 1. Choose a layer from 0 to 1.",
    );
    expect(part(el, "grid").dataset.view).toBe("v1");
  });

  it("of a check is a banner", async () => {
    const el = view();
    await receive("hello");
    await answer("result", (json) => {
      const check = (json.open as { checks: { ok: boolean; value: number; text: string }[] }).checks[0];
      if (check) [check.ok, check.value, check.text] = [false, 0.03, "Nothing changes."];
    });
    const told = part(el, "check-failed").textContent;
    expect(told).toContain("identity 0.030 (limit 1e−4)");
    expect(told).not.toContain("..");
  });

  it("of the kernel is told with the line to run again", async () => {
    const el = view();
    await answer("hello", (json) => Object.assign(json.views[0], { code: "exp = ..." }));
    for (const closed of listeners.get("comm_live_update") ?? []) closed(undefined, []);
    await frame();
    expect(part(el, "error").textContent).toContain("kernel is gone");
    expect(part(el, "rerun").textContent).toBe("exp = ...");
    expect((part(el, "run") as HTMLButtonElement).disabled || part(el, "run").hidden).toBe(true);
    const count = sent.length;
    press(focusCell(el, "grid"), "Enter");
    expect(sent).toHaveLength(count);
  });
});

describe("without a kernel", () => {
  beforeEach(() => {
    end();
    begin(stored);
  });

  it("the stored grid is there, and can be looked at", async () => {
    const el = view();
    await frame();
    expect(part(el, "root").dataset.link).toBe("stored");
    expect(part(el, "status").textContent).toBe("saved · 6 cells");
    const cell = focusCell(el, "grid");
    press(cell, "End");
    expect(cell.getAttribute("aria-label")).toContain("recovery 0.95");
    expect(part(el, "run").hidden).toBe(true);
    expect(part(el, "edit").hidden).toBe(true);
  });

  it("the still picture of it is hidden, for as long as it is there", async () => {
    const rule = () => [...document.head.querySelectorAll("style")].map((style) => style.textContent).join();
    const el = view();
    await frame();
    const { id } = (stored as Json).content.lab;
    expect(rule()).toContain(`.patchwidget-picture[data-lab="${CSS.escape(id)}"]`);
    expect(part(el, "root").checkVisibility()).toBe(true);
    life.abort();
    expect(rule()).toBe("");
  });

  it("nothing is asked of anybody but for a kernel", async () => {
    const el = view();
    await frame();
    press(focusCell(el, "grid"), "Enter");
    choose(part(el, "direction"), "noise");
    expect(sent.every(({ type }) => type === "hello" || type === "page")).toBe(true);
  });

  it("gives way to a kernel that answers", async () => {
    const el = view();
    await receive("hello");
    expect(part(el, "root").dataset.link).toBe("live");
    expect(part(el, "status").textContent).toContain("2 of 6 exact");
  });
});
