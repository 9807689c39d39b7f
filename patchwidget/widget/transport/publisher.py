"""Everything a widget publishes leaves here, through one thread.

Why one thread, and why the context. ipykernel 7.4 hands each incoming comm message to the shell named in the parent header of what was
*last published* on that comm. The parent header is a context variable; in a thread of ours it is whatever request came last, as a
rule the user's running cell. So a publish from a worker, or a trait set in a cell, would send the next click to the main shell, where it
waits for the cell to end. Published in the context of a message that came to a subshell, it leaves clicks where they are answered at once.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any

from . import protocol

logger = logging.getLogger("patchwidget")

INTERVAL = 0.05
"""Seconds between two messages of a kind that is joined, or whose newest says all."""

RATE, BURST = 500.0, 300.0
"""Messages a second, and how many may go at once: Jupyter's server drops without a word what goes beyond 1,000 a second for three seconds."""


class Publisher:
    """A queue and its thread.

    Messages are numbered (`seq`) as they leave. Cells of a view, and news of the lab, the queue or the selection, go at most once in `interval`
    seconds; everything else at once, in order. The final message of a view, or a snapshot, holds all that waiting cells say and replaces them.
    """

    def __init__(self, send: Callable[[protocol.Message], Any], interval: float = INTERVAL) -> None:
        self._send = send
        self._interval = interval
        self._last = 0
        self._context: Context | None = None
        self._waiting: deque[protocol.Message | Callable[[], Any]] = deque()
        self._paced: dict[str, protocol.Message] = {}
        self._due: dict[str, float] = {}
        self._credit, self._credited = BURST, time.monotonic()
        self._busy = False
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="patchwidget-publisher", daemon=True)
        self._thread.start()

    @property
    def last(self) -> int:
        """The number of the last message that has left."""
        return self._last

    def adopt(self, context: Context) -> None:
        """Publish in this context from now on: that of a received message whose header named a subshell."""
        with self._changed:
            self._context = context

    def post(self, message: protocol.Message) -> None:
        """Number and send a message."""
        with self._changed:
            kind = _paced_kind(message)
            if kind is None:
                self._settle(message)
                self._waiting.append(message)
            elif "cells" in message and kind in self._paced:
                self._paced[kind] = protocol.join(self._paced[kind], message)
            else:
                self._paced[kind] = message
            self._changed.notify_all()

    def call(self, action: Callable[[], Any]) -> None:
        """Do something that publishes, in its turn."""
        with self._changed:
            self._waiting.append(action)
            self._changed.notify_all()

    def drain(self, timeout: float | None = None) -> bool:
        """Wait until all that was posted has left; False if it has not within `timeout` seconds."""
        if threading.current_thread() is self._thread:
            return True
        with self._changed:
            return self._changed.wait_for(lambda: self._closed or not (self._busy or self._waiting or self._paced), timeout)

    def close(self) -> None:
        """Publish nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=1)

    def _settle(self, message: protocol.Message) -> None:
        """What a message that goes at once makes of those that wait."""
        if message["type"] == "hello":
            self._paced.clear()
        elif message["type"] in {"lab", "queue"}:
            self._paced.pop(message["type"], None)
        elif message.get("view") is not None:
            cells = self._paced.pop(message["view"], None)
            if cells is not None and message["type"] == "error":  # an error carries no cells: those already known go before it
                self._waiting.append(cells)
            if "open" in message and message["open"] is None:  # a view that is dropped need not be opened any more
                opened = [m for m in self._waiting if isinstance(m, dict) and m["type"] == "progress" and m["view"] == message["view"]]
                for waiting in opened:
                    self._waiting.remove(waiting)

    def _run(self) -> None:
        while (action := self._next()) is not None:
            try:
                self._context.run(self._perform, action) if self._context else self._perform(action)
            except Exception:
                logger.exception("The widget could not publish something")
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _perform(self, action: protocol.Message | Callable[[], Any]) -> None:
        if callable(action):
            action()
        else:
            self._last += 1
            self._send(action | {"seq": self._last})

    def _next(self) -> protocol.Message | Callable[[], Any] | None:
        """What is to be done next, once its time has come; None at the end."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                self._credit = min(BURST, self._credit + (now - self._credited) * RATE)
                self._credited = now
                kind = min(self._paced, key=lambda kind: self._due.get(kind, 0), default=None)
                if self._credit < 1:
                    self._changed.wait((1 - self._credit) / RATE)
                elif self._waiting:
                    self._busy, self._credit = True, self._credit - 1
                    return self._waiting.popleft()
                elif kind is None:
                    self._changed.wait()
                elif now >= self._due.get(kind, 0):
                    self._busy, self._credit = True, self._credit - 1
                    self._due = {name: due for name, due in self._due.items() if due > now} | {kind: now + self._interval}
                    return self._paced.pop(kind)
                else:
                    self._changed.wait(self._due[kind] - now)
            return None


def _paced_kind(message: protocol.Message) -> str | None:
    """Under what name a message waits for its time; None where it goes at once. A view's cells wait under the view's id."""
    if "cells" in message:
        return message["view"]
    newest_says_all = message["type"] == "selection" or (message["type"] in {"lab", "queue"} and message["id"] is None)
    return message["type"] if newest_says_all else None
