"""One sweep under way: its cells arrive in batches, and what is known can be looked at, at any time."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from tqdm.auto import tqdm

from patchwidget.engine.cells import Cell
from patchwidget.errors import PatchError

from .checks import Check
from .layout import Layout
from .proof import judge, proof_cells, proven_pair
from .result import EXACT, NOT_MEASURABLE, PENDING, PatchResult
from .runs import Runs

CELLS_AT_ONCE = 1024  # of all pairs that share a pass


@dataclass(frozen=True, eq=False)
class SweepBatch:
    """Newly known cells: `index` int64 flat C-order indices into the sweep's shape, `values` float32, the first metric as it is."""

    index: np.ndarray
    values: np.ndarray


class Sweep:
    """The cells of one sweep, computed as it is iterated. Made by `Experiment.start`.

    Between two batches nothing is left on the model. `close` (or leaving the loop) stops it; `result` keeps what is done.

    Attributes:
        dims, coords, shape: the axes.
        total, done: how many cells there are and how many are known.
    """

    def __init__(self, runs: Runs, layout: Layout, make_cells: Callable[[], Iterable[Cell | None]], executor: str) -> None:
        """`make_cells` gives one cell for each place of the layout in C order; None where a prompt has no such place."""
        if executor not in ("auto", "packed", "hooked"):
            raise PatchError(f"executor={executor!r} is not known.", "Use 'auto', 'packed' or 'hooked'.")
        self.runs, self.layout, self.executor = runs, layout, executor
        self.dims, self.coords, self.shape = tuple(layout.axes), layout.axes, layout.shape
        self.total = int(np.prod(layout.shape))
        self._make_cells = make_cells
        self._values = np.full((self.total, len(runs.metrics)), np.nan, np.float32)
        self._state = np.full(self.total, PENDING, np.uint8)
        self._checks: list[Check] = []
        self._noise = [runs.noise_floor] * len(runs.metrics)
        self._proven: dict[int, np.ndarray] = {}
        self._missed: set[tuple[str, int]] = set()
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
        return self.layout.result(self.runs, self._values.copy(), self._state.copy(), self._checks, self._noise, self.executor)

    def _run(self) -> Generator[SweepBatch, None, None]:
        """A few pairs at a time: their recordings and cells are in memory, and not those of a long list of pairs."""
        cells, asked, n_pairs = iter(self._make_cells()), self.executor, len(self.runs.pairs)
        per_pair = self.total // n_pairs
        at_once = max(1, CELLS_AT_ONCE // max(1, per_pair))
        for first in range(0, n_pairs, at_once):
            pairs = list(range(first, min(first + at_once, n_pairs)))
            yield from self._run_pairs(pairs, list(islice(cells, len(pairs) * per_pair)), first * per_pair, asked)
        self._checks, self._noise = judge(self.runs, [self._proven[i] for i in sorted(self._proven)], self._missed)

    def _run_pairs(self, pairs: list[int], made: list[Cell | None], offset: int, asked: str) -> Generator[SweepBatch, None, None]:
        """The cells of some pairs, of which the first is at place `offset`; the proof cells go with the pair that they belong to."""
        self._state[[offset + i for i, cell in enumerate(made) if cell is None]] = NOT_MEASURABLE
        places = [offset + i for i, cell in enumerate(made) if cell is not None]
        cells = [cell for cell in made if cell is not None]
        inside = all(edit.layer >= 0 for cell in cells for edit in cell.edits)  # of some block
        self.executor = self.runs.choose_executor(asked if inside else "hooked", pairs)
        executor = self.runs.make_executor(self.executor, pairs)
        proofs = proof_cells(self.runs, cells) if proven_pair(self.runs) in pairs else []
        numbered = [replace(cell, base=cell.base - pairs[0]) for cell in [*cells, *proofs]]
        with closing(executor.run(numbered)) as batches:
            for batch in batches:
                values = batch.values.numpy()
                known = [i for i, number in enumerate(batch.cells) if number < len(places)]
                self._proven |= {number - len(places): values[i] for i, number in enumerate(batch.cells) if number >= len(places)}
                if known:
                    yield self._keep(np.array([places[batch.cells[i]] for i in known], np.int64), values[known])
        self._missed |= executor.missed

    def _keep(self, index: np.ndarray, values: np.ndarray) -> SweepBatch:
        self._values[index], self._state[index] = values, EXACT
        return SweepBatch(index, values[:, 0])


def run_through(sweep: Sweep, what: str, *, progress: bool) -> PatchResult:
    """Compute all of a sweep, with a progress bar if it takes more than a second."""
    with tqdm(total=sweep.total, desc=what, unit="cell", delay=1, leave=False, disable=not progress) as bar:
        for batch in sweep:
            bar.update(len(batch.index))
    return sweep.result
