"""Who looks at a widget: its pages, as they tell, and threads that wait for it. What nobody looks at yields to what somebody does."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

LEASE = 20.0
"""Seconds for which a page that was visible counts as visible: while its widget has work, it says every 5 that it still is."""

_asks = itertools.count(1)


class Standing(StrEnum):
    """How a page stands, or the best of several: the earlier in this list, the sooner its widget's work is done."""

    VISIBLE = "visible"
    HIDDEN = "hidden"
    GONE = "gone"

    @property
    def rank(self) -> int:
        return list(Standing).index(self)


class Presence:
    """The pages of one widget; safe in any thread.

    Attributes:
        asked: higher the later the widget was made, displayed or asked for something, over all widgets.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._pages: dict[str, tuple[Standing, float]] = {}
        self._waiting = 0
        self.asked, self._asked_at, self._expected = 0, 0.0, False
        self.show()

    def show(self) -> None:
        """It is displayed: until a page tells of itself, one is on its way."""
        self.ask()
        with self._lock:
            self._expected = True

    def ask(self) -> None:
        """Somebody wants something of it."""
        with self._lock:
            self.asked, self._asked_at = next(_asks), self._clock()

    def hear(self, page: str, standing: Standing | None = None) -> None:
        """A page says how it stands; or (None) something else, so that it is still there."""
        with self._lock:
            known, _ = self._pages.pop(page, (Standing.VISIBLE, 0.0))
            self._expected = False
            if standing is None:
                standing = known
            if standing != Standing.GONE:
                self._pages[page] = (standing, self._clock())

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """As long as a thread waits for the widget, that counts as a page."""
        self.ask()
        with self._lock:
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1

    @property
    def standing(self) -> Standing:
        """The best of its pages'."""
        with self._lock:
            return min(self._standings(), key=lambda standing: standing.rank, default=Standing.GONE)

    def _standings(self) -> Iterator[Standing]:
        now = self._clock()
        if self._waiting or (self._expected and now - self._asked_at <= LEASE):
            yield Standing.VISIBLE
        for standing, heard in self._pages.values():
            lapsed = standing == Standing.VISIBLE and now - max(heard, self._asked_at) > LEASE
            yield Standing.GONE if lapsed else standing
