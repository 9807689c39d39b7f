"""A page that a widget talks to: what it has been sent, in order, and what it answers."""

import threading
from collections.abc import Callable
from typing import Any

import comm.base_comm
import numpy as np


class RecordingComm(comm.base_comm.BaseComm):
    """A comm whose other end is a list, `sent`: message type, data, buffers and the thread it left from."""

    def __init__(self, **kwargs):
        self.sent: list[tuple[str, dict, list, str]] = []
        self.news = threading.Condition()
        super().__init__(**kwargs)

    def _reply_subshell_for(self, data, default):
        return "the shell that last published"  # as in ipykernel 7.4

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        with self.news:
            self.sent.append((msg_type, data or {}, buffers or [], threading.current_thread().name))
            self.news.notify_all()


class Page:
    """The other end of a lab: speaks the protocol, and keeps the views as the messages tell them."""

    def __init__(self, lab: Any):
        self.lab, self.comm = lab, lab.comm
        self._requests = 0

    def send(self, **content: Any) -> None:
        message = {"header": {}, "content": {"data": {"method": "custom", "content": {"v": 2, **content}}}, "buffers": []}
        self.lab._handle_msg(message)

    def hello(self, **more: Any) -> None:
        self.send(type="hello", page="p", **more)

    def stand(self, state: str) -> None:
        """Say that the page is visible, hidden or gone."""
        self.send(type="page", page="p", state=state)

    def request(self, method: str, **params: Any) -> str:
        self._requests += 1
        name = f"p-{self._requests}"
        self.send(type="request", id=name, method=method, params=params)
        return name

    def heads(self, layer: int, pos: int, view: str = "v1") -> str:
        """Click a cell of a grid of layers and tokens."""
        return self.request("heads", site="z", pos=pos, parent={"view": view, "row": layer, "col": pos})

    def cancel(self, name: str) -> None:
        self.send(type="cancel", id=name)

    @property
    def messages(self) -> list[dict]:
        """All custom messages so far, with their arrays in place."""
        with self.comm.news:
            sent = list(self.comm.sent)
        return [unpacked(data["content"], buffers) for _, data, buffers, _ in sent if data.get("method") == "custom"]

    def of(self, request: str) -> list[dict]:
        return [message for message in self.messages if message.get("id") == request]

    def until(self, condition: Callable[[], Any]) -> Any:
        """Wait for something that comes with a message."""
        with self.comm.news:
            if not self.comm.news.wait_for(condition, timeout=20.0):
                raise AssertionError(f"it never came; the last messages are {[(m['type'], m.get('id')) for m in self.messages[-5:]]}")
            return condition()

    def over(self, request: str) -> dict:
        """The message that ends a request, once it is there."""
        return self.until(lambda: next((m for m in self.of(request) if m["type"] in {"result", "error"}), None))

    @property
    def views(self) -> dict[str, dict]:
        """The views as a page knows them after all messages, by id."""
        views: dict[str, dict] = {}
        for message in self.messages:
            if message["type"] == "hello":
                views = {view["id"]: view for view in message["views"]}
            elif message.get("open"):
                views[message["view"]] = message["open"]
            if message["type"] in {"hello", "lab"}:
                views = {name: view for name, view in views.items() if name in message["lab"]["views"]}
            if "cells" in message:
                view, cells = dict(views[message["view"]]), message["cells"]
                views[message["view"]] = view
                view |= {"done": message["done"], "seconds_left": message["seconds_left"], "status": "running"}
                size = view["rows"]["size"] * view["cols"]["size"]
                for name, nothing in (("values", np.nan), ("recovery", np.nan), ("state", 0)):
                    view[name] = np.full(size, nothing, ARRAYS[name]) if view[name] is None else view[name].copy()
                    view[name][cells["index"]] = cells[name]
        return views

    @property
    def lab_state(self) -> dict:
        """What the latest message says of the lab."""
        return next(message["lab"] for message in reversed(self.messages) if "lab" in message)

    @property
    def main(self) -> dict:
        """The main grid of the view at hand."""
        return self.views[self.lab_state["way"][0]["view"]]

    def view(self, method: str) -> dict:
        """The latest view that this method has opened."""
        return [view for view in self.views.values() if view["question"]["method"] == method][-1]


ARRAYS = {"index": np.uint32, "values": np.float32, "recovery": np.float32, "state": np.uint8, "significant": np.uint8}


def unpacked(content: dict, buffers: list) -> dict:
    """A message with the arrays where its JSON names their numbers."""

    def read(name: str, value: Any) -> Any:
        if isinstance(value, dict) and value.get("kind") == "attention":
            rows = {
                name: value[name] if value[name] is None else np.frombuffer(buffers[value[name]], "<f4") for name in ("clean", "corrupted")
            }
            return {**value, **rows}
        if isinstance(value, dict):
            return {key: read(key, item) for key, item in value.items()}
        if isinstance(value, list):
            return [read("", item) for item in value]
        return np.frombuffer(buffers[value], ARRAYS[name]) if name in ARRAYS and value is not None else value

    return {key: read("", value) if key in {"open", "cells", "views"} else value for key, value in content.items()}
