import { beforeEach, describe, expect, it, vi } from "vitest";
import { Views } from "../../src/transport/presence";

const show = (state: "visible" | "hidden") => {
  vi.spyOn(document, "visibilityState", "get").mockReturnValue(state);
  document.dispatchEvent(new Event("visibilitychange"));
};

describe("the views of a widget on a page", () => {
  let views: Views;
  let heard: string[];
  let life: AbortController;
  beforeEach(() => {
    [views, heard, life] = [new Views(), [], new AbortController()];
    views.changed = () => heard.push(views.look());
    views.watch(life.signal);
    return () => {
      life.abort();
      vi.restoreAllMocks();
    };
  });

  it("make it visible for as long as there is one", () => {
    expect(views.look()).toBe("gone");
    const [one, other] = [new AbortController(), new AbortController()];
    views.add(one.signal);
    views.add(other.signal);
    one.abort();
    other.abort();
    expect(heard).toEqual(["visible", "visible", "visible", "gone"]);
  });

  it("are hidden with their tab", () => {
    views.add(life.signal);
    show("hidden");
    show("visible");
    expect(heard).toEqual(["visible", "hidden", "visible"]);
  });

  it("are gone when the page is left, until it is come back to", () => {
    views.add(life.signal);
    window.dispatchEvent(new Event("pagehide"));
    expect(views.look()).toBe("gone");
    window.dispatchEvent(new Event("pageshow"));
    expect(heard).toEqual(["visible", "gone", "visible"]);
  });
});
