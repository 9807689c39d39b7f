"""The views of a lab: a tree, of which as much is kept as is bearable."""

from collections.abc import Iterator

from patchwidget.errors import PatchError

from .views import Question, View

VIEWS_KEPT = 50
BYTES_KEPT = 64 * 2**20


class Tree:
    """Views by their ids, oldest first. Each but the main grids has a parent, the view in which it was asked for."""

    def __init__(self) -> None:
        self._views: dict[str, View] = {}

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

    def answering(self, question: Question, asker: View | None = None) -> View | None:
        """The view of this question, if there is one; under the main grid of the view where it is asked, so that one stays at that grid."""
        found = (view for view in self._views.values() if view.question == question)
        return next((view for view in found if asker is None or self.path(view)[0] is self.path(asker)[0]), None)

    def path(self, view: View) -> list[View]:
        """From the main grid down to a view."""
        path = [view]
        while (parent := path[0].parent) is not None and parent["view"] in self._views:
            path.insert(0, self._views[parent["view"]])
        return path

    def has_children(self, view: View) -> bool:
        return any(child.parent and child.parent["view"] == view.id for child in self._views.values())

    def trim(self, wanted: set[str]) -> None:
        """Let the oldest go until the rest is bearable: those that no other hangs on and that are neither live nor among the wanted."""
        while len(self._views) > VIEWS_KEPT or sum(view.size for view in self._views.values()) > BYTES_KEPT:
            leaf = next((v for v in self._views.values() if v.id not in wanted and not v.live and not self.has_children(v)), None)
            if leaf is None:
                return
            self.drop(leaf)
