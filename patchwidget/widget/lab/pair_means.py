"""Several pairs as one grid: their mean so far, what of it may be chance, and one of them by itself."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from patchwidget.errors import PatchError
from patchwidget.experiments.results.data import ESTIMATE, EXACT, NOT_MEASURABLE, PENDING

ALPHA = 0.05

TOLD_LATER = "Which cells are significant is told when all pairs are in."


def mean_so_far(result: Any) -> Any:
    """The mean over the pairs that have been measured; a cell that others are still to come for is an estimate."""
    mean, state = result.mean(), result.state
    known = np.isin(state, (EXACT, ESTIMATE)).any(0)
    coming = np.isin(state, (PENDING, ESTIMATE)).any(0)
    return replace(mean, state=np.select([known & coming, known, coming], [ESTIMATE, EXACT, PENDING], NOT_MEASURABLE).astype(np.uint8))


def pair_of(result: Any, pair: int, code: str, tokens: list[str]) -> Any:
    """What a result over several pairs knows of one of them, as if that one had been measured alone."""
    return replace(
        result,
        values=result.values.isel(pair=pair, drop=True),
        clean=float(result.clean[pair]),
        corrupted=float(result.corrupted[pair]),
        state=result.state[pair],
        info=result.info | {"code": code, "tokens": tokens},
        others={},
    )


def significance(result: Any) -> tuple[np.ndarray | None, str]:
    """The significant cells, flat, and what they are; None where there are none, and why."""
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = result.significant(ALPHA)
    except PatchError as error:
        return None, error.message
    from patchwidget.experiments.results.statistics import (
        changes,  # with scipy.stats: half a second that the first grid should not wait for
    )

    tested = int((np.isfinite(changes(result).to_numpy()).sum(0) > 1).sum())
    how = f"significant at {ALPHA} (Benjamini-Hochberg over {tested} cells)"
    if not found.any():
        hopeless = next((str(warning.message) for warning in told if warning.category is UserWarning), None)
        return None, hopeless or f"No cell is {how}."
    return found.to_numpy().astype(np.uint8).ravel(), f"outlined: {how}"
