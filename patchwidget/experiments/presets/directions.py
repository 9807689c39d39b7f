"""Necessity and sufficiency side by side: the same cells denoised and noised (Heimersheim and Nanda 2024, arXiv:2404.15255)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr

from patchwidget.experiments.experiment import Experiment
from patchwidget.experiments.results.compare import Comparison, compare
from patchwidget.experiments.results.result import PatchResult
from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.pair import PromptPair
from patchwidget.public import public


@dataclass(frozen=True, eq=False)
class BothDirections:
    """The same cells in both directions.

    Attributes:
        sufficient: the denoised result: its effect is how much of the answer one clean activation brings back.
        necessary: the noised result: its effect is how much of the answer is lost with one corrupted activation.
    """

    sufficient: PatchResult
    necessary: PatchResult

    @property
    def comparison(self) -> Comparison:
        return compare({"sufficient (denoise)": self.sufficient, "necessary (noise)": self.necessary})

    def reading(self, threshold: float = 0.5) -> str:
        """What the two say together, in words: which cells move the answer by more than `threshold` of the gap in which direction."""
        one, other = self.comparison.effects.values()
        known = one.notnull() & other.notnull()
        enough, needed = (one > threshold) & known, (other > threshold) & known
        lines = [f"Of {int(known.sum())} cells, at {threshold:.0%} of the gap between the two prompts:"]
        for cells, meaning in [
            (enough & needed, "suffice and are needed: what carries the answer passes there, and nowhere else at once"),
            (enough & ~needed, "suffice but are not needed: with them the answer comes back, and without them something else gives it"),
            (~enough & needed, "are needed but do not suffice: the answer takes them, and something besides"),
        ]:
            lines.append(f"- {int(cells.sum())} {meaning}{_named(cells, abs(one) + abs(other))}.")
        if not bool((enough | needed).any()):
            strongest = float(np.nanmax(np.abs([one.to_numpy(), other.to_numpy()]))) if bool(known.any()) else float("nan")
            lines.append(f"No single cell moves the answer so far; the strongest moves it by {strongest:.0%}.")
        return "\n".join(lines)

    def to_frame(self) -> pd.DataFrame:
        """One row per cell: the axes and both effects."""
        return self.comparison.to_frame()

    def plot(self) -> go.Figure:
        """Both grids on one scale."""
        return self.comparison.plot()

    def __repr__(self) -> str:
        return self.reading()


@public
def both_directions(
    model: WrappedModel, pair: PromptPair | Sequence[PromptPair], site: str, *, metric: Any = "logit_diff", **options: Any
) -> BothDirections:
    """Sweep a site in both directions: what suffices for the answer, and what it needs.

    Args:
        model, pair, metric: as in `Experiment`.
        site, options: as in `Experiment.sweep`.
    """
    sufficient, necessary = (Experiment(model, pair, metric, direction).sweep(site, **options) for direction in ("denoise", "noise"))
    return BothDirections(sufficient, necessary)


def _named(cells: xr.DataArray, strength: xr.DataArray, most: int = 4) -> str:
    """The strongest of these cells by their places."""
    count = int(cells.sum())
    if not count:
        return ""
    flat = np.where(cells, strength, -np.inf).ravel()
    best = np.argsort(-flat, kind="stable")[: min(most, count)]
    places = [np.unravel_index(i, cells.shape) for i in best]
    texts = [" ".join(f"{dim} {cells[dim].to_numpy()[k]}" for dim, k in zip(cells.dims, place, strict=True)) for place in places]
    return f" ({'; '.join(texts)}{'; ...' if count > most else ''})"
