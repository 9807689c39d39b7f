"""Cells whose values are known beforehand: they go the same way as a sweep's own cells, and what they give is what the sweep is checked by.

Two of them enter at the first block with every row that can differ between the two runs, so that the whole of today's network is held against
what was recorded of both runs. A third one patches the base run with its own activations at the site that is swept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from patchwidget.engine.cells import Cell, Edit

from .checks import Check, full_patch_check, identity_check, worst_checks
from .runs import Runs


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


def proven_pair(runs: Runs, pairs: Sequence[int] | None = None) -> int:
    """The pair (of these) that is put to proof: the first one whose positions all correspond, so that everything can be changed."""
    chosen = range(len(runs.pairs)) if pairs is None else pairs
    return next((i for i in chosen if not runs.pairs[i].shifted), chosen[0])


def proofs_of(runs: Runs, pairs: Sequence[int], cells: Sequence[Cell]) -> list[Proof]:
    """For one of the pairs nothing changed at a site of these cells; and for each pair of a language model nothing and, where all its positions
    correspond, everything changed at the first block."""
    proofs = [_identity(runs, proven_pair(runs, pairs), cells)]
    return proofs + [proof for pair in pairs for proof in _from_the_first_block(runs, pair)] if runs.model.has_blocks else proofs


def _identity(runs: Runs, pair: int, cells: Sequence[Cell]) -> Proof:
    measured = [cell for cell in cells if cell.edits and cell.base == pair]
    # of the lowest layer: executors come to it first, and nothing is given out before
    edits = min(measured, key=lambda cell: min(edit.layer for edit in cell.edits)).edits if measured else ()
    positions = tuple(range(runs.unchanged_before(pair), runs.length(pair)))
    return Proof(Cell(tuple(_own(runs, pair, edit, positions) for edit in edits), pair), runs.base)


def _from_the_first_block(runs: Runs, pair: int) -> Iterator[Proof]:
    positions = tuple(range(runs.unchanged_before(pair), runs.length(pair)))
    for run in (runs.base,) if runs.pairs[pair].shifted else (runs.base, runs.source):
        entering = runs.recording(run, pair=pair).resid[0][list(positions)]
        yield Proof(Cell((Edit("resid_pre", 0, positions, entering),), pair), run)


def judge(runs: Runs, proofs: Sequence[Proof], found: Sequence[np.ndarray]) -> Verdict:
    """Hold what proof cells gave, each [metrics], against the runs that they have to equal."""
    expected = [[runs.value_of(proof.run, proof.cell.base, metric) for metric in range(len(runs.metrics))] for proof in proofs]
    checks = [
        (identity_check if proof.run == runs.base else full_patch_check)(float(value[0]), known[0], runs.tolerance)
        for proof, value, known in zip(proofs, found, expected, strict=True)
    ]
    off = np.nanmax(np.abs(np.stack(found) - np.array(expected)), 0, initial=0)
    return Verdict(worst_checks([checks]), off)


def _own(runs: Runs, pair: int, edit: Edit, positions: tuple[int, ...]) -> Edit:
    """What the base run itself has where an edit goes, at all these positions."""
    site = edit.site.removesuffix("_per_head")
    value = runs.recording(runs.base, site, pair).at(site, edit.layer)[list(positions)]
    if site != edit.site:
        value = value[:, (edit.index or 0) * value.shape[1] // runs.model.n_heads]
        return Edit(edit.site, edit.layer, positions, value, edit.index)
    return Edit(edit.site, edit.layer, positions, value)
