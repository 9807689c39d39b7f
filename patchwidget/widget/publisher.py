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

PROGRESS_INTERVAL = 0.05
"""Seconds between two progress messages: what comes faster is joined."""


class Publisher:
    """A queue and its thread.

    Messages are numbered (`seq`) as they leave. Progress goes at most once in `interval` seconds; everything else at once, in order. The
    final message of a view, or a snapshot, holds all that waiting progress says and replaces it.
    """

    def __init__(self, send: Callable[[protocol.Message], Any], interval: float = PROGRESS_INTERVAL) -> None:
        self._send = send
        self._interval = interval
        self._last = 0
        self._context: Context | None = None
        self._waiting: deque[Callable[[], Any]] = deque()
        self._progress: dict[str, protocol.Message] = {}
        self._progress_due = 0.0
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
            if message["type"] == "progress":
                earlier = self._progress.get(message["view"])
                self._progress[message["view"]] = protocol.join(earlier, message) if earlier else message
            else:
                self._settle_progress(message)
                self._waiting.append(lambda: self._number_and_send(message))
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
            return self._changed.wait_for(lambda: self._closed or not (self._busy or self._waiting or self._progress), timeout)

    def close(self) -> None:
        """Publish nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=1)

    def _settle_progress(self, message: protocol.Message) -> None:
        if message["type"] == "hello":
            self._progress.clear()
        elif message["type"] == "result":
            self._progress.pop(message["view"], None)
        elif message["view"] in self._progress:  # an error carries no cells: those already known go before it
            cells = self._progress.pop(message["view"])
            self._waiting.append(lambda: self._number_and_send(cells))

    def _number_and_send(self, message: protocol.Message) -> None:
        self._last += 1
        self._send(message | {"seq": self._last})

    def _run(self) -> None:
        while (action := self._next()) is not None:
            try:
                self._context.run(action) if self._context else action()
            except Exception:
                logger.exception("The widget could not publish something")
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()

    def _next(self) -> Callable[[], Any] | None:
        """What is to be done next, once its time has come; None at the end."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                if self._waiting:
                    self._busy = True
                    return self._waiting.popleft()
                if self._progress and now >= self._progress_due:
                    self._busy = True
                    self._progress_due = now + self._interval
                    message = self._progress.pop(next(iter(self._progress)))
                    return lambda: self._number_and_send(message)
                self._changed.wait(self._progress_due - now if self._progress else None)
            return None
