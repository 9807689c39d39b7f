"""One sweep under way: its cells arrive in batches, and what is known can be looked at, at any time."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from patchwidget.engine.cells import Cell, Edit

from .checks import Check, full_patch_check, identity_check, reached_check
from .plan import Plan
from .result import EXACT, PatchResult

if TYPE_CHECKING:
    from .experiment import Experiment


@dataclass(frozen=True, eq=False)
class SweepBatch:
    """Newly known cells: `index` int64 flat C-order indices into the sweep's shape, `values` float32, the metric as it is."""

    index: np.ndarray
    values: np.ndarray


class Sweep:
    """The cells of one sweep, computed as it is iterated. Made by `Experiment.start`.

    Between two batches nothing is left on the model. `close` (or leaving the loop) stops it; `result` keeps what is done.

    Attributes:
        dims, coords, shape: the axes.
        total, done: how many cells there are and how many are known.
    """

    def __init__(self, experiment: "Experiment", plan: Plan, executor: str) -> None:
        self.experiment, self.plan, self.executor = experiment, plan, executor
        self.dims, self.coords, self.shape = plan.dims, plan.coords, plan.shape
        self.total = int(np.prod(plan.shape))
        self.started = time.time()
        self._values = np.full(self.total, np.nan, np.float32)
        self._state = np.zeros(self.total, np.uint8)
        self._checks: list[Check] = []
        self._noise = 0.0
        self._batches: Iterator[SweepBatch] = self._run()

    @property
    def done(self) -> int:
        return int((self._state == EXACT).sum())

    def __iter__(self) -> Iterator[SweepBatch]:
        return self._batches

    def close(self) -> None:
        """Stop: what is done stays."""
        self._batches.close()  # type: ignore[attr-defined]

    @property
    def result(self) -> PatchResult:
        """What is known so far; cells that are not done are NaN."""
        return self.experiment.make_result(self.plan, self._values.copy(), self._state.copy(), self._checks, self._noise, self.executor)

    def _run(self) -> Iterator[SweepBatch]:
        experiment, plan = self.experiment, self.plan
        source = experiment.recording(experiment.source, plan.site.name)
        executor = experiment.make_executor(self.executor)
        cells = plan.cells(lambda layer: source.at(plan.site.name, layer), experiment.pair.first_difference)
        proofs = self._proof_cells()
        proven: dict[int, float] = {}
        with closing(executor.run([*cells, *proofs])) as batches:  # type: ignore[type-var]
            for batch in batches:
                found = zip(batch.cells, batch.values.tolist(), strict=True)
                known = [(number, value) for number, value in found if number < self.total or proven.update({number - self.total: value})]
                if known:
                    yield self._keep(known)
        self._checks, self._noise = self._judge(proven, executor.missed)

    def _keep(self, known: list[tuple[int, float]]) -> SweepBatch:
        index = np.array([number for number, _ in known], np.int64)
        values = np.array([value for _, value in known], np.float32)
        self._values[index], self._state[index] = values, EXACT
        return SweepBatch(index, values)

    def _proof_cells(self) -> list[Cell]:
        """Two more cells that go the same way as the others, and whose values are known beforehand: nothing changed, everything changed."""
        experiment, site = self.experiment, self.plan.site.name
        layer = self.plan.coords["layer"][len(self.plan.coords["layer"]) // 2]
        positions = tuple(range(experiment.pair.first_difference, experiment.pair.length))
        own = experiment.recording(experiment.base, site).at(site, layer)[list(positions)]
        other = experiment.recording(experiment.source).resid[layer][list(positions)]
        heads = range(own.shape[1]) if own.ndim == 3 else [None]
        identity = [Edit(site, layer, positions, own if head is None else own[:, head], head) for head in heads]
        return [Cell(tuple(identity)), Cell((Edit("resid_pre", layer, positions, other),))]

    def _judge(self, proven: dict[int, float], missed: set[tuple[str, int]]) -> tuple[list[Check], float]:
        experiment = self.experiment
        base, source, limit = experiment.value_of(experiment.base), experiment.value_of(experiment.source), experiment.tolerance
        identity = identity_check(proven[0], base, limit)
        full = full_patch_check(proven[1], source, limit)
        noise = max(identity.value, full.value, limit / 64)
        return [identity, full, reached_check(missed), experiment.parity], noise
