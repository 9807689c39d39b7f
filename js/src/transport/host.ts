/** Ties a widget model of the host to a connection. */
import type { AnyModel } from "@anywidget/types";
import { Connection, type Linked, type Talk } from "./connection";
import type { Views } from "./presence";
import { readStored } from "./saved-state";
import type { Store } from "./store";

/** Returns at once: until `initialize` has, no message reaches the page. */
export function connect<S extends Linked, M extends { type: string; seq: number }>(
  model: AnyModel,
  store: Store<S>,
  talk: Talk<S, M>,
  views: Views,
  signal: AbortSignal,
): Connection<S, M> {
  const connection = new Connection(
    (message) => model.send(message),
    store,
    talk,
    undefined,
    () => views.look(),
  );
  const stored = readStored(model.get("stored"));
  if (stored) connection.restore(stored.content, stored.buffers);
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
  connection.start(signal);
  views.changed = () => connection.look();
  views.watch(signal);
  return connection;
}
