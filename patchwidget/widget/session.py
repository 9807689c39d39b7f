"""What is true of a lab: its experiment, views and selection. Messages to the page are made here, from the truth while it holds still."""

import itertools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from patchwidget.errors import PatchError

from . import protocol, views
from .descriptors import describe_baselines, describe_error, describe_lab, describe_pair
from .views import ATTENTION, HEADS, MAIN, PLACES, AttentionView, GridView, View

AnyView = TypeVar("AnyView", bound=View)


class Session:
    """The views of one experiment; safe in any thread.

    Each change posts its message before another can happen, so that messages and snapshots are in order. A view is over in the moment when
    another takes its place or when it is cancelled: what its job still brings is dropped.

    Attributes:
        selection: the last click: layer and pos, or layer, head and pos.
        result: the latest PatchResult of the main grid; while it fills, with the cells known so far.
    """

    def __init__(self, experiment: Any, site: str, waits: str | None, post: Callable[[protocol.Message], Any]) -> None:
        self.experiment = experiment
        self.site = site
        self.selection: dict[str, int] | None = None
        self.result: Any = None
        self._waits = waits
        self._post = post
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._baselines: Any = None
        self._begun = False
        self._plan = experiment.start(site)
        self._views: dict[str, View] = {MAIN: views.main_grid(experiment, site, self._plan, view=self._new_id(), request=None)}

    @property
    def main(self) -> GridView:
        """The main grid."""
        view = self._views[MAIN]
        assert isinstance(view, GridView)  # noqa: S101  for the type checker
        return view

    # ---- what is asked

    def begin(self) -> GridView | None:
        """The main grid, to be measured: the first time only."""
        with self._lock:
            first, self._begun = not self._begun, True
            return self.main if first else None

    def open_main(self, request: str | None) -> GridView:
        """Measure the main grid again: under the id it had, so that its children stay its children."""
        with self._lock:
            return self._open(views.main_grid(self.experiment, self.site, self._plan, view=self.main.id, request=request))

    def open_heads(self, request: str | None, layer: int, pos: int) -> GridView:
        """Open the grid of all heads at one position; PatchError where the main grid has no such cell."""
        self._check(layer=layer, pos=pos)
        with self._lock:
            self.selection = {"layer": layer, "pos": pos}
            self._close_attention()
            return self._open(
                views.heads_grid(self.experiment, view=self._new_id(), request=request, layer=layer, pos=pos, parent=self.main)
            )

    def open_attention(self, request: str | None, layer: int, head: int, pos: int) -> AttentionView:
        """Open the attention row of a head from one position; PatchError where there is none."""
        self._check(layer=layer, head=head, pos=pos)
        with self._lock:
            self.selection = {"layer": layer, "head": head, "pos": pos}
            heads = self._views.get(HEADS)
            parent = heads if isinstance(heads, GridView) and heads.pos == pos else None
            return self._open(
                views.attention_row(self.experiment, view=self._new_id(), request=request, layer=layer, head=head, pos=pos, parent=parent)
            )

    def cancel(self, name: str) -> None:
        """Stop what the request `name` fills, or the view of that id; what is done is kept. Nothing happens where it is over."""
        with self._lock:
            for view in self._views.values():
                if name in {view.request, view.id}:
                    self._finish(view, "cancelled")

    def post_snapshot(self) -> None:
        """Tell the page everything."""
        with self._lock:
            lab, pair = describe_lab(self.experiment, self.site, self._waits), describe_pair(self.experiment.pair)
            shown = [self._views[place].descriptor() for place in PLACES if place in self._views]
            self._post(protocol.hello(lab, pair, describe_baselines(self._baselines), shown))

    def close(self) -> None:
        """Want nothing more, and say nothing more."""
        with self._lock:
            self._post = lambda _: None
            for view in self._views.values():
                self._finish(view, "cancelled")

    # ---- what jobs bring

    def know_baselines(self, baselines: Any) -> None:
        """Both runs have been measured."""
        with self._lock:
            self._baselines = baselines
            self.main.know(baselines)
            self.post_snapshot()

    def advance(self, view: GridView, sweep: Any, index: np.ndarray, seconds_left: float | None) -> None:
        """Some cells of a grid, by their flat numbers, are known."""
        result = sweep.result
        with self._lock:
            if view.live:
                view.status, view.done, view.seconds_left = "running", sweep.done, seconds_left
                view.absorb(result)
                self.result = result if view is self.main else self.result
                self._post(protocol.progress(view.request, view.id, view.done, view.total, seconds_left, cells=view.cells(index)))

    def complete(self, view: GridView | AttentionView, found: Any) -> None:
        """All of a view is known: `found` is its PatchResult or AttentionRow."""
        with self._lock:
            if view.live:
                view.absorb(found)
                view.done = view.total
                self.result = found if view is self.main else self.result
                self._finish(view, "done")

    def fail(self, view: View, error: BaseException) -> None:
        """A view can't be filled."""
        message = describe_error(error, view.request, view.id)
        with self._lock:
            if view.live:
                view.status, view.seconds_left = "failed", None
                self._post(message)

    # ---- private

    def _new_id(self) -> str:
        return f"v{next(self._numbers)}"

    def _open(self, view: AnyView) -> AnyView:
        if view.place in self._views:
            self._finish(self._views[view.place], "cancelled")
        if isinstance(view, GridView) and self._baselines is not None:
            view.know(self._baselines)
        self._views[view.place] = view
        self._post(protocol.progress(view.request, view.id, view.done, view.total, None, opened=view.descriptor()))
        return view

    def _finish(self, view: View, status: str) -> None:
        if view.live:
            view.status, view.seconds_left = status, 0 if status == "done" else None
            self._post(protocol.result(view.request, view.id, status, view.descriptor()))

    def _close_attention(self) -> None:
        """A row belongs to the grid of heads it was asked for in, and goes with it."""
        if ATTENTION in self._views:
            self._finish(self._views.pop(ATTENTION), "cancelled")

    def _check(self, **asked: int) -> None:
        model, length = self.experiment.model, len(self.experiment.pair.clean_tokens)
        sizes = {"layer": ("Layer", "this model has layers", model.n_layers), "head": ("Head", "this model has heads", model.n_heads)}
        sizes["pos"] = ("Position", "these prompts have positions", length)
        for name, number in asked.items():
            what, there_are, size = sizes[name]
            if not 0 <= number < size:
                raise PatchError(f"{what} {number} does not exist: {there_are} 0 to {size - 1}.", f"Choose a {name} from 0 to {size - 1}.")
