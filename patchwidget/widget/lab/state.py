"""How things stand in a lab, and the messages that tell the page of it: made from the truth while it holds still."""

import itertools
import json
import threading
from collections.abc import Callable
from typing import Any

from patchwidget.widget.transport import protocol
from patchwidget.widget.transport.protocol import Message

from .descriptors import describe_baselines, describe_lab, describe_pair, note_on_pairs
from .drilldown import Steps
from .experiment_pool import Bench, Setting
from .menus import describe_sites
from .questions import make_view
from .selection import Selection
from .view_tree import Tree
from .views import GridView, View
from .ways import Stop, Way, Ways, described


class Standing:
    """The views of one lab and where one stands among them.

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
        self._before: dict[str, Way] = {}
        self._asking: dict[str, list[str]] = {}
        self._begun = False
        self._pinned: str | None = None
        experiment = bench.experiment(setting)
        self._steps = Steps(experiment)
        self._tree = Tree()
        self._tree.add(main := self._make(experiment, setting, "set", {}))
        self._tree.ways.take((Stop(main.id),))
        self._sites = describe_sites(experiment, setting.site)

    @property
    def main(self) -> GridView:
        """The main grid of the view one stands at."""
        main = self._tree[self._tree.ways.here[0].view]
        assert isinstance(main, GridView)  # noqa: S101  for the type checker
        return main

    @property
    def current(self) -> View:
        """The view one stands at."""
        return self._tree[self._tree.ways.here[-1].view]

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

    def post_snapshot(self) -> None:
        """Tell the page everything; of views that it does not stand at, without the arrays."""
        with self._lock:
            shown = self._wanted()
            self.post(protocol.hello(self._about(), [view.descriptor(kept=view.id not in shown) for view in self._tree]))

    def stored(self, limit: int | None = None) -> Message:
        """A snapshot that needs no kernel: with all views, or as many as fit into about `limit` bytes of text, those at hand first."""
        with self._lock:
            kept, used, here = [], 0, self._tree.ways.here
            for view in [*self._tree.on(here), *reversed(list(self._tree))]:
                size = len(json.dumps(view.descriptor(kept=True))) + view.size * 4 // 3
                if view.known and view not in kept and (limit is None or used + size <= limit):
                    kept.append(view)
                    used += size
            names = {view.id for view in kept}
            way = tuple(itertools.takewhile(lambda stop: stop.view in names, here)) or ((Stop(kept[0].id),) if kept else ())
            about = self._about()
            pinned = about["lab"]["pinned"] if about["lab"]["pinned"] in names else None
            views = [view for view in self._tree if view.id in names]
            lab = {
                "live": False,
                "waits": None,
                "views": [view.id for view in views],
                "pinned": pinned,
                **_told(self._tree.ways, way, names),
            }
            return protocol.hello(about | {"lab": about["lab"] | lab}, [view.descriptor() for view in views]) | {"seq": 0}

    # ---- for those who change something: with the lock held

    def _make(self, experiment: Any, setting: Setting, method: str, params: Message) -> View:
        return make_view(experiment, self._steps, setting, f"v{next(self._numbers)}", method, params)

    def _know(self, view: GridView, baselines: Any) -> None:
        """The runs of the pair that a grid is of; a mean of pairs tells its own."""
        if baselines is not None and not view.pairs:
            view.know(baselines)

    def _tell(self, request: str | None, view: View) -> None:
        """All of a view, as it is."""
        if request is not None:
            self.post(protocol.result(request, view.id, view.status, view.descriptor()))

    def _finish(self, view: View, status: str, *, dropped: bool = False) -> None:
        if view.live:
            view.end(status)
            told = None if dropped else view.descriptor()
            for request in [view.request, *self._asking.pop(view.id, [])]:
                self.post(protocol.result(request, view.id, status, told))

    def _wanted(self, way: Way | None = None) -> set[str | None]:
        """The views on the way to where one stands (or another), and the pinned one."""
        return {stop.view for stop in way or self._tree.ways.here} | {self._pinned}

    def _go(self, way: Way, *, news: bool = False) -> None:
        """Stand at the end of a way; told if that is another, or where there is other `news`."""
        if news or self._tree.ways.here != way:
            self._tree.ways.take(way)
            self._post_about()

    def _trim(self) -> None:
        before = {view.id for view in self._tree}
        self._tree.trim(self._wanted())
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
        names, ways = [view.id for view in self._tree], self._tree.ways
        views = {"pinned": pinned, "views": names, **_told(ways, ways.here, set(names))}
        lab = {"id": self.name, "live": True, "waits": self._waits, "teach": self.teach, "sites": self._sites, **views}
        return {
            "lab": describe_lab(self.bench, setting) | lab,
            "pair": describe_pair(self.bench.experiment(setting).pair) | {"note": note_on_pairs(self.bench, setting)},
            "baselines": describe_baselines(self._baselines.get((setting.pair, setting.metric, setting.direction))),
            "selection": self.selection.descriptor(),
        }


def _told(ways: Ways, here: Way, names: set[str]) -> Message:
    """Where one stands and has stood, as far as there are views by these names."""
    taken = [way for way in ways.taken if names.issuperset(stop.view for stop in way)]
    return {"current": here[-1].view if here else None, "way": described(here), "ways": [described(way) for way in taken]}
