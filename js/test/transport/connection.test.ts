import { beforeEach, describe, expect, it } from "vitest";
import type { GridView } from "../../src/lab/messages";
import { initialState, type LabState, labTalk } from "../../src/lab/state";
import { Connection } from "../../src/transport/connection";
import type { FromPage, PageState } from "../../src/transport/messages";
import { readStored } from "../../src/transport/saved-state";
import { Store } from "../../src/transport/store";
import { fromPage, stored, wire } from "../fixtures";

let sent: FromPage[];
let time: number;
let store: Store<LabState>;
let connection: Connection<LabState>;
let looks: PageState;
const hellos = () => sent.filter((message) => message.type === "hello");
const receive = (name: string, changes = {}) => connection.receive(...wire(name, changes));
const ticks = (n: number) => {
  for (let i = 0; i < n; i++) {
    time += 500;
    connection.tick();
  }
};

beforeEach(() => {
  [sent, time, store, looks] = [[], 0, new Store(initialState), "visible"];
  connection = new Connection(
    (message) => sent.push(message),
    store,
    labTalk,
    () => time,
    () => looks,
  );
});

describe("hello", () => {
  it("is said again at each tick until the first answer", () => {
    ticks(20);
    expect(hellos()).toHaveLength(20);
    expect(hellos().every((hello) => !("known" in hello))).toBe(true);
  });

  it("has the form of the protocol", () => {
    ticks(1);
    expect({ ...sent[0], page: "p7f3a" }).toEqual(fromPage.hello);
  });

  it("is said on for a while after the answer, naming what is known, and then no more", () => {
    receive("hello");
    ticks(40);
    expect(hellos().length).toBeGreaterThan(5);
    expect(hellos().length).toBeLessThan(15);
    expect(hellos().every((hello) => hello.known === 1)).toBe(true);
  });

  it("is said less often to a kernel that stays silent", () => {
    ticks(40);
    const early = hellos().length;
    ticks(40);
    expect(hellos().length - early).toBe(10);
  });
});

describe("numbers", () => {
  beforeEach(() => {
    receive("hello");
    ticks(20);
    sent = [];
  });

  it("in a row need no hello", () => {
    receive("progress_cells", { seq: 2 });
    receive("result", { seq: 3 });
    ticks(4);
    expect(sent).toEqual([]);
  });

  it("with a gap ask for everything, until it has come", () => {
    receive("progress_cells", { seq: 4 });
    expect(hellos()).toEqual([expect.not.objectContaining({ known: expect.anything() })]);
    receive("result", { seq: 9 });
    expect(hellos()).toHaveLength(1);
    ticks(2);
    expect(hellos()).toHaveLength(3);
    receive("hello", { seq: 10 });
    ticks(4);
    expect(hellos()).toHaveLength(3);
    receive("progress_cells", { seq: 11 });
    expect(hellos()).toHaveLength(3);
  });

  it("that go back are a gap too", () => {
    receive("progress_cells", { seq: 1 });
    expect(hellos()).toHaveLength(1);
  });
});

describe("how the page stands", () => {
  const states = () => sent.flatMap((message) => (message.type === "page" ? [message.state] : []));
  const settled = () => {
    ticks(20);
    sent = [];
  };

  it("is in a hello, in the form of the protocol", () => {
    receive("hello", { seq: 7 });
    looks = "hidden";
    ticks(1);
    expect({ ...sent[0], page: "p7f3a" }).toEqual(fromPage.hello_hidden);
  });

  it("is told at once when it changes, and once", () => {
    receive("hello");
    settled();
    looks = "gone";
    connection.look();
    expect(sent.map((message) => ({ ...message, page: "p7f3a" }))).toEqual([fromPage.page]);
    ticks(1);
    looks = "visible";
    ticks(1);
    expect(states()).toEqual(["gone", "visible"]);
  });

  it("is said from time to time while a visible lab is measured or waits, and only then", () => {
    receive("hello");
    settled();
    ticks(40);
    expect(states()).toEqual(["visible", "visible", "visible", "visible"]);
    receive("result", { seq: 2 });
    sent = [];
    ticks(40);
    expect(sent).toEqual([]);
    receive("queue", { seq: 3 });
    ticks(10);
    expect(states()).toEqual(["visible"]);
    looks = "hidden";
    ticks(40);
    expect(states()).toEqual(["visible", "hidden"]);
  });

  it("is not told to a kernel that is gone", () => {
    receive("hello");
    connection.close();
    looks = "gone";
    connection.look();
    expect(sent).toEqual([]);
  });
});

describe("requests", () => {
  beforeEach(() => {
    receive("hello");
    sent = [];
  });

  it("have the form of the protocol, and ids that are used once", () => {
    const asked = ["heads", "set", "set_pair", "select", "pin"].map((name) => fromPage[name]);
    for (const message of asked) {
      connection.request({ method: message?.method ?? "", params: { ...message?.params } });
    }
    const ids = sent.map((message) => (message as { id: string }).id);
    expect(sent.map((message, i) => ({ ...message, id: asked[i]?.id }))).toEqual(asked);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it("are cancelled by their id", () => {
    connection.cancel("p7f3a-9");
    expect(sent).toEqual([fromPage.cancel]);
  });

  it("that stay unanswered for some seconds are told, until something comes", () => {
    ticks(20);
    connection.request({ method: "heads", params: { site: "z", pos: 2 } });
    ticks(5);
    expect(store.state.silent).toBe(false);
    ticks(3);
    expect(store.state.silent).toBe(true);
    receive("progress_cells", { seq: 2 });
    expect(store.state.silent).toBe(false);
  });

  it("are none, and silence is no news", () => {
    ticks(60);
    expect(store.state.silent).toBe(false);
  });
});

describe("trouble", () => {
  it("in a message is told, and the next message is read", () => {
    receive("hello");
    connection.receive({ v: 2, type: "gossip" }, []);
    expect(store.state.problems.page?.message).toContain("could not be read");
    receive("progress_cells");
    expect((store.state.views.get("v1") as GridView).done).toBe(4);
  });

  it("with a closed connection is told, and nothing more is sent", () => {
    receive("hello");
    connection.close();
    ticks(5);
    expect(store.state.link).toBe("lost");
    expect(store.state.problems.page?.message).toContain("kernel is gone");
    expect(store.state.views.has("v1")).toBe(true);
    expect(sent).toEqual([]);
  });

  it("in sending is a closed connection", () => {
    connection = new Connection(
      () => {
        throw new Error("Comm is closed");
      },
      store,
      labTalk,
    );
    connection.request({ method: "sweep", params: {} });
    expect(store.state.link).toBe("lost");
    expect(store.state.open).toEqual({});
  });
});

describe("what was kept", () => {
  const restore = () => {
    const kept = readStored(stored);
    if (kept) connection.restore(kept.content, kept.buffers);
  };

  it("is shown until the kernel answers", () => {
    restore();
    expect(store.state.link).toBe("stored");
    expect(store.state.views.has("v1")).toBe(true);
    receive("hello");
    expect(store.state.link).toBe("live");
  });

  it("needs no kernel: no silence, and no loss", () => {
    restore();
    ticks(20);
    connection.close();
    expect(store.state).toMatchObject({ link: "stored", silent: false, problems: {} });
  });

  it("does not take the place of what the kernel has told", () => {
    receive("hello");
    restore();
    expect(store.state.link).toBe("live");
  });
});
