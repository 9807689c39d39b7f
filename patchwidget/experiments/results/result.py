"""What a sweep returns: its data, with statistics, figures and files of them."""

from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import xarray as xr

from patchwidget.public import public

from .data import ResultData
from .result_files import read_result, save_result


@public
class PatchResult(ResultData):
    """What patching did to the metric, cell by cell.

    Attributes:
        values: the metric of each patched run, as it is; float32, labelled axes such as (layer, pos). NaN where a cell is not known.
        clean, corrupted: the metric of the two runs without a patch; arrays over the axis `pair` where there are several pairs.
        state: uint8 of the same shape: 0 pending, 1 exact, 2 estimate, 3 not measurable.
        checks: what the numbers were checked by; empty while the sweep is not complete.
        noise: how far a number can be off, in units of the metric.
        info: where the numbers come from: model, site, direction, metric, dtype, tokens (of several pairs: tokens_by_pair), executor...
        others: the results of further metrics of the same runs, by name.
    """

    def statistics(self, **options: Any) -> xr.Dataset:
        """By cell, over the pairs: mean change of the metric, standard error, bootstrap interval, permutation p-value and its correction.

        Options as in `patchwidget.experiments.results.statistics.statistics`.
        """
        from .statistics import statistics

        return statistics(self, **options)

    def significant(self, alpha: float = 0.05, method: str = "fdr_bh", **options: Any) -> xr.DataArray:
        """Which cells change the metric beyond chance, corrected for the number of cells ("fdr_bh", "fdr_by", "holm" or "bonferroni").

        Further options as in `patchwidget.experiments.results.statistics.significant`: `placebo=` takes a result of the same cells with
        `source=pw.Placebo()` as a control.

        Raises:
            PatchError: there is one pair only, so that there is no p-value.
        """
        from .statistics import significant

        return significant(self, alpha, method, **options)

    def save(self, path: str | Path) -> Path:
        """Write the result into one file, whole or not at all; `pw.open_result` reads it. Raises PatchError if it can't be written."""
        return save_result(self, path)

    def plot(self, kind: str = "auto", significant: xr.DataArray | bool | None = None) -> go.Figure:
        """A plotly figure of recovery.

        Args:
            kind: "heat" (over two axes), "bars" (over one), "ranks" (cells by the size of their effect, as for neurons), "dose" (against a
                strength), or "auto".
            significant: the cells to outline, as `significant` gives them; False for none. By default those that are significant at 0.05
                (Benjamini-Hochberg), if there are enough pairs to tell.
        """
        from .plots import plot_result

        return plot_result(self, kind, significant)


@public
def open_result(path: str | Path) -> PatchResult:
    """Read what `PatchResult.save` wrote.

    Raises:
        PatchError: there is no such file, it is cut short or damaged, it is something else, or a newer patchwidget wrote it.
    """
    return read_result(path, PatchResult)
