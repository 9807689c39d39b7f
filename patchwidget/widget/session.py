"""What is asked of a lab: each question changes what is true of it, and gives what is then to be measured."""

from dataclasses import replace
from typing import Any

import numpy as np

from . import protocol
from .bench import EVERY, Setting
from .findings import Findings
from .grids import canonical
from .means import pair_of
from .protocol import Message
from .questions import make_view
from .selection import Selection
from .views import FINAL, GridView, View


class Session(Findings):
    """The views of one lab; safe in any thread.

    Each change posts its message before another can happen, so that messages and snapshots are in order. A view is over in the moment when
    another takes its place or when it is cancelled: what its job still brings is dropped.
    """

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

    def stop(self) -> None:
        """Want nothing more of what is being measured; what is done is kept."""
        with self._lock:
            self._end_selection("cancelled")
            for view in self._tree:
                self._finish(view, "cancelled")

    def close(self) -> None:
        """Want nothing more, and say nothing more."""
        with self._lock:
            self.post = lambda _: None
            self.stop()

    # ---- private

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
        if isinstance(view, GridView):
            self._take_from_all(view)
        self._before[view.id] = self._current.id
        self._place(view, request, parent)
        return view

    def _take_from_all(self, view: GridView) -> None:
        """The cells of one pair that have been measured with all the others are not measured again."""
        setting = view.question.setting
        if not 0 <= setting.pair < self.bench.together or len(view.work) != 1:
            return
        every = self._tree.answering(replace(view.question, setting=replace(setting, pair=EVERY)))
        if not isinstance(every, GridView) or every.result is None or every.axes != view.axes:
            return
        experiment = self.bench.experiment(setting)
        mine = pair_of(every.result, setting.pair, view.code, getattr(experiment.pair, f"{experiment.base}_tokens"))
        if np.isin(mine.state, FINAL).all():
            view.absorb(mine, view.work[0].places)
            view.result = mine

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
            self._know(view, self._baselines.get((setting.pair, setting.metric, setting.direction)))
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
