"""Where requests come in, from the page and from Python: each changes the session, and what is then to be measured goes to the worker.

Nothing here takes long: handlers may run in the main thread or in a subshell's, beside a running cell, and the next click waits for them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from patchwidget.widget.transport import protocol
from patchwidget.widget.transport.asker import Asker
from patchwidget.widget.transport.errors import describe_error
from patchwidget.widget.transport.worker import PREVIEW, SELECTION, Batches, Job, Worker

from . import jobs
from .prompt_editor import TypedPair
from .selection import Selection, as_cells
from .session import Parent, Session
from .views import View


class Desk:
    """The requests of one lab, `owner`."""

    def __init__(self, owner: Asker, session: Session, worker: Worker) -> None:
        self._owner, self._session, self._worker = owner, session, worker
        self._methods: dict[str, Callable[..., View | None]] = {
            "set": session.set,
            "set_pair": self._set_pair,
            "preview": self._preview,
            "sweep": session.sweep,
            "show": session.show,
            "fetch": session.fetch,
            "again": session.again,
            "select": self._select,
            "pin": session.pin,
            "teach": session.set_teach,
        }

    def begin(self) -> None:
        """Measure the main grid, the first time."""
        self._fill(self._session.begin())

    def set(self, name: str, value: Any) -> None:
        """From Python: site, metric, direction, selection or teach; PatchError where that can't be."""
        if name == "selection":
            self._measure(self._session.select(None, value))
        elif name == "teach":
            self._session.set_teach(None, on=value)
        else:
            self._fill(self._session.set(None, **{name: value}))
            self._select_again()

    def answer(self, message: protocol.FromPage, last: int) -> None:
        """From the page; `last` is the number of the last message sent to it. PatchError where it can't be done."""
        self.begin()
        match message:
            case protocol.Hello(known=known):
                if known != last:
                    self._session.post_snapshot()
            case protocol.Cancel(name):
                self._session.cancel(name)
            case protocol.Request(name, method, params):
                do = self._methods.get(method, partial(self._ask, method))
                self._fill(do(name, **params))
                self._select_again()

    def _ask(self, method: str, request: str, parent: Parent, **params: Any) -> View | None:
        return self._session.ask(request, method, params, parent)

    def _set_pair(self, request: str, **fields: Any) -> View | None:
        bench = self._session.bench
        pair = TypedPair(bench.model, **fields).check(partial(bench.try_pair, metric=self._session.setting.metric))
        return self._session.set(request, pair=bench.add_pair(pair))

    def _preview(self, request: str, **fields: Any) -> None:
        session = self._session
        session.previewing = request
        failed = lambda error: session.post(describe_error(error, request))  # noqa: E731
        self._work(PREVIEW, jobs.preview_pair(session, request, fields), lambda: session.previewing == request, failed)

    def _select(self, request: str, cells: list[protocol.Message]) -> None:
        self._measure(self._session.select(request, as_cells(cells)))

    def _select_again(self) -> None:
        """What is selected is measured in the setting at hand."""
        selection = self._session.selection
        if selection.cells and selection.setting and not selection.setting.measured_like(self._session.setting):
            self._measure(self._session.select(None, selection.cells))

    def _fill(self, view: View | None) -> None:
        if view is not None:
            rank, batches = jobs.fill(self._session, view)
            self._work(rank, batches, lambda: view.live, partial(self._session.fail, view))

    def _measure(self, selection: Selection) -> None:
        if selection.live:
            batches = jobs.measure_selection(self._session, selection)
            self._work(SELECTION, batches, lambda: selection.live, partial(self._session.fail_selection, selection))

    def _work(self, rank: int, batches: Batches, wanted: Callable[[], bool], failed: Callable[[BaseException], None]) -> None:
        self._worker.submit(Job(self._owner, rank, batches, wanted=wanted, failed=failed))
