"""The figure of a ladder, in plotly."""

import numpy as np
import plotly.graph_objects as go
import xarray as xr


def plot_ladder(strengths: np.ndarray, probabilities: xr.DataArray, kl: np.ndarray, model: str) -> go.Figure:
    """Each followed token's probability against strength, and the KL from the unsteered distribution, dashed, on an axis of its own."""
    figure = go.Figure()
    for column, text in enumerate(probabilities["token"].to_numpy()):
        figure.add_scatter(
            x=strengths,
            y=probabilities.to_numpy()[:, column],
            name=repr(str(text)),
            mode="lines",
            hovertemplate="strength %{x:.3g}<br>probability %{y:.3f}",
        )
    figure.add_scatter(
        x=strengths,
        y=kl,
        name="KL",
        mode="lines",
        yaxis="y2",
        line={"dash": "dash", "color": "gray"},
        hovertemplate="strength %{x:.3g}<br>KL %{y:.3f} nats",
    )
    return figure.update_layout(
        title={"text": f"What comes next, by strength · {model}", "font": {"size": 14}},
        xaxis={"title": {"text": "strength"}},
        yaxis={"title": {"text": "probability"}, "rangemode": "tozero"},
        yaxis2={
            "title": {"text": "KL from unsteered (nats)"},
            "overlaying": "y",
            "side": "right",
            "rangemode": "tozero",
            "showgrid": False,
        },
        legend={"x": 1.12},
        template="plotly_white",
    )
