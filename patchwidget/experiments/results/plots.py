"""Figures people keep, in plotly."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
import plotly.graph_objects as go
import xarray as xr
from plotly.subplots import make_subplots

from patchwidget.errors import PatchError

from .data import ESTIMATE, ResultData
from .statistics import changes, significant

_SCALE = "RdBu_r"  # diverging and safe for colour-blind readers; red is recovery, blue is harm
_PANELS = ("kind", "effect", "direction")  # axes whose places are pictures of their own
_DOSES = ("strength", "dose")
_ENOUGH_PAIRS = 6  # with fewer, no two-sided permutation test reaches 0.05
_COLORS = ("#3b6ea8", "#b5483a", "#5b8a4a", "#8a6bab", "#8f7a3c")
_INK = "#222222"


class _Place(TypedDict):
    """Which picture of a figure."""

    row: int
    col: int


def plot_result(result: ResultData, kind: str = "auto", outlined: xr.DataArray | bool | None = None) -> go.Figure:
    """See `PatchResult.plot`. With more axes than a picture has, the strongest value over the last ones; of several pairs, the mean.

    Raises:
        PatchError: the kind is not known, or does not go with the result's axes.
    """
    recovery = result.mean().recovery
    if recovery.ndim == 0:
        raise PatchError("A result of one cell has nothing to draw.", "Look at .values and .recovery.")
    chosen = _kind_of(recovery, kind)
    marks = None if chosen == "ranks" else _marks(result, outlined)
    draw = {"heat": _heat_map, "bars": _bars, "dose": _dose, "ranks": _ranks}[chosen]
    figure = draw(recovery, result, marks)
    info = result.info
    title = " · ".join(str(info.get(key)) for key in ("site", "metric", "direction", "model"))
    pairs = result.values.sizes.get("pair")
    title += f" · mean of {pairs} pairs" if pairs else ""
    return _styled(figure, f"{title} · estimated" if (result.state == ESTIMATE).any() else title)


def plot_side_by_side(effects: Mapping[str, xr.DataArray], results: Mapping[str, ResultData]) -> go.Figure:
    """Effects of several results, as heat maps on one scale, or as bars in one picture."""
    reduced = {name: _to_two(effect) for name, effect in effects.items()}
    first = next(iter(reduced.values()))
    if first.ndim == 0:
        raise PatchError("Results of one cell have nothing to draw.", "Look at .to_frame().")
    if first.ndim == 1:
        figure = go.Figure()
        for color, (name, effect) in zip(_cycle(len(reduced)), reduced.items(), strict=True):
            x = _labels(effect, str(effect.dims[0]), results[name])
            figure.add_bar(x=x, y=effect.to_numpy(), name=name, marker_color=color)
        return _styled(_with_levels(figure, str(first.dims[0]), "effect"), "effect, side by side")
    figure = make_subplots(1, len(reduced), subplot_titles=list(reduced), shared_yaxes=True)
    limit = max(_limit(effect) for effect in reduced.values())
    for column, (name, effect) in enumerate(reduced.items(), 1):
        figure.add_trace(_heat(effect, results[name], limit, "effect", bar=column == 1), row=1, col=column)
        figure.update_xaxes(title_text=str(effect.dims[1]), type="category", row=1, col=column)
    figure.update_yaxes(title_text=str(first.dims[0]), type="category", col=1)
    return _styled(figure, "effect, side by side")


def _kind_of(recovery: xr.DataArray, kind: str) -> str:
    dims = [str(dim) for dim in recovery.dims if dim not in _PANELS]
    if kind == "auto":
        if any(dim in _DOSES for dim in dims):
            return "dose"
        if dims[-1:] == ["neuron"]:
            return "ranks"
        return "heat" if len(dims) > 1 else "bars"
    if kind not in ("heat", "bars", "dose", "ranks"):
        raise PatchError(f"There is no plot of kind {kind!r}.", "Use 'auto', 'heat', 'bars', 'ranks' or 'dose'.")
    if kind == "heat" and len(dims) < 2:
        raise PatchError(f"A heat map has two axes, and the result has {', '.join(dims) or 'none'}.", "Use kind='bars'.")
    if kind == "dose" and not any(dim in _DOSES for dim in dims):
        raise PatchError("A dose-response curve needs an axis 'strength'.", "Use kind='bars' or 'heat'.")
    return kind


def _heat_map(recovery: xr.DataArray, result: ResultData, marks: xr.DataArray | None) -> go.Figure:
    panels = [str(dim) for dim in recovery.dims if dim in _PANELS]
    parts = [(str(label), recovery.sel({panels[0]: label})) for label in recovery[panels[0]].to_numpy()] if panels else [("", recovery)]
    figure = make_subplots(1, len(parts), subplot_titles=[name for name, _ in parts] if panels else None, shared_yaxes=True)
    limit = _limit(recovery)
    for column, (name, part) in enumerate(parts, 1):
        values, place = _to_two(part), _Place(row=1, col=column)
        rows, cols = (str(dim) for dim in values.dims)
        figure.add_trace(_heat(values, result, limit, "recovery", bar=column == 1), **place)
        if marks is not None:
            own = marks.sel({panels[0]: name}) if panels else marks
            _outline(figure, own.any([dim for dim in own.dims if dim not in values.dims]).transpose(rows, cols), values, result, place)
        figure.update_xaxes(title_text=cols, type="category", **place)
        figure.update_yaxes(title_text=rows if column == 1 else None, type="category", **place)
    return figure


def _heat(values: xr.DataArray, result: ResultData, limit: float, what: str, *, bar: bool) -> go.Heatmap:
    rows, cols = (str(dim) for dim in values.dims)
    return go.Heatmap(
        z=values.to_numpy(),
        x=_labels(values, cols, result),
        y=_labels(values, rows, result),
        zmin=-limit,
        zmax=limit,
        colorscale=_SCALE,
        showscale=bar,
        colorbar={"title": {"text": what}, "tickvals": [-limit, 0, 1, limit] if limit > 1 else [-1, 0, 1], "tickformat": ".2~f"},
        hovertemplate=f"{rows} %{{y}}<br>{cols} %{{x}}<br>{what} %{{z:.3f}}<extra></extra>",
    )


def _outline(figure: go.Figure, marks: xr.DataArray, values: xr.DataArray, result: ResultData, place: _Place) -> None:
    """Squares around the significant cells."""
    rows, cols = (str(dim) for dim in values.dims)
    at = np.argwhere(marks.to_numpy())
    x, y = _labels(values, cols, result), _labels(values, rows, result)
    marker = {"symbol": "square-open", "size": 9, "line": {"width": 1.5}, "color": _INK}
    name = f"significant ({marks.attrs.get('method', '')}, {marks.attrs.get('alpha', '')})" if marks.attrs else "significant"
    points = {"x": [x[col] for _, col in at], "y": [y[row] for row, _ in at]}
    figure.add_scatter(**points, mode="markers", marker=marker, name=name, hoverinfo="skip", showlegend=place["col"] == 1, **place)
    figure.update_layout(legend={"orientation": "h", "y": -0.25})


def _bars(recovery: xr.DataArray, result: ResultData, marks: xr.DataArray | None) -> go.Figure:
    """Bars over the first axis; a second one gives bars side by side."""
    panels = [str(dim) for dim in recovery.dims if dim in _PANELS]
    figure = go.Figure()
    parts = [(str(label), recovery.sel({panels[0]: label})) for label in recovery[panels[0]].to_numpy()] if panels else [("", recovery)]
    for color, (name, part) in zip(_cycle(len(parts)), parts, strict=True):
        values = part
        while values.ndim > 1:
            values = _strongest(values)
        dim = str(values.dims[0])
        own = None if marks is None else marks.sel({panels[0]: name}) if panels else marks
        shown = None if own is None else own.any([d for d in own.dims if d != dim]).to_numpy()
        line = {"width": 0 if shown is None else np.where(shown, 2, 0), "color": _INK}
        error = _error(result, panels[0] if panels else None, name) if part.ndim == 1 else None
        figure.add_bar(x=_labels(values, dim, result), y=values.to_numpy(), name=name, marker={"color": color, "line": line}, error_y=error)
    return _with_levels(figure, dim, "recovery").update_layout(showlegend=bool(panels))


def _dose(recovery: xr.DataArray, result: ResultData, marks: xr.DataArray | None) -> go.Figure:
    """Recovery against strength, one line for each place on the other axes."""
    dose = next(str(dim) for dim in recovery.dims if dim in _DOSES)
    others = [str(dim) for dim in recovery.dims if dim != dose]
    lines = recovery.stack(line=others) if others else recovery.expand_dims(line=[""])
    figure = go.Figure()
    for color, number in zip(_cycle(lines.sizes["line"]), range(lines.sizes["line"]), strict=True):
        one = lines.isel(line=number)
        label = one["line"].item() if others else ""
        name = ", ".join(f"{dim} {place}" for dim, place in zip(others, label, strict=True)) if others else ""
        error = None if others else _error(result, None, "")
        y = one.transpose(dose).to_numpy() if others else one.to_numpy()
        figure.add_scatter(x=recovery[dose].to_numpy(), y=y, mode="lines+markers", name=name, line={"color": color}, error_y=error)
    _with_levels(figure, dose, "recovery").update_layout(showlegend=bool(others))
    return figure.update_xaxes(type="linear")


def _ranks(recovery: xr.DataArray, result: ResultData, marks: xr.DataArray | None) -> go.Figure:
    """Cells from the largest effect to the smallest: how few of them carry how much."""
    flat = recovery.to_numpy().ravel()
    order = np.argsort(-np.abs(np.nan_to_num(flat)), kind="stable")
    order = order[np.isfinite(flat[order])]
    places = np.unravel_index(order, recovery.shape)
    texts = [
        ", ".join(f"{dim} {recovery[dim].to_numpy()[place]}" for dim, place in zip(recovery.dims, where, strict=True))
        for where in zip(*places, strict=True)
    ]
    points = go.Scattergl if len(order) > 2000 else go.Scatter
    hover = "%{text}<br>rank %{x}<br>recovery %{y:.3f}<extra></extra>"
    x = np.arange(1, len(order) + 1)
    figure = go.Figure(points(x=x, y=flat[order], text=texts, mode="markers", marker={"size": 4, "color": _COLORS[0]}, hovertemplate=hover))
    return _with_levels(figure, "rank by size of effect", "recovery").update_xaxes(type="log")


def _with_levels(figure: go.Figure, x: str, y: str) -> go.Figure:
    """Lines at 0 (nothing changed) and 1 (all brought back)."""
    figure.add_hline(y=0, line_width=1).add_hline(y=1, line_width=1, line_dash="dash")
    return figure.update_layout(xaxis={"title": {"text": x}, "type": "category"}, yaxis={"title": {"text": y}})


def _styled(figure: go.Figure, title: str) -> go.Figure:
    return figure.update_layout(title={"text": title, "font": {"size": 14}}, template="plotly_white")


def _marks(result: ResultData, outlined: xr.DataArray | bool | None) -> xr.DataArray | None:
    """The cells to outline."""
    if isinstance(outlined, xr.DataArray):
        return outlined
    enough = result.values.sizes.get("pair", 1) >= _ENOUGH_PAIRS and result.complete
    if outlined is False or (outlined is None and not enough):
        return None
    return significant(result)


def _error(result: ResultData, panel: str | None, label: str) -> dict | None:
    """Standard errors of the mean recovery over pairs, as bars of error."""
    if "pair" not in result.values.dims or result.reason:
        return None
    change = changes(result)
    part = change.sel({panel: label}) if panel else change
    gap = abs(float(np.mean(result.clean - result.corrupted)))
    sem = part.std("pair", ddof=1) / np.sqrt(part.count("pair")) / gap
    return {"type": "data", "array": sem.to_numpy(), "thickness": 1, "width": 2}


def _to_two(values: xr.DataArray) -> xr.DataArray:
    while values.ndim > 2:
        values = _strongest(values)
    return values


def _strongest(values: xr.DataArray) -> xr.DataArray:
    last = str(values.dims[-1])
    strongest = abs(values).fillna(-1).argmax(dim=[last])
    return values.isel(strongest)


def _limit(values: xr.DataArray) -> float:
    found = values.to_numpy()
    return float(max(1.0, np.nanmax(np.abs(found)))) if np.isfinite(found).any() else 1.0


def _cycle(n: int) -> Sequence[str]:
    return [_COLORS[i % len(_COLORS)] for i in range(n)]


def _labels(values: xr.DataArray, dim: str, result: ResultData) -> list[str]:
    labels, tokens = values[dim].to_numpy(), result.info.get("tokens")
    if tokens and dim in ("pos", "dest_pos", "src_pos") and labels.dtype.kind == "i":
        return [f"{n} {tokens[n]}" for n in labels]
    return [str(label) for label in labels]
