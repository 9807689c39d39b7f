"""The views of a lab and the ways to them, of which as much is kept as is bearable."""

from collections.abc import Iterator

from patchwidget.errors import PatchError

from .experiment_pool import Question
from .views import View
from .ways import Way, Ways

VIEWS_KEPT = 50
BYTES_KEPT = 64 * 2**20


class Tree:
    """Views by their ids, oldest first. Each but the main grids has a parent, the cell at which it was first asked for.

    Attributes:
        ways: how they lead to one another, and where one stands.
    """

    def __init__(self) -> None:
        self._views: dict[str, View] = {}
        self.ways = Ways()

    def __iter__(self) -> Iterator[View]:
        return iter(list(self._views.values()))

    def __contains__(self, name: str | None) -> bool:
        return name in self._views

    def __getitem__(self, name: str) -> View:
        """The view of this id; PatchError where it is gone."""
        if name not in self._views:
            raise PatchError(
                f"There is no view {name!r} any more: only the latest are kept.", "Ask for it again, from the grid it came from."
            )
        return self._views[name]

    def add(self, view: View) -> None:
        self._views[view.id] = view

    def drop(self, view: View) -> None:
        self._views.pop(view.id, None)
        self.ways.drop(view.id)

    def answering(self, question: Question) -> View | None:
        """The view of this question, if there is one."""
        return next((view for view in self._views.values() if view.question == question), None)

    def on(self, way: Way) -> list[View]:
        """The views on a way, from the main grid down."""
        return [self._views[stop.view] for stop in way if stop.view in self._views]

    def trim(self, wanted: set[str | None]) -> None:
        """Let the oldest go until the rest is bearable: those that no other hangs on and that are neither live nor among the wanted."""
        while len(self._views) > VIEWS_KEPT or sum(view.size for view in self._views.values()) > BYTES_KEPT:
            leaf = next((v for v in self._views.values() if v.id not in wanted and not v.live and not self.ways.leads_through(v.id)), None)
            if leaf is None:
                return
            self.drop(leaf)
