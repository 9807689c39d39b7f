"""Which widgets the cells of the notebook show, so that one whose output was replaced does not go on measuring."""

import threading
from weakref import WeakSet

from patchwidget.widget.hosts.jupyter import CellRun

from .asker import Asker
from .presence import Standing


class Outputs:
    """What the latest run of each cell has made or displayed; safe in any thread.

    A widget is stopped when a later run of its cell shows something else in its place, and no page has it any more. Where only the page is gone
    it is not: somebody may come back to it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, tuple[str, WeakSet[Asker]]] = {}
        self._lost: WeakSet[Asker] = WeakSet()

    def show(self, asker: Asker, run: CellRun | None) -> None:
        """A widget is made or displayed, by a run of a cell or otherwise."""
        with self._lock:
            self._lost.discard(asker)
            lost = self._replace(asker, run) if run else []
            self._lost.update(lost)
        for one in lost:
            self.end_lost(one)

    def end_lost(self, asker: Asker) -> None:
        """Stop it if its output was replaced, and its page is gone; to be asked whenever a page has said something."""
        with self._lock:
            ends = asker in self._lost and asker.presence.standing == Standing.GONE
            if ends:
                self._lost.discard(asker)
        if ends:
            asker.stop()

    def _replace(self, asker: Asker, run: CellRun) -> list[Asker]:
        """Those that earlier runs of this cell have shown, and no other cell."""
        latest, shown = self._runs.get(run.cell, ("", WeakSet()))
        if latest == run.message:
            shown.add(asker)
            return []
        self._runs[run.cell] = (run.message, WeakSet([asker]))
        return [one for one in shown if not any(one in others for _, others in self._runs.values())]


outputs = Outputs()
