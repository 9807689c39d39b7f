"""The work behind each view, as generators that yield between batches: what the runner steps through."""

import time
from collections.abc import Generator
from typing import Any

from .session import Session
from .views import AttentionView, GridView

RANKS = {"attention": 0, "heads": 1, "main": 2}
"""The finer the question, the sooner it is answered: it is the one just asked, and the quickest."""


def measure_main(session: Session, view: GridView) -> Generator[None, None, None]:
    """Both runs, then the lab's own sweep."""
    session.know_baselines(session.experiment.baselines)
    yield
    yield from _fill(session, view, session.experiment.start(session.site))


def measure_heads(session: Session, view: GridView) -> Generator[None, None, None]:
    """`z` of every head of every layer at the view's position."""
    yield from _fill(session, view, session.experiment.start("z", positions=[view.pos]))


def read_attention(session: Session, view: AttentionView) -> Generator[None, None, None]:
    """One row of attention in both runs."""
    session.complete(view, session.experiment.attention(view.layer, view.head, view.pos))
    yield from ()


def _fill(session: Session, view: GridView, sweep: Any) -> Generator[None, None, None]:
    pace = Pace()
    try:
        resumed = time.perf_counter()
        for batch in sweep:
            pace.count(len(batch.index), time.perf_counter() - resumed)
            session.advance(view, sweep, batch.index, pace.seconds_left(view.total - sweep.done))
            yield
            resumed = time.perf_counter()
    finally:
        sweep.close()
    session.complete(view, sweep.result)


class Pace:
    """How long the rest will take, from what the batches so far took.

    The first batch does not count: it may be cells that are known without computing, and it pays for what is prepared once.
    """

    def __init__(self) -> None:
        self._batches = 0
        self._cells = 0
        self._seconds = 0.0

    def count(self, cells: int, seconds: float) -> None:
        """A batch of so many cells took so many seconds, without the time others had the model."""
        self._batches += 1
        if self._batches > 1:
            self._cells += cells
            self._seconds += seconds

    def seconds_left(self, cells: int) -> float | None:
        """Seconds for so many cells more; None while unknown."""
        return self._seconds / self._cells * cells if self._cells else None
