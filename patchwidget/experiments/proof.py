"""Cells whose values are known beforehand: they go the same way as a sweep's own cells, and what they give is what the sweep is checked by."""

from collections.abc import Sequence

import numpy as np

from patchwidget.engine.cells import Cell, Edit

from .checks import Check, full_patch_check, identity_check, reached_check
from .runs import Runs


def proven_pair(runs: Runs) -> int:
    """The pair that is put to proof: the first one whose positions all correspond, so that everything can be changed."""
    return next((i for i, pair in enumerate(runs.pairs) if not pair.shifted), 0)


def proof_cells(runs: Runs, cells: Sequence[Cell]) -> list[Cell]:
    """Nothing changed; and in a language model, where all positions correspond, everything changed. Both of one pair."""
    pair = proven_pair(runs)
    measured = [cell for cell in cells if cell.edits and cell.base == pair]
    edits = measured[len(measured) // 2].edits if measured else ()
    positions = tuple(range(runs.unchanged_before(pair), runs.length(pair)))
    identity = Cell(tuple(_own(runs, pair, edit, positions) for edit in edits), pair)
    if not runs.model.has_blocks or runs.pairs[pair].shifted:
        return [identity]
    layer = max(0, edits[0].layer) if edits else 0
    other = runs.recording(runs.source, pair=pair).resid[layer][list(positions)]
    return [identity, Cell((Edit("resid_pre", layer, positions, other),), pair)]


def judge(runs: Runs, proven: Sequence[np.ndarray], missed: set[tuple[str, int]]) -> tuple[list[Check], list[float]]:
    """The checks, on the first metric; and for each metric how far a number may be off.

    Args:
        proven: the metrics of the proof cells, each [metrics].
        missed: what was to be patched and was never reached.
    """
    limit, floor = runs.tolerance, max(runs.noise_floor, runs.parity.value)
    pair = proven_pair(runs)
    expected = [np.array([runs.value_of(run, pair, metric) for metric in range(len(runs.metrics))]) for run in (runs.base, runs.source)]
    identity = identity_check(float(proven[0][0]), float(expected[0][0]), limit)
    full = [full_patch_check(float(proven[1][0]), float(expected[1][0]), limit)] if len(proven) > 1 else []
    off = np.abs(np.stack(proven) - np.stack(expected[: len(proven)]))
    noise = np.fmax(np.nanmax(off, 0, initial=0), floor)
    return [identity, *full, reached_check(missed), runs.parity], noise.tolist()


def _own(runs: Runs, pair: int, edit: Edit, positions: tuple[int, ...]) -> Edit:
    """What the base run itself has where an edit goes, at all these positions."""
    site = edit.site.removesuffix("_per_head")
    value = runs.recording(runs.base, site, pair).at(site, edit.layer)[list(positions)]
    if site != edit.site:
        value = value[:, (edit.index or 0) * value.shape[1] // runs.model.n_heads]
        return Edit(edit.site, edit.layer, positions, value, edit.index)
    return Edit(edit.site, edit.layer, positions, value)
