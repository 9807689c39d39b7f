"""One sweep under way: its cells arrive in batches, and what is known can be looked at, at any time."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from tqdm.auto import tqdm

from patchwidget.engine.cells import Cell
from patchwidget.errors import PatchError

from .checkpoint import Checkpoint
from .checks import Check
from .layout import Layout
from .proof import judge, proof_cells, proven_pair
from .result import ESTIMATE, EXACT, NOT_MEASURABLE, PENDING, PatchResult
from .runs import Runs

CELLS_AT_ONCE = 1024  # of all pairs that share a pass

FIRST_TURN = 32  # how many cells with the largest estimates are computed first
# cells -> their metrics, float32 [cells, metrics]
Estimate = Callable[[Sequence[Cell]], np.ndarray]


@dataclass(frozen=True, eq=False)
class SweepBatch:
    """Newly known cells.

    Attributes:
        index: int64 flat C-order indices into the sweep's shape.
        values: float32, the first metric as it is.
        state: EXACT, or ESTIMATE for values that exact ones will follow.
    """

    index: np.ndarray
    values: np.ndarray
    state: int = EXACT


@dataclass(frozen=True, eq=False)
class _Part:
    """The cells of some pairs, and the place of each."""

    pairs: list[int]
    cells: list[Cell]
    places: np.ndarray


class Sweep:
    """The cells of one sweep, computed as it is iterated. Made by `Experiment.start`.

    Between two batches nothing is left on the model. `close` (or leaving the loop) stops it; `result` keeps what is done.

    Attributes:
        dims, coords, shape: the axes.
        total, done: how many cells there are, and how many are known exactly or to be not measurable.
    """

    def __init__(
        self,
        runs: Runs,
        layout: Layout,
        make_cells: Callable[[], Iterable[Cell | None]],
        executor: str,
        estimate: Estimate | None = None,
    ) -> None:
        """
        Args:
            make_cells: gives one cell for each place of the layout in C order; None where a prompt has no such place.
            estimate: gives the metrics of cells before they are computed, [cells, metrics]. Then the first batch has all of them as estimates,
                and the exact ones follow, the largest estimated effect first.
        """
        if executor not in ("auto", "packed", "hooked"):
            raise PatchError(f"executor={executor!r} is not known.", "Use 'auto', 'packed' or 'hooked'.")
        self.runs, self.layout, self.executor = runs, layout, executor
        self.dims, self.coords, self.shape = tuple(layout.axes), layout.axes, layout.shape
        self.total = int(np.prod(layout.shape))
        self._make_cells, self._estimate = make_cells, estimate
        self._values = np.full((self.total, len(runs.metrics)), np.nan, np.float32)
        self._state = np.full(self.total, PENDING, np.uint8)
        self._checks: list[Check] = []
        self._noise: list[float] = []  # of each metric; while it is not known, the dtype's
        self._proven: dict[int, np.ndarray] = {}
        self._missed: set[tuple[str, int]] = set()
        self._checkpoint: Checkpoint | None = None
        self._batches = self._run()

    @property
    def done(self) -> int:
        return int(np.isin(self._state, (EXACT, NOT_MEASURABLE)).sum())

    def __iter__(self) -> Iterator[SweepBatch]:
        return self._batches

    def close(self) -> None:
        """Stop: what is done stays."""
        self._batches.close()

    def keep_in(self, checkpoint: Checkpoint) -> None:
        """Take over what a checkpoint has, before anything is computed, and write what comes into it."""
        for index, values in checkpoint.batches():
            self._values[index], self._state[index] = values, EXACT
        self._checkpoint = checkpoint

    @property
    def result(self) -> PatchResult:
        """What is known so far; cells that are not done are NaN, or estimates where these were asked for."""
        noise = self._noise or [self.runs.noise_floor] * len(self.runs.metrics)
        return self.layout.result(self.runs, self._values.copy(), self._state.copy(), self._checks, noise, self.executor)

    def estimates(self) -> PatchResult:
        """All cells as estimates; none is computed."""
        if self._estimate is None:
            raise PatchError("This sweep was not given a way to estimate its cells.", "Use exp.attribute.")
        self.executor = "gradients"
        for part in self._parts():
            self._keep(part.places, self._estimate(part.cells), ESTIMATE)
        self._checks = [self.runs.parity]
        return self.result

    def _parts(self) -> Iterator[_Part]:
        """A few pairs at a time: their recordings and cells are in memory, and not those of a long list of pairs."""
        cells, n_pairs = iter(self._make_cells()), len(self.runs.pairs)
        per_pair = self.total // n_pairs
        at_once = max(1, min(CELLS_AT_ONCE // max(1, per_pair), self.runs.pairs_at_once))
        for first in range(0, n_pairs, at_once):
            pairs = list(range(first, min(first + at_once, n_pairs)))
            made = list(enumerate(islice(cells, len(pairs) * per_pair), first * per_pair))
            self._state[[place for place, cell in made if cell is None]] = NOT_MEASURABLE
            there = [(place, cell) for place, cell in made if cell is not None and self._state[place] != EXACT]
            yield _Part(pairs, [cell for _, cell in there], np.array([place for place, _ in there], np.int64))

    def _run(self) -> Generator[SweepBatch, None, None]:
        asked = self.executor
        for part in self._parts():
            yield from self._run_part(part, asked)
        self._checks, self._noise = judge(self.runs, [self._proven[i] for i in sorted(self._proven)], self._missed)

    def _run_part(self, part: _Part, asked: str) -> Generator[SweepBatch, None, None]:
        """The cells of some pairs; the proof cells go with the pair that they belong to."""
        proving = proven_pair(self.runs) in part.pairs
        if not part.cells and not proving:
            return
        turns = [list(range(len(part.cells)))]
        if self._estimate is not None:
            yield self._keep(part.places, self._estimate(part.cells), ESTIMATE)
            turns = self._largest_first(part)
        inside = all(edit.layer >= 0 for cell in part.cells for edit in cell.edits)  # of some block
        self.executor = self.runs.choose_executor(asked if inside else "hooked", part.pairs)
        executor = self.runs.make_executor(self.executor, part.pairs)
        proofs = proof_cells(self.runs, part.cells) if proving else []
        turns[-1] += range(len(part.cells), len(part.cells) + len(proofs))
        numbered = [replace(cell, base=cell.base - part.pairs[0]) for cell in [*part.cells, *proofs]]
        for turn in turns:
            with closing(executor.run([numbered[number] for number in turn])) as batches:
                for batch in batches:
                    yield from self._sort(part, [turn[number] for number in batch.cells], batch.values.numpy())
        self._missed |= executor.missed

    def _largest_first(self, part: _Part) -> list[list[int]]:
        """The cells' numbers by estimated effect, in turns: small ones first, to have the largest soon, then twice as many each time, since many
        cells share a pass better than few."""
        bases = np.array([self.runs.value_of(self.runs.base, cell.base) for cell in part.cells])
        effects = np.abs(self._values[part.places, 0] - bases)
        order, turns, size = np.argsort(-effects, kind="stable").tolist(), [], FIRST_TURN
        while order:
            turns.append(order[:size])
            order, size = order[size:], 2 * size
        return turns or [[]]

    def _sort(self, part: _Part, numbers: list[int], values: np.ndarray) -> Iterator[SweepBatch]:
        """Keep what belongs to cells, and put aside what belongs to proofs, whose numbers come after theirs."""
        n_cells = len(part.cells)
        self._proven |= {number - n_cells: values[i] for i, number in enumerate(numbers) if number >= n_cells}
        known = [i for i, number in enumerate(numbers) if number < n_cells]
        if known:
            yield self._keep(part.places[[numbers[i] for i in known]], values[known], EXACT)

    def _keep(self, index: np.ndarray, values: np.ndarray, state: int) -> SweepBatch:
        if self._checkpoint is not None and state == EXACT:
            self._checkpoint.append(index, values)
        self._values[index], self._state[index] = values, state
        return SweepBatch(index, values[:, 0], state)


def run_through(sweep: Sweep, what: str, *, progress: bool) -> PatchResult:
    """Compute all of a sweep, with a progress bar if it takes more than a second."""
    with tqdm(total=sweep.total, initial=sweep.done, desc=what, unit="cell", delay=1, leave=False, disable=not progress) as bar:
        for batch in sweep:
            bar.update(len(batch.index) if batch.state == EXACT else 0)
    return sweep.result
