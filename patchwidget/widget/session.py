"""What is true of a lab: its setting, views and selection. Messages to the page are made here, from the truth while it holds still."""

import itertools
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from . import protocol
from .bench import Bench, Setting
from .catalog import describe_sites
from .descriptors import describe_baselines, describe_error, describe_lab, describe_pair
from .protocol import Message
from .questions import canonical, make_view
from .selection import Selection
from .steps import Steps
from .tree import Tree
from .views import AttentionView, GridView, View


class Session:
    """The views of one lab; safe in any thread.

    Each change posts its message before another can happen, so that messages and snapshots are in order. A view is over in the moment when
    another takes its place or when it is cancelled: what its job still brings is dropped.

    Attributes:
        name: the lab's id.
        selection: what is selected.
        previewing: the id of the latest request for a preview: older ones are not answered any more.
        post: sends a message to the page.
        teach: whether values are hidden until the student has marked a cell.
    """

    def __init__(self, bench: Bench, setting: Setting, waits: str | None, post: Callable[[Message], Any], name: str = "") -> None:
        """Opens the main grid; PatchError where there can be none."""
        self.bench, self.name, self._waits, self.post = bench, name, waits, post
        self.teach = False
        self.previewing: str | None = None
        self.selection = Selection()
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._baselines: dict[tuple[int, str, str], Any] = {}
        self._before: dict[str, str] = {}
        self._asking: dict[str, list[str]] = {}
        self._begun = False
        self._pinned: str | None = None
        experiment = bench.experiment(setting)
        self._steps = Steps(experiment)
        self._tree = Tree()
        self._current = self._make(experiment, setting, "set", {})
        self._tree.add(self._current)
        self._sites = describe_sites(experiment, setting.site)

    # ---- how things stand

    @property
    def main(self) -> GridView:
        """The main grid of the view one stands at."""
        root = self._tree.path(self._current)[0]
        assert isinstance(root, GridView)  # noqa: S101  for the type checker
        return root

    @property
    def current(self) -> View:
        """The view one stands at."""
        return self._current

    @property
    def setting(self) -> Setting:
        return self.main.question.setting

    @property
    def experiment(self) -> Any:
        """What is asked for the main grid at hand."""
        return self.bench.experiment(self.setting)

    def grids(self, setting: Setting) -> list[GridView]:
        """The grids that the same experiment measured."""
        with self._lock:
            return [view for view in self._tree if isinstance(view, GridView) and view.question.setting.measured_like(setting)]

    # ---- what is asked: each gives the view that is to be filled, or None where nothing is left to measure

    def begin(self) -> View | None:
        """The main grid, to be measured: the first time only."""
        with self._lock:
            first, self._begun = not self._begun, True
            return self._current if first else None

    def set(self, request: str | None, **changes: Any) -> View | None:
        """The main grid of another setting: any of pair, site, metric and direction."""
        with self._lock:
            setting = replace(self.setting, **{name: value for name, value in changes.items() if value is not None})
            if not self._begun:
                return self._begin_with(setting)
            return self._open(request, setting, "set", {}, None)

    def ask(self, request: str | None, method: str, params: Message, parent: Message | None = None) -> View | None:
        """A question asked at a cell (of the main grid at hand if none is named), in the setting of the view where it is asked."""
        with self._lock:
            asker = self._tree[parent["view"]] if parent else self.main
            parent = parent or {"view": asker.id, "row": None, "col": None}
            return self._open(request, asker.question.setting, method, params, parent)

    def again(self, request: str | None, view: str, **changes: Any) -> View | None:
        """A view's question under another setting, beside it."""
        with self._lock:
            question, parent = self._tree[view].question, self._tree[view].parent
            setting = replace(question.setting, **{name: value for name, value in changes.items() if value is not None})
            return self._open(request, setting, question.method, dict(question.params), parent)

    def sweep(self, request: str | None, view: str | None = None) -> View:
        """Measure a view again."""
        with self._lock:
            chosen = self._tree[view] if view else self.main
            return self._reopen(chosen, request)

    def show(self, request: str | None, view: str) -> None:
        """Go to a view."""
        with self._lock:
            self._go_to(self._tree[view])
            self._tell(request, self._tree[view])

    def fetch(self, request: str | None, view: str) -> None:
        """Tell all of a view."""
        with self._lock:
            self._tell(request, self._tree[view])

    def pin(self, request: str | None, view: str | None) -> None:
        """Keep a view to compare with, or none."""
        with self._lock:
            self._pinned = self._tree[view].id if view else None
            self._post_about(request)

    def set_teach(self, request: str | None, on: bool) -> None:
        """Hide values until the student has marked a cell, or not."""
        with self._lock:
            self.teach = on
            self._post_about(request)

    def tell(self, request: str | None) -> None:
        """Say how things stand, in answer to what has been done elsewhere."""
        with self._lock:
            self._post_about(request)

    def select(self, request: str | None, cells: list[Message]) -> Selection:
        """Select cells in place of those before."""
        with self._lock:
            self._end_selection("cancelled", tell=False)
            self.selection = Selection(cells=cells, request=request, status="queued" if cells else "none", setting=self.setting)
            self._post_selection()
            return self.selection

    def cancel(self, name: str) -> None:
        """Stop what the request `name` fills, or the view of that id; what is done is kept. Nothing happens where it is over."""
        with self._lock:
            for view in self._tree:
                if name in {view.request, view.id, *self._asking.get(view.id, [])}:
                    self._finish(view, "cancelled")
            if name == self.selection.request:
                self._end_selection("cancelled")

    def post_snapshot(self) -> None:
        """Tell the page everything; of views that it does not stand at, without the arrays."""
        with self._lock:
            shown = {view.id for view in self._tree.path(self._current)} | {self._pinned}
            self.post(protocol.hello(self._about(), [view.descriptor(kept=view.id not in shown) for view in self._tree]))

    def stored(self, limit: int | None = None) -> Message:
        """A snapshot that needs no kernel: with all views, or as many as fit into about `limit` bytes of text, those at hand first."""
        with self._lock:
            kept, used = [], 0
            for view in [*reversed(self._tree.path(self._current)), *reversed(list(self._tree))]:
                size = len(json.dumps(view.descriptor(kept=True))) + view.size * 4 // 3
                if view.known and view not in kept and (limit is None or used + size <= limit):
                    kept.append(view)
                    used += size
            names = {view.id for view in kept}
            current = self._current.id if self._current.id in names else kept[0].id if kept else None
            about = self._about()
            pinned = about["lab"]["pinned"] if about["lab"]["pinned"] in names else None
            views = [view for view in self._tree if view.id in names]
            lab = {"live": False, "waits": None, "views": [view.id for view in views], "current": current, "pinned": pinned}
            return protocol.hello(about | {"lab": about["lab"] | lab}, [view.descriptor() for view in views]) | {"seq": 0}

    def close(self) -> None:
        """Want nothing more, and say nothing more."""
        with self._lock:
            self.post = lambda _: None
            self._end_selection("cancelled")
            for view in self._tree:
                self._finish(view, "cancelled")

    # ---- what jobs bring

    def know_baselines(self, setting: Setting, baselines: Any) -> None:
        """Both runs of an experiment have been measured."""
        key = (setting.pair, setting.metric, setting.direction)
        with self._lock:
            if key in self._baselines:
                return
            self._baselines[key] = baselines
            for grid in self.grids(setting):
                grid.know(baselines)
            self._post_about()

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

    # ---- private

    def _make(self, experiment: Any, setting: Setting, method: str, params: Message) -> View:
        return make_view(experiment, self._steps, setting, f"v{next(self._numbers)}", method, params)

    def _open(self, request: str | None, setting: Setting, method: str, params: Message, parent: Message | None) -> View | None:
        known = self._tree.answering(canonical(method, params, setting), self._tree[parent["view"]] if parent else None)
        if known is not None and known.status in {"cancelled", "failed"}:
            return self._reopen(known, request)
        if known is not None:
            self._cancel_others(known)
            self._go_to(known)
            self._answer(request, known)
            return None
        view = self._make(self.bench.experiment(setting), setting, method, params)
        self._before[view.id] = self._current.id
        self._place(view, request, parent)
        return view

    def _begin_with(self, setting: Setting) -> None:
        """Another main grid than the first, which has not been shown yet."""
        first = self._current
        self._current = self._make(self.bench.experiment(setting), setting, "set", {})
        self._tree.add(self._current)
        self._tree.drop(first)
        self._post_about()

    def _reopen(self, old: View, request: str | None) -> View:
        """A view anew: under its id, so that its children stay its children."""
        self._finish(old, "cancelled")
        question = old.question
        experiment = self.bench.experiment(question.setting)
        view = make_view(experiment, self._steps, question.setting, old.id, question.method, dict(question.params))
        self._place(view, request, old.parent)
        return view

    def _place(self, view: View, request: str | None, parent: Message | None) -> None:
        """A view takes its place in the tree, and one stands at it."""
        view.request, view.parent = request, parent
        if isinstance(view, GridView):
            view.marked = self._mark(view, parent)
            setting = view.question.setting
            baselines = self._baselines.get((setting.pair, setting.metric, setting.direction))
            if baselines is not None:
                view.know(baselines)
        self._tree.add(view)
        self._cancel_others(view)
        self._current = view
        self.post(protocol.progress(view.request, view.id, view.done, view.total, None, opened=view.descriptor()))
        self._trim()
        self._post_about()

    def _go_to(self, view: View) -> None:
        if self._current is not view:
            self._current = view
            self._post_about()

    def _answer(self, request: str | None, view: View) -> None:
        """Tell a request that it is over; or remember it, where what it asks for is still being measured for another."""
        if request is not None and view.live:
            self._asking.setdefault(view.id, []).append(request)
        else:
            self._tell(request, view)

    def _tell(self, request: str | None, view: View) -> None:
        """All of a view, as it is."""
        if request is not None:
            self.post(protocol.result(request, view.id, view.status, view.descriptor()))

    def _mark(self, view: GridView, parent: Message | None) -> Message | None:
        """The row or column of a new grid that the clicked cell lies in."""
        asker = self._tree[parent["view"]] if parent else None
        if not isinstance(asker, GridView) or parent is None:
            return None
        clicked = asker.coordinates(parent.get("row"), parent.get("col"))
        row, col = (axis.place(clicked.get(axis.name)) if axis.size > 1 else None for axis in (view.rows, view.cols))
        return None if row is None and col is None else {"row": row, "col": col}

    def _cancel_others(self, view: View) -> None:
        """A new question cancels all that does not lead to it; what of that nothing is known of goes."""
        wanted = {one.id for one in self._tree.path(view)} | {self._pinned}
        for other in self._tree:
            if other.live and other.id not in wanted:
                if other.known or self._tree.has_children(other):
                    self._finish(other, "cancelled")
                else:
                    self._tree.drop(other)
                    self._finish(other, "cancelled", dropped=True)

    def _finish(self, view: View, status: str, *, dropped: bool = False) -> None:
        if view.live:
            view.status, view.seconds_left = status, 0 if status == "done" else None
            told = None if dropped else view.descriptor()
            for request in [view.request, *self._asking.pop(view.id, [])]:
                self.post(protocol.result(request, view.id, status, told))

    def _take(self, view: GridView, result: Any) -> None:
        if len(view.work) == 1:
            view.result = result

    def _trim(self) -> None:
        before = {view.id for view in self._tree}
        self._tree.trim({view.id for view in self._tree.path(self._current)} | {self._pinned or ""})
        if before != {view.id for view in self._tree}:
            self._post_about()

    def _end_selection(self, status: str, *, tell: bool = True) -> None:
        if self.selection.live:
            self.selection.status = status
            if tell:
                self._post_selection()

    def _post_selection(self) -> None:
        self.post(protocol.selection(self.selection.request, self.selection.descriptor()))

    def _post_about(self, request: str | None = None) -> None:
        self.post(protocol.lab(self._about(), request))

    def _about(self) -> Message:
        setting, pinned = self.setting, self._pinned if self._pinned in self._tree else None
        views = {"current": self._current.id, "pinned": pinned, "views": [view.id for view in self._tree]}
        lab = {"id": self.name, "live": True, "waits": self._waits, "teach": self.teach, "sites": self._sites, **views}
        return {
            "lab": describe_lab(self.bench, setting) | lab,
            "pair": describe_pair(self.bench.experiment(setting).pair),
            "baselines": describe_baselines(self._baselines.get((setting.pair, setting.metric, setting.direction))),
            "selection": self.selection.descriptor(),
        }
