/** The anywidget module: one connection and one store for each widget, any number of views of it. */
import type { AnyModel, Initialize, Render } from "@anywidget/types";
import { makeActions } from "./actions";
import { Connection } from "./connection";
import { hidePicture } from "./picture";
import { initialState, type LabState } from "./state";
import { Store } from "./store";
import { readStored } from "./stored";
import { mountApp } from "./view/app";

// A function, because hosts may share the module between widgets: nothing may live at module level.
export default function patchLab() {
  const store = new Store<LabState>(initialState);
  let connection: Connection | null = null;

  // Must return at once: until it has, no message reaches the page.
  const initialize: Initialize = ({ model, signal }) => {
    const mine = new Connection((message) => model.send(message), store);
    connection = mine;
    const stored = readStored(model.get("stored"));
    if (stored) mine.restore(stored.content, stored.buffers);
    listen(model, mine, signal);
    mine.start(signal);
  };

  const render: Render = ({ el, signal }) => {
    const life = new AbortController();
    signal.addEventListener("abort", () => life.abort(), { once: true });
    mountApp(
      el,
      store,
      makeActions(store, () => connection),
      life.signal,
    );
    hidePicture(el, store, life.signal);
    return () => life.abort();
  };

  return { initialize, render };
}

function listen(model: AnyModel, connection: Connection, signal: AbortSignal): void {
  const message = (content: unknown, buffers: DataView[]) => connection.receive(content, buffers);
  // Jupyter's widget models tell in this way that their comm has closed; other hosts never send it
  const closed = () => connection.close();
  model.on("msg:custom", message);
  model.on("comm_live_update", closed);
  signal.addEventListener(
    "abort",
    () => {
      model.off("msg:custom", message);
      model.off("comm_live_update", closed);
    },
    { once: true },
  );
}
