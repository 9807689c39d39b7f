"""What a lab shows: grids of cells and rows of attention, and the descriptors that tell the page about them.

A view keeps plain arrays, taken from results as they come, so that a snapshot can be made at any time and in any thread.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from patchwidget.errors import SiteError

from .protocol import Message

MAIN, HEADS, ATTENTION = "main", "heads", "attention"
PLACES = (MAIN, HEADS, ATTENTION)
"""There is one view of each, and a new one takes the place of the old."""

_PENDING = 0


@dataclass(frozen=True)
class Axis:
    """One side of a grid: the name of its dimension and a label for each row or column."""

    name: str
    labels: tuple[str, ...]


@dataclass(kw_only=True)
class View:
    """What all views have in common; `request` is the id of the request that fills it, `parent` the cell that was clicked to come here."""

    id: str
    place: str
    title: str
    request: str | None = None
    parent: Message | None = None
    status: str = "queued"
    done: int = 0
    total: int = 1
    seconds_left: float | None = None

    @property
    def live(self) -> bool:
        """Whether it is still to be filled."""
        return self.status in {"queued", "running"}

    def descriptor(self) -> Message:
        """All that the page needs to draw it; arrays stand in place."""
        raise NotImplementedError

    def _common(self, kind: str) -> Message:
        return {"id": self.id, "kind": kind, "request": self.request, "title": self.title, "parent": self.parent, "status": self.status}


@dataclass(kw_only=True)
class GridView(View):
    """Cells in rows and columns, each with a raw metric, a recovery and a state; all arrays are flat, rows x columns in C order."""

    site: str
    rows: Axis
    cols: Axis
    metric: str
    direction: str
    pos: int | None = None
    marked: Message | None = None
    numbers: Message = field(default_factory=lambda: {"clean": None, "corrupted": None, "noise_floor": None, "reason": None, "checks": []})

    def __post_init__(self) -> None:
        self.total = len(self.rows.labels) * len(self.cols.labels)
        self.values = np.full(self.total, np.nan, np.float32)
        self.recovery = np.full(self.total, np.nan, np.float32)
        self.state = np.full(self.total, _PENDING, np.uint8)

    def know(self, baselines: Any) -> None:
        """Take over what both runs measure without a patch."""
        self.numbers |= {"clean": baselines.clean, "corrupted": baselines.corrupted}

    def absorb(self, result: Any) -> None:
        """Take over what a PatchResult, finished or not, knows."""
        self.values = np.array(result.values, np.float32).ravel()
        self.recovery = np.array(result.recovery, np.float32).ravel()
        self.state = np.array(result.state, np.uint8).ravel()
        self.numbers = {
            "clean": result.clean,
            "corrupted": result.corrupted,
            "noise_floor": result.noise_floor,
            "reason": result.reason,
            "checks": [{"name": c.name, "ok": bool(c.ok), "value": c.value, "limit": c.limit, "text": c.text} for c in result.checks],
        }

    def cells(self, index: np.ndarray) -> Message:
        """What is known of some cells, by their flat numbers."""
        return {
            "index": index.astype(np.uint32),
            "values": self.values[index],
            "recovery": self.recovery[index],
            "state": self.state[index],
        }

    def descriptor(self) -> Message:
        return {
            **self._common("grid"),
            "site": self.site,
            "rows": {"axis": self.rows.name, "labels": list(self.rows.labels)},
            "cols": {"axis": self.cols.name, "labels": list(self.cols.labels)},
            "pos": self.pos,
            "marked": self.marked,
            "done": self.done,
            "total": self.total,
            "seconds_left": self.seconds_left,
            "metric": self.metric,
            "direction": self.direction,
            **self.numbers,
            "values": self.values,
            "recovery": self.recovery,
            "state": self.state,
        }


@dataclass(kw_only=True)
class AttentionView(View):
    """Where one head looks from one position, in both runs; NaN until it is known."""

    layer: int
    head: int
    pos: int
    tokens: Sequence[str]
    tokens_clean: Sequence[str]

    def __post_init__(self) -> None:
        self.clean = np.full(len(self.tokens_clean), np.nan, np.float32)
        self.corrupted = np.full(len(self.tokens), np.nan, np.float32)

    def absorb(self, row: Any) -> None:
        """Take over an AttentionRow."""
        self.clean = np.array(row.clean, np.float32)
        self.corrupted = np.array(row.corrupted, np.float32)

    def descriptor(self) -> Message:
        differing = {"tokens_clean": list(self.tokens_clean)} if list(self.tokens_clean) != list(self.tokens) else {}
        return {
            **self._common("attention"),
            "layer": self.layer,
            "head": self.head,
            "pos": self.pos,
            "tokens": list(self.tokens),
            **differing,
            "clean": self.clean,
            "corrupted": self.corrupted,
        }


# ------------------------------------------------------------------------------------------- the three views of a lab


def main_grid(experiment: Any, site: str, plan: Any, *, view: str, request: str | None) -> GridView:
    """The grid of the lab's own sweep, of which `plan` is a Sweep not yet begun; SiteError where it has not two dimensions."""
    if len(plan.dims) != 2:
        raise SiteError(
            f"A sweep of {site!r} has the dimensions {', '.join(plan.dims)}, and the lab's grid draws two.",
            "Choose one of resid_pre, resid_mid, resid_post, attn_out and mlp_out.",
        )
    rows, cols = (_axis(name, plan.coords[name], experiment.pair.clean_tokens) for name in plan.dims)
    spoken = ["token" if axis.name == "pos" else axis.name for axis in (rows, cols)]
    return GridView(
        id=view,
        place=MAIN,
        request=request,
        title=f"Recovery by {spoken[0]} and {spoken[1]}",
        site=site,
        rows=rows,
        cols=cols,
        metric=experiment.metric_name,
        direction=experiment.direction,
    )


def heads_grid(experiment: Any, *, view: str, request: str | None, layer: int, pos: int, parent: View) -> GridView:
    """`z` of every head of every layer at one position, asked for at a cell of the grid `parent`."""
    return GridView(
        id=view,
        place=HEADS,
        request=request,
        title=f"Heads at {experiment.pair.clean_tokens[pos]!r} ({pos})",
        site="z",
        rows=_axis("layer", range(experiment.model.n_layers)),
        cols=_axis("head", range(experiment.model.n_heads)),
        pos=pos,
        marked={"row": layer, "col": None},
        parent={"view": parent.id, "row": layer, "col": pos},
        metric=experiment.metric_name,
        direction=experiment.direction,
    )


def attention_row(
    experiment: Any, *, view: str, request: str | None, layer: int, head: int, pos: int, parent: View | None
) -> AttentionView:
    """Where a head looks from a position; `parent` is the grid of heads at that position, where it is shown."""
    pair = experiment.pair
    return AttentionView(
        id=view,
        place=ATTENTION,
        request=request,
        title=f"Head {layer}.{head} attends from {pair.clean_tokens[pos]!r} ({pos})",
        layer=layer,
        head=head,
        pos=pos,
        tokens=pair.corrupted_tokens,
        tokens_clean=pair.clean_tokens,
        parent={"view": parent.id, "row": layer, "col": head} if parent else None,
    )


def _axis(name: str, coords: Sequence[int], tokens: Sequence[str] = ()) -> Axis:
    """A sweep's dimension: positions are labelled with their tokens, all else with its numbers."""
    return Axis(name, tuple(tokens[n] if name == "pos" else str(n) for n in coords))
