"""What jobs bring to a lab: baselines, cells, ends and failures, each told to the page at once."""

from typing import Any

import numpy as np

from patchwidget.widget.transport import protocol
from patchwidget.widget.transport.errors import describe_error

from .attention import AttentionView
from .experiment_pool import Setting
from .selection import Selection
from .state import Standing
from .views import GridView, View
from .ways import upto


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
            view.outlined, view.significant = outlined, None
            if significant is not None:
                view.significant = np.zeros(view.total, np.uint8)
                view.significant[view.work[0].places] = significant

    def fail(self, view: View, error: BaseException) -> None:
        """A view can't be filled. One of which nothing is known goes, and one stands where one stood before."""
        message = describe_error(error, view.request, view.id)
        with self._lock:
            if not view.live:
                return
            view.end("failed")
            self.post(message)
            for other in self._asking.pop(view.id, []):
                self.post(message | {"id": other})
            self._forget(view)

    def doubt(self, fresh: View | None) -> None:
        """The model has changed since: of all that is known, only what `fresh` has is of the model as it is."""
        with self._lock:
            self._baselines.clear()
            for view in self._tree:
                if view is not fresh and view.known:
                    view.doubt()
                    self.post(protocol.result(view.request, view.id, view.status, view.descriptor()))

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

    def _forget(self, view: View) -> None:
        """A view that has failed before anything of it was known: one stands at the cell where it was asked for, or where one stood before."""
        back = self._before.get(view.id)
        if view.known or self._tree.ways.leads_through(view.id) or back is None or len(self._tree.on(back)) < len(back):
            return
        if upto(self._tree.ways.here, view.id):
            self._tree.ways.take(back)
        self._tree.drop(view)
        self._post_about()

    def _take(self, view: GridView, result: Any) -> None:
        if len(view.work) == 1:
            view.take(result)
