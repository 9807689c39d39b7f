"""One sweep under way: its cells arrive in batches, and what is known can be looked at, at any time."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from tqdm.auto import tqdm

from patchwidget.engine.edits import Cell
from patchwidget.errors import PatchError
from patchwidget.experiments.results.data import ESTIMATE, EXACT, NOT_MEASURABLE, PENDING
from patchwidget.experiments.results.result import PatchResult
from patchwidget.runs.checks import Check, describe_failed, reached_check, warn_of_failed, worst_checks
from patchwidget.runs.pair_runs import PairRuns

from .checkpoint import Checkpoint
from .controls import Verdict, judge, proofs_of
from .result_layout import Layout

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
        most_rows: no more rows than this travel together, even where there is memory for more: batches then come more often. None for as many
            as are of use.
    """

    def __init__(
        self,
        runs: PairRuns,
        layout: Layout,
        make_cells: Callable[[Sequence[int]], Iterable[Cell | None]],
        executor: str,
        estimate: Estimate | None = None,
    ) -> None:
        """
        Args:
            make_cells: gives for some pairs one cell for each of their places in the layout, in C order; None where a prompt has no such place.
            estimate: gives the metrics of cells before they are computed, [cells, metrics]. Then the first batch has all of them as estimates,
                and the exact ones follow, the largest estimated effect first.
        """
        if executor not in ("auto", "packed", "hooked"):
            raise PatchError(f"executor={executor!r} is not known.", "Use 'auto', 'packed' or 'hooked'.")
        self.runs, self.layout, self.executor = runs, layout, executor
        self.dims, self.coords, self.shape = tuple(layout.axes), layout.axes, layout.shape
        self.total = int(np.prod(layout.shape))
        self.most_rows: int | None = None
        self._make_cells, self._estimate = make_cells, estimate
        self._free = executor == "auto"  # in the choice
        self._values = np.full((self.total, len(runs.metrics)), np.nan, np.float32)
        self._state = np.full(self.total, PENDING, np.uint8)
        self._checks: list[Check] = []
        self._noise: list[float] = []  # of each metric; while it is not known, the dtype's
        self._verdicts: list[Verdict] = []
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
        why_hooked = self.runs.why_hooked() if self.executor == "hooked" and self._free else None
        told = {"executor": self.executor, "why_hooked": why_hooked}
        return self.layout.result(self.runs, self._values.copy(), self._state.copy(), self._checks, noise, told)

    def estimates(self) -> PatchResult:
        """All cells as estimates; none is computed."""
        if self._estimate is None:
            raise PatchError("This sweep was not given a way to estimate its cells.", "Use exp.attribute.")
        self.executor = "gradients"
        self.runs.look_again(whole=True)
        for part in map(self._part, self._parts()):
            self._keep(part.places, self._estimate(part.cells), ESTIMATE)
        self._checks = [self.runs.parity]
        return self.result

    def _parts(self) -> Iterator[list[int]]:
        """A few pairs at a time: their recordings and cells are in memory, and not those of a long list of pairs."""
        n_pairs = len(self.runs.pairs)
        at_once = max(1, min(CELLS_AT_ONCE // max(1, self.total // n_pairs), self.runs.pairs_at_once))
        for first in range(0, n_pairs, at_once):
            yield list(range(first, min(first + at_once, n_pairs)))

    def _part(self, pairs: list[int]) -> _Part:
        """The cells of some pairs that are not known yet."""
        made = list(enumerate(self._make_cells(pairs), pairs[0] * (self.total // len(self.runs.pairs))))
        self._state[[place for place, cell in made if cell is None]] = NOT_MEASURABLE
        there = [(place, cell) for place, cell in made if cell is not None and self._state[place] != EXACT]
        return _Part(pairs, [cell for _, cell in there], np.array([place for place, _ in there], np.int64))

    def _run(self) -> Generator[SweepBatch, None, None]:
        asked = self.executor
        self.runs.look_again(whole=self.runs.coarse)
        for pairs in self._parts():
            yield from self._run_part(pairs, asked)
        self._checks, self._noise = self._judged()
        warn_of_failed(self._checks)

    def _run_part(self, pairs: list[int], asked: str) -> Generator[SweepBatch, None, None]:
        """The cells of some pairs. What was recorded before is taken anew where the proof cells show that the model has changed since; and where
        they fail on the packed executor, the hooked one is taken, if the choice was free."""
        tries = [asked] * (1 + self.runs.remembers(pairs))
        if asked == "auto" and self.runs.why_hooked() is None:
            tries.append("hooked")
        for number, executor in enumerate(tries, 1):
            last = number == len(tries)
            verdict = yield from self._try_part(self._part(pairs), executor, last=last)
            if number == 2 and verdict is not None and verdict.ok and executor == asked:
                self.runs.renewed += 1  # what was recorded before was of another model
            if last or verdict is None or verdict.ok:
                return
            self.runs.forget()
            if tries[number] != asked:
                self.runs.distrust_packed(f"its proof fails there ({describe_failed(verdict.checks)})")

    def _try_part(self, part: _Part, asked: str, *, last: bool) -> Generator[SweepBatch, None, Verdict | None]:
        """Measure the cells of some pairs; nothing of it is given out before the proof cells are known, nor, unless it is the last try, where
        they fail."""
        if not part.cells and self._verdicts:
            return None
        turns = [np.arange(len(part.cells))]
        if self._estimate is not None:
            yield self._keep(part.places, self._estimate(part.cells), ESTIMATE)
            turns = self._largest_first(part)
        inside = all(edit.layer >= 0 for cell in part.cells for edit in cell.edits)  # of some block
        self.executor = self.runs.choose_executor(asked if inside else "hooked", part.pairs)
        executor = self.runs.make_executor(self.executor, part.pairs, most_rows=self.most_rows)
        proofs = proofs_of(self.runs, part.pairs, part.cells)
        cells = [replace(cell, base=cell.base - part.pairs[0]) for cell in [*(proof.cell for proof in proofs), *part.cells]]
        turns = [[*range(len(proofs)), *(turns[0] + len(proofs))], *(turn + len(proofs) for turn in turns[1:])]
        found: dict[int, np.ndarray] = {}
        held: list[tuple[list[int], np.ndarray]] = []
        verdict = None
        for turn in turns:
            with closing(executor.run([cells[number] for number in turn])) as batches:
                for batch in batches:
                    numbers = [int(turn[number]) for number in batch.cells]
                    found |= {number: value for number, value in zip(numbers, batch.values.numpy(), strict=True) if number < len(proofs)}
                    held.append((numbers, batch.values.numpy()))
                    if len(found) < len(proofs):
                        continue
                    if verdict is None:
                        verdict = judge(self.runs, proofs, [found[number] for number in range(len(proofs))])
                        if not (verdict.ok or last):
                            return verdict
                    yield from self._keep_cells(part, held, len(proofs))
                    held.clear()
        self._missed |= executor.missed
        if verdict is not None:
            self._verdicts.append(verdict)
        return verdict

    def _keep_cells(self, part: _Part, held: Sequence[tuple[list[int], np.ndarray]], n_proofs: int) -> Iterator[SweepBatch]:
        """Keep what belongs to cells, whose numbers come after those of the proofs."""
        for numbers, values in held:
            known = [i for i, number in enumerate(numbers) if number >= n_proofs]
            if known:
                yield self._keep(part.places[[numbers[i] - n_proofs for i in known]], values[known], EXACT)

    def _judged(self) -> tuple[list[Check], list[float]]:
        """The checks, the worst of each name; and for each metric how far a number may be off."""
        checks = worst_checks([verdict.checks for verdict in self._verdicts])
        floor = max(self.runs.noise_floor, self.runs.parity.value)
        noise = np.fmax(np.max([verdict.off for verdict in self._verdicts], 0), floor)
        return [*checks, reached_check(self._missed), self.runs.parity], noise.tolist()

    def _largest_first(self, part: _Part) -> list[np.ndarray]:
        """The cells' numbers by estimated effect, in turns: small ones first, to have the largest soon, then twice as many each time, since many
        cells share a pass better than few."""
        bases = np.array([self.runs.value_of(self.runs.base, cell.base) for cell in part.cells])
        effects = np.abs(self._values[part.places, 0] - bases)
        order, turns, size = np.argsort(-effects, kind="stable"), [], FIRST_TURN
        while len(order):
            turns.append(order[:size])
            order, size = order[size:], 2 * size
        return turns or [order]

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
