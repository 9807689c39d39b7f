"""Cells whose values are known beforehand: they go the same way as a sweep's own cells, and what they give is what the sweep is checked by.

They enter at the first block with every row that can differ between the two runs, so that the whole of today's network is held against what was
recorded of both runs. One of them is also given the base run's own activations at the site that is swept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from patchwidget.engine.edits import Cell, Edit
from patchwidget.runs.checks import Check, full_patch_check, identity_check, worst_checks
from patchwidget.runs.pair_runs import PairRuns


@dataclass(frozen=True, eq=False)
class Proof:
    """A cell, and the run ("clean" or "corrupted") whose metrics it has to give."""

    cell: Cell
    run: str


@dataclass(frozen=True, eq=False)
class Verdict:
    """What proof cells gave.

    Attributes:
        checks: on the first metric.
        off: how far each metric was off at the most, [metrics].
    """

    checks: list[Check]
    off: np.ndarray

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)


def proven_pair(runs: PairRuns, pairs: Sequence[int] | None = None) -> int:
    """The pair (of these) that is put to proof: the first one whose positions all correspond, so that everything can be changed."""
    chosen = range(len(runs.pairs)) if pairs is None else pairs
    return next((i for i in chosen if not runs.pairs[i].shifted), chosen[0])


def proofs_of(runs: PairRuns, pairs: Sequence[int], cells: Sequence[Cell]) -> list[Proof]:
    """For each pair nothing changed at the first block and, where all its positions correspond, everything changed there; for one of the pairs
    nothing is changed at a site of these cells either. Of a network without blocks the last is all."""
    proven = proven_pair(runs, pairs)
    own = _own_edits(runs, proven, cells)
    if not runs.model.has_blocks:
        return [Proof(Cell(own, proven), runs.base)]
    proofs = []
    for pair in pairs:
        positions = tuple(range(runs.unchanged_before(pair), runs.length(pair)))
        for run in (runs.base,) if runs.pairs[pair].shifted else (runs.base, runs.source):
            entering = Edit("resid_pre", 0, positions, runs.recording(run, pair=pair).resid[0][list(positions)])
            also = own if (pair, run) == (proven, runs.base) else ()
            proofs.append(Proof(Cell((entering, *also), pair), run))
    return proofs


def _own_edits(runs: PairRuns, pair: int, cells: Sequence[Cell]) -> tuple[Edit, ...]:
    """What the base run itself has where a cell of the lowest layer among these changes it."""
    measured = [cell for cell in cells if cell.edits and cell.base == pair]
    edits = min(measured, key=lambda cell: min(edit.layer for edit in cell.edits)).edits if measured else ()
    positions = tuple(range(runs.unchanged_before(pair), runs.length(pair)))
    return tuple(_own(runs, pair, edit, positions) for edit in edits)


def judge(runs: PairRuns, proofs: Sequence[Proof], found: Sequence[np.ndarray]) -> Verdict:
    """Hold what proof cells gave, each [metrics], against the runs that they have to equal."""
    expected = [[runs.value_of(proof.run, proof.cell.base, metric) for metric in range(len(runs.metrics))] for proof in proofs]
    checks = [
        (identity_check if proof.run == runs.base else full_patch_check)(float(value[0]), known[0], runs.tolerance)
        for proof, value, known in zip(proofs, found, expected, strict=True)
    ]
    off = np.nanmax(np.abs(np.stack(found) - np.array(expected)), 0, initial=0)
    return Verdict(worst_checks([checks]), off)


def _own(runs: PairRuns, pair: int, edit: Edit, positions: tuple[int, ...]) -> Edit:
    """What the base run itself has where an edit goes, at all these positions."""
    site = edit.site.removesuffix("_per_head")
    value = runs.recording(runs.base, site, pair).at(site, edit.layer)[list(positions)]
    if site != edit.site:
        value = value[:, (edit.index or 0) * value.shape[1] // runs.model.n_heads]
        return Edit(edit.site, edit.layer, positions, value, edit.index)
    return Edit(edit.site, edit.layer, positions, value)
