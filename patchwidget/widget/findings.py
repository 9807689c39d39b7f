"""What jobs bring to a lab: baselines, cells, ends and failures, each told to the page at once."""

from typing import Any

import numpy as np

from . import protocol
from .bench import Setting
from .descriptors import describe_error
from .selection import Selection
from .standing import Standing
from .views import AttentionView, GridView, View


class Findings(Standing):
    """What has been found out; what comes for a view that is over is dropped."""

    def know_baselines(self, setting: Setting, baselines: Any) -> None:
        """Both runs of an experiment have been measured."""
        key = (setting.pair, setting.metric, setting.direction)
        with self._lock:
            if key in self._baselines:
                return
            self._baselines[key] = baselines
            for grid in self.grids(setting):
                self._know(grid, baselines)
            self._post_about()

    def know_recorded(self, view: GridView, recorded: int) -> None:
        """Both runs of so many of a grid's pairs are recorded."""
        with self._lock:
            if view.live:
                view.status, view.recorded = "running", recorded
                self.post(protocol.progress(view.request, view.id, view.done, view.total, None, recorded=recorded))

    def advance(self, view: GridView, result: Any, places: np.ndarray, seconds_left: float | None) -> None:
        """More cells of a grid are known."""
        with self._lock:
            if view.live:
                news = view.absorb(result, places)
                view.status, view.seconds_left = "running", seconds_left
                self._take(view, result)
                self.post(protocol.progress(view.request, view.id, view.done, view.total, seconds_left, cells=view.cells(news)))

    def complete(self, view: View, found: Any = None) -> None:
        """All of a view is known; `found` is the AttentionRow where it is of attention."""
        with self._lock:
            if view.live:
                if isinstance(view, AttentionView):
                    view.absorb(found)
                view.done = view.total
                self._finish(view, "done")
                self._trim()

    def take_final(self, view: GridView, result: Any, places: np.ndarray) -> None:
        """One of a grid's sweeps has ended, with its checks."""
        with self._lock:
            if view.live:
                view.absorb(result, places)
                self._take(view, result)

    def know_significant(self, view: GridView, significant: np.ndarray | None, outlined: str) -> None:
        """Which cells of a mean over pairs are not by chance, in the order of its one sweep."""
        with self._lock:
            if not view.live:
                return
            view.outlined = outlined
            if significant is not None:
                view.significant = np.zeros(view.total, np.uint8)
                view.significant[view.work[0].places] = significant

    def fail(self, view: View, error: BaseException) -> None:
        """A view can't be filled. One of which nothing is known goes, and one stands where one stood before."""
        message = describe_error(error, view.request, view.id)
        with self._lock:
            if not view.live:
                return
            view.status, view.seconds_left = "failed", None
            self.post(message)
            for other in self._asking.pop(view.id, []):
                self.post(message | {"id": other})
            before = self._before.get(view.id)
            if not (view.known or self._tree.has_children(view)) and before is not None and before in self._tree:
                self._tree.drop(view)
                if self._current is view:
                    self._current = self._tree[before]
                self._post_about()

    def know_selection(self, selection: Selection, **found: Any) -> None:
        """Something of what is selected has been measured, or can't be."""
        with self._lock:
            if selection.live:
                for name, value in found.items():
                    setattr(selection, name, value)
                self._post_selection()

    def fail_selection(self, selection: Selection, error: BaseException) -> None:
        """What is selected can't be measured."""
        told = describe_error(error, None)
        self.know_selection(selection, status="failed", problem=(told["message"], told["hint"]))

    def _take(self, view: GridView, result: Any) -> None:
        if len(view.work) == 1:
            view.result = result
