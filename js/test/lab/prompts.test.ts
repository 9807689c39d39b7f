/** Prompts that are typed into a lab, on a page without pixels. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { answer, begin, end, last, part, press, receive, sent, type, view } from "./page";

beforeEach(() => begin());
afterEach(end);

describe("typed prompts", () => {
  it("are previewed after a pause, with what is wrong under the field", async () => {
    const el = view();
    await receive("hello", "result");
    part(el, "edit").click();
    type(part(el, "edit-corrupted"), "A Mary Ann");
    type(part(el, "edit-corrupted"), "A Mary Ann to");
    await vi.waitFor(() => expect(last().params).toMatchObject({ corrupted: "A Mary Ann to" }), 5000);
    const previews = sent.filter((message) => message.type === "request" && message.method === "preview");
    expect(previews).toHaveLength(2); // on opening, and after the pause
    expect(last().params).toMatchObject({ corrupted: "A Mary Ann to", answer: " Mary", distractor: " John" });
    await answer("preview", (json) => Object.assign(json, { id: last().id }));
    expect(part(el, "error").textContent).toContain("2 tokens");
    expect(part(el, "grid").dataset.view).toBe("v1");
  });

  it("are measured with Enter, and refused where they stand", async () => {
    const el = view();
    await receive("hello", "result");
    part(el, "edit").click();
    type(part(el, "edit-answer"), " Maryann");
    press(part(el, "edit-answer"), "Enter");
    expect(last()).toMatchObject({ method: "set_pair", params: { answer: " Maryann" } });
    await answer("error_field", (json) => Object.assign(json, { id: last().id }));
    expect(part(el, "error").textContent).toContain("2 tokens");
    expect(part(el, "edit-answer").getAttribute("aria-invalid")).toBe("true");
  });

  it("offer what the model expects in place of an answer that is left from other prompts", async () => {
    const el = view();
    await receive("hello", "result");
    part(el, "edit").click();
    const use = part(el, "edit-likelier");
    expect(use.parentElement?.hidden).toBe(true);
    await answer("preview_top", (json) => Object.assign(json, { id: last().id }));
    expect(use.parentElement?.textContent).toBe(
      "After these prompts the model hardly expects ' Ann' or ' Tom'. use ·Mary / ·John",
    );
    use.click();
    press(part(el, "edit-clean"), "Enter");
    expect(last()).toMatchObject({ method: "set_pair", params: { answer: 7, distractor: 8 } });
  });

  it("may have an answer chosen from the model's own tokens", async () => {
    const el = view();
    await receive("hello", "result");
    part(el, "edit").click();
    await answer("preview_top", (json) => Object.assign(json, { id: last().id }));
    const [first] = part(el, "top-tokens").querySelectorAll("button");
    part(el, "edit-distractor").focus();
    first?.click();
    press(part(el, "edit-distractor"), "Enter");
    expect(last().params).toMatchObject({ answer: " Mary", distractor: 7 });
  });
});
