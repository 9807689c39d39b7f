/** The anywidget module of the steering panel: one connection and one store for each widget, any number of views of it. */
import type { Initialize, Render } from "@anywidget/types";
import type { Connection } from "../transport/connection";
import { connect } from "../transport/host";
import { Views } from "../transport/presence";
import { Store } from "../transport/store";
import { makeActions } from "./actions";
import type { FromKernel } from "./messages";
import { initialState, type SteerState, steerTalk } from "./state";
import { mountPanel } from "./view/app";

// A function, because hosts may share the module between widgets: nothing may live at module level.
export default function steerLab() {
  const store = new Store<SteerState>(initialState);
  const views = new Views();
  let connection: Connection<SteerState, FromKernel> | null = null;

  const initialize: Initialize = ({ model, signal }) => {
    connection = connect(model, store, steerTalk, views, signal);
  };

  const render: Render = ({ el, signal }) => {
    const life = new AbortController();
    signal.addEventListener("abort", () => life.abort(), { once: true });
    views.add(life.signal);
    mountPanel(
      el,
      store,
      makeActions(store, () => connection),
      life.signal,
    );
    return () => life.abort();
  };

  return { initialize, render };
}
