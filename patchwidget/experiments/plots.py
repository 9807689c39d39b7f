"""Figures people keep, in plotly."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from patchwidget.errors import PatchError

from .result import ESTIMATE, PatchResult

_SCALE = "RdBu_r"  # diverging and safe for colour-blind readers; red is recovery, blue is harm


def plot_result(result: PatchResult) -> go.Figure:
    """Recovery as a heat map over two axes or as bars over one; with more axes, the strongest value over the last ones; of several pairs, the mean."""
    result = result.mean()
    recovery = result.recovery
    if recovery.ndim == 0:
        raise PatchError("A result of one cell has nothing to draw.", "Look at .values and .recovery.")
    while recovery.ndim > 2:
        recovery = _strongest(recovery)
    figure = _bars(recovery, result) if recovery.ndim == 1 else _heat_map(recovery, result)
    estimated = " · estimated" if (result.state == ESTIMATE).any() else ""
    title = f"{result.info['site']} · {result.info['metric']} · {result.info['direction']} · {result.info['model']}{estimated}"
    return figure.update_layout(title={"text": title, "font": {"size": 14}}, template="plotly_white")


def _heat_map(recovery: xr.DataArray, result: PatchResult) -> go.Figure:
    rows, cols = (str(dim) for dim in recovery.dims)
    values = recovery.to_numpy()
    limit = float(max(1.0, np.nanmax(np.abs(values)))) if np.isfinite(values).any() else 1.0
    heat = go.Heatmap(
        z=values,
        x=_labels(recovery, cols, result),
        y=_labels(recovery, rows, result),
        zmin=-limit,
        zmax=limit,
        colorscale=_SCALE,
        colorbar={"title": {"text": "recovery"}},
        hovertemplate=f"{rows} %{{y}}<br>{cols} %{{x}}<br>recovery %{{z:.3f}}<extra></extra>",
    )
    return go.Figure(heat).update_layout(
        xaxis={"title": {"text": cols}, "type": "category"}, yaxis={"title": {"text": rows}, "type": "category"}
    )


def _bars(recovery: xr.DataArray, result: PatchResult) -> go.Figure:
    (dim,) = (str(dim) for dim in recovery.dims)
    figure = go.Figure(go.Bar(x=_labels(recovery, dim, result), y=recovery.to_numpy()))
    figure.add_hline(y=0, line_width=1).add_hline(y=1, line_width=1, line_dash="dash")
    return figure.update_layout(xaxis={"title": {"text": dim}, "type": "category"}, yaxis={"title": {"text": "recovery"}})


def _strongest(recovery: xr.DataArray) -> xr.DataArray:
    last = str(recovery.dims[-1])
    strongest = abs(recovery).fillna(-1).argmax(dim=[last])
    return recovery.isel(strongest)


def _labels(values: xr.DataArray, dim: str, result: PatchResult) -> list[str]:
    labels, tokens = values[dim].to_numpy(), result.info.get("tokens")
    if tokens and dim in ("pos", "dest_pos", "src_pos") and labels.dtype.kind == "i":
        return [f"{n} {tokens[n]}" for n in labels]
    return [str(label) for label in labels]
