"""Results side by side: where they agree, and where they do not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr
from scipy import stats

from patchwidget.errors import PatchError
from patchwidget.public import public

from .result import PatchResult


@dataclass(frozen=True, eq=False)
class Comparison:
    """Results of the same cells side by side.

    Attributes:
        effects: name -> effect (1 moves the patched run all the way to the source run), of the mean over pairs, all over the same cells.
        results: name -> the result as given.
    """

    effects: dict[str, xr.DataArray]
    results: dict[str, PatchResult]

    @property
    def difference(self) -> xr.DataArray:
        """The second's effect minus the first's."""
        first, second, *_ = self.effects.values()
        return (second - first).rename("difference")

    @property
    def agreement(self) -> pd.DataFrame:
        """Spearman's rank correlation of the effects of each two results, over the cells that both have."""
        flat = {name: effect.to_numpy().ravel() for name, effect in self.effects.items()}
        return pd.DataFrame({a: {b: _rank_correlation(x, y) for b, y in flat.items()} for a, x in flat.items()})

    def to_frame(self) -> pd.DataFrame:
        """One row per cell: the axes, and one column for each result's effect."""
        if not self._dims:
            return pd.DataFrame({name: [float(effect)] for name, effect in self.effects.items()})
        frames = [effect.to_dataframe(name=name)[name] for name, effect in self.effects.items()]
        return pd.concat(frames, axis=1).reset_index()

    def top(self, n: int = 10) -> pd.DataFrame:
        """The n cells where the results lie furthest apart, furthest first."""
        frame = self.to_frame()
        columns = frame[list(self.effects)]
        return frame.assign(apart=columns.max(axis=1) - columns.min(axis=1)).nlargest(n, "apart").reset_index(drop=True)

    def plot(self) -> go.Figure:
        """The results beside each other, on one scale."""
        from .plots import plot_side_by_side

        return plot_side_by_side(self.effects, self.results)

    def __repr__(self) -> str:
        table = self.agreement.round(2).to_string()
        return f"Comparison of {', '.join(self.effects)}; rank correlation of effects:\n{table}"

    @property
    def _dims(self) -> tuple:
        return next(iter(self.effects.values())).dims


@public
def compare(results: Sequence[PatchResult] | Mapping[str, PatchResult]) -> Comparison:
    """Put results side by side: of two sites, two directions, two metrics, two models of the same shape, an estimate and the exact values.

    Args:
        results: two or more, in a list or by names. They have to have the same axes, of which the cells that all have are compared.

    Raises:
        PatchError: fewer than two, other axes, or no cell in common.
    """
    named = dict(results) if isinstance(results, Mapping) else dict(zip(_names(results), results, strict=True))
    if len(named) < 2:
        raise PatchError(f"{len(named)} results were given, and a comparison takes at least two.", "Give for example [r1, r2].")
    effects = {name: result.mean().effect for name, result in named.items()}
    axes = {name: effect.dims for name, effect in effects.items()}
    if len(set(axes.values())) > 1:
        shown = "; ".join(f"{name}: {', '.join(map(str, dims)) or 'none'}" for name, dims in axes.items())
        raise PatchError(f"The results have different axes ({shown}).", "Compare sweeps of the same kind of cells.")
    aligned = dict(zip(effects, xr.align(*effects.values(), join="inner"), strict=True))
    if any(effect.size == 0 for effect in aligned.values()):
        raise PatchError("The results have no cell in common.", "Compare sweeps over the same layers, positions and heads.")
    return Comparison(aligned, named)


def _names(results: Sequence[PatchResult]) -> list[str]:
    """By what they differ in; by number where they do not."""
    keys = ("site", "direction", "metric", "source", "model", "executor")
    differing = [key for key in keys if len({str(result.info.get(key)) for result in results}) > 1]
    names = [" ".join(str(result.info.get(key)) for key in differing) for result in results]
    return names if len(set(names)) == len(names) and differing else [f"result {i}" for i in range(1, len(results) + 1)]


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    known = np.isfinite(one) & np.isfinite(other)
    x, y = one[known], other[known]
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(stats.spearmanr(x, y)[0])  # type: ignore[arg-type]
