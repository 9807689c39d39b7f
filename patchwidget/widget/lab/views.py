"""What a lab shows: grids of cells and attention, and the descriptors that tell the page about them.

A view keeps plain arrays, taken from results as they come, so that a snapshot can be made at any time and in any thread.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from patchwidget.errors import PatchError
from patchwidget.experiments.results.data import EXACT, NOT_MEASURABLE, PENDING
from patchwidget.runs.checks import changed_check
from patchwidget.widget.transport.protocol import Message

from .experiment_pool import Question
from .pair_means import TOLD_LATER, mean_so_far
from .tasks import Work

FINAL = (EXACT, NOT_MEASURABLE)
_COORDINATE = {"kv_head": "head", "dest_pos": "pos"}


@dataclass(frozen=True)
class Axis:
    """One side of a grid.

    Attributes:
        name: of the coordinate.
        size: how many rows or columns there are.
        values: the coordinates; None for 0 to size - 1.
        labels: their texts; None where the values say it themselves.
    """

    name: str
    size: int
    values: tuple[Any, ...] | None = None
    labels: tuple[str, ...] | None = None

    def value(self, place: int) -> Any:
        """The coordinate of a row or column."""
        return place if self.values is None else self.values[place]

    def place(self, value: Any) -> int | None:
        """The row or column of a coordinate, if it is there."""
        if self.values is not None:
            return self.values.index(value) if value in self.values else None
        return value if isinstance(value, int) and 0 <= value < self.size else None

    def descriptor(self) -> Message:
        return {
            "axis": self.name,
            "size": self.size,
            "labels": None if self.labels is None else list(self.labels),
            "values": None if self.values is None else list(self.values),
        }


@dataclass(kw_only=True)
class View:
    """What all views have in common; `request` is the id of the request that fills it, `parent` the cell at which it was first asked for."""

    id: str
    question: Question
    title: str
    crumb: str
    explain: str
    steps: list[Message]
    code: str = ""
    request: str | None = None
    parent: Message | None = None
    status: str = "queued"
    done: int = 0
    total: int = 1
    shape: tuple[int, int] = (0, 0)
    seconds_left: float | None = None

    @property
    def live(self) -> bool:
        """Whether it is still to be filled."""
        return self.status in {"queued", "running"}

    @property
    def known(self) -> bool:
        """Whether anything of it is known."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """Bytes of its arrays."""
        raise NotImplementedError

    def check_cell(self, row: int | None, col: int | None) -> None:
        """PatchError where it has no such cell; either may be None."""
        for place, size in zip((row, col), self.shape, strict=True):
            if place is not None and not 0 <= place < size:
                raise PatchError(f"{self.title} has no cell in row {row} and column {col}.", "Choose a cell of the grid.")

    def keep(self, earlier: Any) -> None:
        """Show what the same view knew `earlier`, until it is measured again."""
        raise NotImplementedError

    def doubt(self) -> None:
        """The model has changed since this was measured."""
        raise NotImplementedError

    def end(self, status: str) -> None:
        """It is `done`, `cancelled` or `failed`."""
        self.status, self.seconds_left = status, 0 if status == "done" else None

    def descriptor(self, *, kept: bool = False) -> Message:
        """All that the page needs to draw it; arrays stand in place, or None where nothing is known or they are `kept` back."""
        raise NotImplementedError

    def _common(self, kind: str, *, kept: bool) -> Message:
        question, setting = self.question, self.question.setting
        return {
            "id": self.id,
            "kind": kind,
            "question": {"method": question.method, "params": dict(question.params)},
            "request": self.request,
            "pair": setting.pair,
            "site": setting.site,
            "metric": setting.metric,
            "direction": setting.direction,
            "title": self.title,
            "crumb": self.crumb,
            "explain": self.explain,
            "parent": self.parent,
            "status": self.status,
            "steps": self.steps,
            "code": self.code,
            "kept": kept and self.known,
        }


@dataclass(kw_only=True)
class GridView(View):
    """Cells in rows and columns, each with a raw metric, a recovery and a state; all arrays are flat, rows x columns in C order.

    Attributes:
        patch: the coordinates that all cells share; None where cells are not patches.
        pairs: how many prompt pairs it is the mean of; None where it is of one.
        recorded: of how many of these both runs have been recorded: no cell is known before all are. None before that begins.
        work: what fills it.
        result: the latest PatchResult that filled it, if one alone does; with an axis `pair` where it is of several.
        significant: uint8, which cells are not by chance; None where that can't be told, or holds for none.
        outlined: what `significant` means, or why there is none.

    A cell that is final stays as it is until it is final anew, so that measuring again loses nothing.
    """

    rows: Axis
    cols: Axis
    patch: Message | None
    pairs: int | None = None
    recorded: int | None = None
    work: Sequence[Work] = ()
    result: Any = None
    significant: np.ndarray | None = None
    numbers: Message = field(default_factory=lambda: {"clean": None, "corrupted": None, "noise_floor": None, "reason": None, "checks": []})

    def __post_init__(self) -> None:
        self.shape = (self.rows.size, self.cols.size)
        self.total = self.rows.size * self.cols.size
        self.values = np.full(self.total, np.nan, np.float32)
        self.recovery = np.full(self.total, np.nan, np.float32)
        self.state = np.full(self.total, PENDING, np.uint8)
        self.outlined = TOLD_LATER if self.pairs else ""
        self._final = np.zeros(self.total)  # of each cell the share of the pairs
        self._checks: list[Message] = []  # of this measurement
        self._before: GridView | None = None  # all that was known, where all was

    @property
    def axes(self) -> tuple[tuple[str, int], ...]:
        """Name and size of both."""
        return tuple((axis.name, axis.size) for axis in (self.rows, self.cols))

    @property
    def known(self) -> bool:
        return bool(self.state.any())

    @property
    def size(self) -> int:
        return self.values.nbytes + self.recovery.nbytes + self.state.nbytes + (0 if self.significant is None else self.significant.nbytes)

    def know(self, baselines: Any) -> None:
        """Take over what both runs measure without a patch."""
        self.numbers |= {"clean": baselines.clean, "corrupted": baselines.corrupted}

    def absorb(self, result: Any, places: np.ndarray) -> np.ndarray:
        """Take over what a PatchResult, finished or not, knows of the cells at these places; the places of those that are new or better known."""
        final = np.isin(result.state, FINAL)
        shown = mean_so_far(result) if self.pairs else result
        state, values, recovery = (
            np.asarray(array, dtype).ravel()
            for array, dtype in ((shown.state, np.uint8), (shown.values, np.float32), (shown.recovery, np.float32))
        )
        better = (state != PENDING) & (np.isin(state, FINAL) | ~np.isin(self.state[places], FINAL))
        same = (state == self.state[places]) & ((values == self.values[places]) | np.isnan(values))
        self.values[places] = np.where(better, values, self.values[places])
        self.recovery[places] = np.where(better, recovery, self.recovery[places])
        self.state[places] = np.where(better, state, self.state[places])
        self._final[places] = (final.mean(0) if self.pairs else final).ravel()
        self.done = int(self._final.sum() + 1e-6)
        self._checks = _worst(self._checks, shown.checks)
        self.numbers = {
            "clean": shown.clean,
            "corrupted": shown.corrupted,
            "noise_floor": shown.noise_floor,
            "reason": shown.reason,
            "checks": self._checks or self.numbers["checks"],
        }
        return np.sort(places[better & ~same])

    def take(self, result: Any) -> None:
        """The latest PatchResult of its one sweep; while it is measured again, the whole one of before is kept until there is another."""
        if self._before is None or result.complete:
            self.result = result

    def keep(self, earlier: "GridView") -> None:
        self.values, self.recovery, self.state = earlier.values.copy(), earlier.recovery.copy(), earlier.state.copy()
        self.numbers, self.significant, self.result = dict(earlier.numbers), earlier.significant, earlier.result
        if earlier.status == "done":
            self._before, self.outlined = earlier, earlier.outlined

    def end(self, status: str) -> None:
        """Where it had been measured before, and is not this time, that holds again."""
        if status != "done" and self._before is not None:
            self.keep(self._before)
            self.done, status = self.total, "done" if status == "cancelled" else status
        elif status != "done":
            self._final = np.maximum(self._final, np.isin(self.state, FINAL))
            self.done = int(self._final.sum() + 1e-6)
        self._before = None
        super().end(status)

    def doubt(self) -> None:
        self._checks = _worst(self._checks, [changed_check()])
        self.numbers |= {"checks": self._checks}

    def has(self, places: np.ndarray) -> bool:
        """Whether the cells at these places are final."""
        return bool((self._final[places] == 1).all())

    def cells(self, index: np.ndarray) -> Message:
        """What is known of some cells, by their flat numbers."""
        return {
            "index": index.astype(np.uint32),
            "values": self.values[index],
            "recovery": self.recovery[index],
            "state": self.state[index],
        }

    def coordinates(self, row: int | None, col: int | None) -> Message:
        """What a cell is, by the names that patches and requests use; of a whole row or column what is sure."""
        found = dict(self.patch or {})
        for axis, place in ((self.rows, row), (self.cols, col)):
            if place is not None and 0 <= place < axis.size:
                found[_COORDINATE.get(axis.name, axis.name)] = axis.value(place)
        return found

    def place_of(self, patch: Message) -> int | None:
        """The flat number of the cell that is this patch, if there is one."""
        if self.patch is None:
            return None
        row, col = (axis.place(patch.get(_COORDINATE.get(axis.name, axis.name))) for axis in (self.rows, self.cols))
        return row * self.cols.size + col if row is not None and col is not None and self.coordinates(row, col) == patch else None

    def descriptor(self, *, kept: bool = False) -> Message:
        arrays = {"values": self.values, "recovery": self.recovery, "state": self.state, "significant": self.significant}
        return {
            **self._common("grid", kept=kept),
            "rows": self.rows.descriptor(),
            "cols": self.cols.descriptor(),
            "patch": self.patch,
            "pairs": self.pairs,
            "recorded": self.recorded,
            "outlined": self.outlined,
            "done": self.done,
            "total": self.total,
            "seconds_left": self.seconds_left,
            **self.numbers,
            **(arrays if self.known and not kept else dict.fromkeys(arrays)),
        }


def _worst(known: list[Message], checks: Sequence[Any]) -> list[Message]:
    """One check of each name: of several sweeps' the one that failed, or the latest."""
    found = {check["name"]: check for check in known}
    for check in checks:
        told = {"name": check.name, "ok": bool(check.ok), "value": check.value, "limit": check.limit, "text": check.text}
        if found.get(check.name, told)["ok"] or not told["ok"]:
            found[check.name] = told
    return list(found.values())
