"""Who has work done on a model: a widget as the worker knows it, and for whom it waits."""

import threading
import time
from collections.abc import Callable
from typing import Any, Optional

from .presence import Presence
from .protocol import Message

PATIENCE = 0.5
"""Seconds of waiting that are not worth a word: a click elsewhere takes less."""

About = tuple[str, float | None]
"""What somebody's work is about, in some words; and the share of it that is done, None where that can't be told."""


class Asker:
    """One of those who share a model; safe in any thread.

    Attributes:
        name: the widget's id.
        about: tells what is being measured.
        stop: ends it; what is done is kept.
        presence: who looks at the widget.
    """

    def __init__(
        self,
        about: Callable[[], About],
        stop: Callable[[], Any],
        tell: Callable[[Message | None, str | None], Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tell` is given what is ahead, as `protocol.md` has it, whenever that changes; and the request that is answered so, if it is one."""
        self.name, self.about, self.stop, self.presence = "", about, stop, Presence(clock)
        self._tell, self._clock = tell, clock
        self._lock = threading.Lock()
        self._since: float | None = None
        self._ahead: Message | None = None

    def wait_for(self, other: Optional["Asker"]) -> None:
        """Its jobs stand still while another's go on; None where they go on themselves, or there are no more."""
        now = self._clock()
        if other is None:
            self._since = None
            self._set(None)
        elif self._since is None:
            self._since = now
        elif now - self._since >= PATIENCE:
            words, share = other.about()
            self._set({"lab": other.name, "name": words, "percent": None if share is None else int(100 * share)})

    def repeat(self, request: str | None = None) -> None:
        """Tell what is ahead again: in answer to a request, or to a page that has just heard all else and takes nothing to be ahead."""
        with self._lock:
            if request is not None or self._ahead is not None:
                self._tell(self._ahead, request)

    def _set(self, ahead: Message | None) -> None:
        with self._lock:
            if ahead != self._ahead:
                self._ahead = ahead
                self._tell(ahead, None)
