"""What is asked of a lab: each question changes what is true of it, and gives what is then to be measured."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from patchwidget.errors import PatchError
from patchwidget.widget.transport import protocol
from patchwidget.widget.transport.protocol import Message

from .experiment_pool import EVERY, Setting
from .grid_questions import canonical
from .pair_means import pair_of
from .questions import make_view
from .selection import Selection
from .updates import Findings
from .views import FINAL, GridView, View
from .ways import Stop, Way, upto

Parent = Message | list[Message] | None
"""The cell at which something is asked: alone, or at the end of the way to it."""


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
            return self.main if first else None

    def set(self, request: str | None, **changes: Any) -> View | None:
        """The main grid of another setting: any of pair, site, metric and direction."""
        with self._lock:
            setting = replace(self.setting, **{name: value for name, value in changes.items() if value is not None})
            if not self._begun:
                return self._begin_with(setting)
            return self._open(request, setting, "set", {}, ())

    def ask(self, request: str | None, method: str, params: Message, parent: Parent = None) -> View | None:
        """A question asked at a cell (of the main grid at hand if none is named), in the setting of the view where it is asked.

        One stands at that cell from now on, also where the question can't be asked.
        """
        with self._lock:
            way = self._way(parent or {"view": self.main.id, "row": None, "col": None})
            try:
                return self._open(request, self._tree[way[-1].view].question.setting, method, params, way)
            except PatchError:
                self._go(way)
                raise

    def again(self, request: str | None, view: str, **changes: Any) -> View | None:
        """A view's question under another setting, beside it."""
        with self._lock:
            question, way = self._tree[view].question, self._tree.ways.to(view)
            setting = replace(question.setting, **{name: value for name, value in changes.items() if value is not None})
            return self._open(request, setting, question.method, dict(question.params), way[:-1])

    def sweep(self, request: str | None, view: str | None = None) -> View:
        """Measure a view again."""
        with self._lock:
            chosen = self._tree[view] if view else self.main
            here = self._tree.ways.here
            return self._reopen(chosen, request, here if upto(here, chosen.id) else self._tree.ways.to(chosen.id))

    def show(self, request: str | None, view: str, way: list[Message] | None = None) -> None:
        """Go to a view: by a way and to a cell of it, or as one went there last."""
        with self._lock:
            shown = self._tree[view]
            taken = self._way(way) if way else self._tree.ways.to(view)
            if taken[-1].view != view:
                raise PatchError(f"This way leads to {taken[-1].view!r}, not to {view!r}.", "Name the view at its end.")
            self._go(taken)
            self._tell(request, shown)

    def fetch(self, request: str | None, view: str) -> None:
        """Tell all of a view."""
        with self._lock:
            self._tell(request, self._tree[view])

    def pin(self, request: str | None, view: str | None) -> None:
        """Keep a view to compare with, or none."""
        with self._lock:
            before, self._pinned = self._pinned, self._tree[view].id if view else None
            if before is not None and before in self._tree and self._tree[before].live:
                self._cancel_others(self._tree.ways.here)  # it was measured beside the rest because it was pinned
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

    def _way(self, parent: Message | list[Message]) -> Way:
        """The way to a cell, as the page tells it; or to a cell alone, by the way last taken to its view.

        Raises:
            PatchError: there is no such view or cell.
        """
        cells = parent if isinstance(parent, list) else [parent]
        for cell in cells:
            self._tree[cell["view"]].check_cell(cell.get("row"), cell.get("col"))
        way = tuple(Stop(cell["view"], cell.get("row"), cell.get("col")) for cell in cells)
        return way if isinstance(parent, list) else self._tree.ways.to(way[0].view)[:-1] + way

    def _open(self, request: str | None, setting: Setting, method: str, params: Message, way: Way) -> View | None:
        """The view of a question that is asked at the end of a way."""
        known = self._tree.answering(canonical(method, params, setting))
        if known is not None:
            onward = self._tree.ways.beyond(way, known.id)
            if known.status in {"cancelled", "failed"}:
                return self._reopen(known, request, onward)
            self._go(onward, news=self._cancel_others(onward))
            self._answer(request, known)
            return None
        view = self._make(self.bench.experiment(setting), setting, method, params)
        view.parent = asdict(way[-1]) if way else None
        if isinstance(view, GridView):
            self._take_from_all(view)
        self._before[view.id] = way or self._tree.ways.here
        self._place(view, request, (*way, Stop(view.id)))
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
        mine = pair_of(every.result, setting.pair, view.code, getattr(experiment.pair, f"{experiment.runs.base}_tokens"))
        if np.isin(mine.state, FINAL).all():
            view.absorb(mine, view.work[0].places)
            view.result = mine

    def _begin_with(self, setting: Setting) -> None:
        """Another main grid than the first, which has not been shown yet."""
        first, main = self.main, self._make(self.bench.experiment(setting), setting, "set", {})
        self._tree.add(main)
        self._tree.ways.take((Stop(main.id),))
        self._tree.drop(first)
        self._post_about()

    def _reopen(self, old: View, request: str | None, way: Way) -> View:
        """A view anew, under its id; what is known of it stays until it is known anew."""
        self._finish(old, "cancelled")
        question = old.question
        experiment = self.bench.experiment(question.setting)
        view = make_view(experiment, self._steps, question.setting, old.id, question.method, dict(question.params))
        view.parent = old.parent
        view.keep(old)
        self._place(view, request, way)
        return view

    def _place(self, view: View, request: str | None, way: Way) -> None:
        """A view takes its place, and one stands at the end of a way."""
        view.request = request
        if isinstance(view, GridView):
            setting = view.question.setting
            self._know(view, self._baselines.get((setting.pair, setting.metric, setting.direction)))
        self._tree.add(view)
        self._cancel_others(way)
        self._tree.ways.take(way)
        self.post(protocol.progress(view.request, view.id, view.done, view.total, None, opened=view.descriptor()))
        self._trim()
        self._post_about()

    def _answer(self, request: str | None, view: View) -> None:
        """Tell a request that it is over; or remember it, where what it asks for is still being measured for another."""
        if request is not None and view.live:
            self._asking.setdefault(view.id, []).append(request)
        else:
            self._tell(request, view)

    def _cancel_others(self, way: Way) -> bool:
        """A new question cancels all that is not on the way to it; what of that nothing is known of goes. Whether something went."""
        before = len(list(self._tree))
        for other in self._tree:
            if other.live and other.id not in self._wanted(way):
                if other.known or self._tree.ways.leads_through(other.id):
                    self._finish(other, "cancelled")
                else:
                    self._tree.drop(other)
                    self._finish(other, "cancelled", dropped=True)
        return len(list(self._tree)) < before
