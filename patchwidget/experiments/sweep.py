"""One sweep under way: its cells arrive in batches, and what is known can be looked at, at any time."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from patchwidget.engine.cells import Cell, Edit

from .checks import Check, full_patch_check, identity_check, reached_check
from .result import EXACT, NOT_MEASURABLE, PENDING, PatchResult

if TYPE_CHECKING:
    from .experiment import Experiment


@dataclass(frozen=True, eq=False)
class SweepBatch:
    """Newly known cells: `index` int64 flat C-order indices into the sweep's shape, `values` float32, the first metric as it is."""

    index: np.ndarray
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Layout:
    """How the cells of a sweep are laid out: its axes and their labels, and what to print to compute it again."""

    site: str
    dims: tuple[str, ...]
    coords: dict[str, list]
    shape: tuple[int, ...]
    info: dict


class Sweep:
    """The cells of one sweep, computed as it is iterated. Made by `Experiment.start`.

    Between two batches nothing is left on the model. `close` (or leaving the loop) stops it; `result` keeps what is done.

    Attributes:
        dims, coords, shape: the axes.
        total, done: how many cells there are and how many are known.
    """

    def __init__(self, experiment: "Experiment", layout: Layout, make_cells: Callable[[], list[Cell | None]], executor: str) -> None:
        """`make_cells` gives one cell for each place of the layout in C order; None where a prompt has no such place."""
        self.experiment, self.layout, self.executor = experiment, layout, executor
        self.dims, self.coords, self.shape = layout.dims, layout.coords, layout.shape
        self.total = int(np.prod(layout.shape))
        self._make_cells = make_cells
        self._values = np.full((self.total, len(experiment.metrics)), np.nan, np.float32)
        self._state = np.full(self.total, PENDING, np.uint8)
        self._checks: list[Check] = []
        self._noise = 0.0
        self._batches = self._run()

    @property
    def done(self) -> int:
        return int((self._state != PENDING).sum())

    def __iter__(self) -> Iterator[SweepBatch]:
        return self._batches

    def close(self) -> None:
        """Stop: what is done stays."""
        self._batches.close()

    @property
    def result(self) -> PatchResult:
        """What is known so far; cells that are not done are NaN."""
        return self.experiment.make_result(self.layout, self._values.copy(), self._state.copy(), self._checks, self._noise, self.executor)

    def _run(self) -> Generator[SweepBatch, None, None]:
        made = self._make_cells()
        inside = all(edit.layer >= 0 for cell in made if cell for edit in cell.edits)  # of some block
        self.executor = self.experiment.choose_executor(self.executor if inside else "hooked")
        executor = self.experiment.make_executor(self.executor)
        self._state[[place for place, cell in enumerate(made) if cell is None]] = NOT_MEASURABLE
        places = [place for place, cell in enumerate(made) if cell is not None]
        cells = [cell for cell in made if cell is not None]
        proven: dict[int, float] = {}
        with closing(executor.run([*cells, *self._proof_cells(cells)])) as batches:
            for batch in batches:
                values = batch.values.numpy()
                known = [i for i, number in enumerate(batch.cells) if number < len(places)]
                proven |= {number - len(places): float(values[i, 0]) for i, number in enumerate(batch.cells) if number >= len(places)}
                if known:
                    yield self._keep(np.array([places[batch.cells[i]] for i in known], np.int64), values[known])
        self._checks, self._noise = self._judge(proven, executor.missed)

    def _keep(self, index: np.ndarray, values: np.ndarray) -> SweepBatch:
        self._values[index], self._state[index] = values, EXACT
        return SweepBatch(index, values[:, 0])

    def _proof_cells(self, cells: Sequence[Cell]) -> list[Cell]:
        """More cells that go the same way as the others, and whose values are known: nothing changed; in a language model, everything."""
        experiment, pair = self.experiment, self.experiment.pair
        measured = [cell for cell in cells if cell.edits and cell.base == 0]
        edits = measured[len(measured) // 2].edits if measured else ()
        positions = tuple(range(experiment.unchanged_before(0), pair.length))

        def own(edit: Edit) -> Edit:
            recorded = experiment.recording(experiment.base, edit.site.removesuffix("_per_head")).at
            value = recorded(edit.site.removesuffix("_per_head"), edit.layer)[list(positions)]
            if edit.site.endswith("_per_head"):
                value = value[:, (edit.index or 0) * value.shape[1] // experiment.model.n_heads]
                return Edit(edit.site, edit.layer, positions, value, edit.index)
            return Edit(edit.site, edit.layer, positions, value)

        identity = Cell(tuple(own(edit) for edit in edits))
        if not experiment.model.has_blocks:
            return [identity]
        layer = max(0, edits[0].layer) if edits else 0
        other = experiment.recording(experiment.source).resid[layer][list(positions)]
        return [identity, Cell((Edit("resid_pre", layer, positions, other),))]

    def _judge(self, proven: dict[int, float], missed: set[tuple[str, int]]) -> tuple[list[Check], float]:
        experiment = self.experiment
        base, source, limit = experiment.value_of(experiment.base), experiment.value_of(experiment.source), experiment.tolerance
        identity = identity_check(proven[0], base, limit)
        full = [full_patch_check(proven[1], source, limit)] if 1 in proven else []
        noise = max(identity.value, *(check.value for check in full), limit / 64)
        return [identity, *full, reached_check(missed), experiment.parity], noise
