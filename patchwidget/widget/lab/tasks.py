"""What fills a grid: sweeps, each of some of its cells."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Work:
    """A sweep to be started, and the flat places in the grid of its cells in C order.

    `start(plain=True)` gives it without an estimate first, where it has one.
    """

    start: Callable[..., Any]
    places: np.ndarray


class Once:
    """What is computed in one go, looked at as if it were a sweep."""

    most_rows: int | None = None  # no batch of it is waited for

    def __init__(self, compute: Callable[[], Any]) -> None:
        self._compute = compute
        self.result: Any = None

    def __iter__(self) -> Iterator[None]:
        self.result = self._compute()
        yield None

    def close(self) -> None:
        """Nothing is left open."""
