"""How the cells of a result are laid out, and how their numbers become one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr

from patchwidget.experiments.results.data import ESTIMATE, EXACT, NOT_MEASURABLE
from patchwidget.experiments.results.result import PatchResult
from patchwidget.runs.checks import Check
from patchwidget.runs.pair_runs import PairRuns


@dataclass(frozen=True, eq=False)
class Layout:
    """The axes of a result with their labels, in order, and what to tell of where its numbers come from.

    Attributes:
        axes: name -> labels; with `pair` in front where there are several.
        info: goes into the result's own.
    """

    site: str
    axes: dict[str, list]
    info: dict

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(labels) for labels in self.axes.values())

    @classmethod
    def of(cls, runs: PairRuns, site: str, axes: dict[str, list], info: dict) -> "Layout":
        """With the axis `pair` where the experiment has several."""
        pairs = {"pair": list(range(len(runs.pairs)))} if runs.several else {}
        return cls(site, pairs | axes, info)

    def result(
        self, runs: PairRuns, values: np.ndarray, state: np.ndarray, checks: list[Check], noise: Sequence[float], told: dict[str, Any]
    ) -> PatchResult:
        """Values [places, metrics] and states [places] in C order, and the noise of each metric: one result with the others in it.

        Args:
            told: for the result's info, by which executor, and why.
        """
        results = [self._one(runs, i, values[:, i], state, checks, noise[i], told) for i in range(len(runs.metrics))]
        results[0].others.update(dict(zip(list(runs.metrics)[1:], results[1:], strict=True)))
        return results[0]

    def _one(
        self, runs: PairRuns, metric: int, values: np.ndarray, state: np.ndarray, checks: list[Check], noise: float, told: dict[str, Any]
    ) -> PatchResult:
        name = list(runs.metrics)[metric]
        lost = np.isnan(values) & np.isin(state, (EXACT, ESTIMATE))
        gaps = _why_lost(state[lost], name, runs.model.dtype)
        state = np.where(lost, NOT_MEASURABLE, state).astype(np.uint8)
        array = xr.DataArray(values.reshape(self.shape), dims=tuple(self.axes), coords=self.axes, name=name)
        info = {
            "model": runs.model.name,
            "dtype": str(runs.model.dtype).removeprefix("torch."),
            "site": self.site,
            "direction": runs.direction,
            "metric": name,
            "tokens": None if runs.several else getattr(runs.pair, f"{runs.base}_tokens"),
            "tokens_by_pair": [getattr(pair, f"{runs.base}_tokens") for pair in runs.pairs] if runs.several else None,
            "meta_by_pair": _meta(runs),
            **told,
            "gaps": gaps,
            **self.info,
        }
        clean, corrupted = _baseline(runs, "clean", metric), _baseline(runs, "corrupted", metric)
        return PatchResult(array, clean, corrupted, state.reshape(self.shape), checks, noise, info)


def _meta(runs: PairRuns) -> list[dict] | None:
    """What else is known of each pair, where anything is."""
    found = [dict(pair.meta or {}) for pair in runs.prompts]
    return found if runs.several and any(found) else None


def _why_lost(states: np.ndarray, metric: str, dtype: torch.dtype) -> str | None:
    """Why cells that were computed have no number; None where none is lost."""
    if not len(states):
        return None
    if (states == ESTIMATE).all():
        return f"{len(states)} cells have no estimate: {metric} has no gradient there."
    return f"{len(states)} cells have no value: there {metric} is not a number, or an activation grew too large for {dtype}."


def _baseline(runs: PairRuns, run: str, metric: int) -> float | xr.DataArray:
    if not runs.several:
        return runs.value_of(run, 0, metric)
    return xr.DataArray([runs.value_of(run, i, metric) for i in range(len(runs.pairs))], dims="pair")
