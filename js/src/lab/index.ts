/** The anywidget module: one connection and one store for each widget, any number of views of it. */
import type { Initialize, Render } from "@anywidget/types";
import type { Connection } from "../transport/connection";
import { connect } from "../transport/host";
import { Views } from "../transport/presence";
import { Store } from "../transport/store";
import { makeActions } from "./actions";
import { initialState, type LabState, labTalk } from "./state";
import { hidePicture } from "./static-image";
import { mountApp } from "./view/app";

// A function, because hosts may share the module between widgets: nothing may live at module level.
export default function patchLab() {
  const store = new Store<LabState>(initialState);
  const views = new Views();
  let connection: Connection<LabState> | null = null;

  const initialize: Initialize = ({ model, signal }) => {
    connection = connect(model, store, labTalk, views, signal);
  };

  const render: Render = ({ el, signal }) => {
    const life = new AbortController();
    signal.addEventListener("abort", () => life.abort(), { once: true });
    views.add(life.signal);
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
