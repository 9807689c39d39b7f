"""Where one stands in a lab, and where one has stood: the way from a main grid down, with the cell chosen in each view on it.

Views are answers, and one answer may serve many cells: the heads at a token are the same from every layer of its column. So the cell that was
clicked is kept here, apart from the view that is shown.
"""

from dataclasses import asdict, dataclass

from patchwidget.widget.transport.protocol import Message

WAYS_KEPT = 100


@dataclass(frozen=True)
class Stop:
    """A view on the way, and the cell chosen in it: the one that leads on, or at the end the last one clicked. None where there is none."""

    view: str
    row: int | None = None
    col: int | None = None


Way = tuple[Stop, ...]


def described(way: Way) -> list[Message]:
    """A way as it is told."""
    return [asdict(stop) for stop in way]


def upto(way: Way, view: str) -> Way | None:
    """The part of a way that ends at a view; None where that is not on it."""
    return next((way[: i + 1] for i, stop in enumerate(way) if stop.view == view), None)


class Ways:
    """The way to where one stands, `here`, and those taken before."""

    def __init__(self) -> None:
        self.here: Way = ()
        self._taken: dict[Way, Way] = {}  # in the order in which they were first taken; by all but the last cell
        self._latest: dict[str, Way] = {}

    @property
    def taken(self) -> list[Way]:
        """All ways, each with the cell last chosen at its end, in the order in which they were first taken."""
        return list(self._taken.values())

    def take(self, way: Way) -> None:
        """Stand at the end of a way."""
        self.here = way
        for length in range(1, len(way) + 1):
            part = way[:length]
            self._taken[_place(part)] = self._latest[part[-1].view] = part
        while len(self._taken) > WAYS_KEPT:
            del self._taken[next(place for place in self._taken if not self._leads_on(place) and place != _place(way))]

    def to(self, view: str) -> Way:
        """The way to a view: as one stands on it, or as it was last taken."""
        return upto(self.here, view) or self._latest.get(view, (Stop(view),))

    def beyond(self, way: Way, view: str) -> Way:
        """From the cell at the end of a way on to a view; back up to it where it is on the way."""
        onward = (*way, Stop(view))
        return upto(way, view) or self._taken.get(_place(onward), onward)

    def leads_through(self, view: str) -> bool:
        """Whether some way goes on from a view."""
        return any(stop.view == view for way in (*self._taken.values(), *self._latest.values()) for stop in way[:-1])

    def drop(self, view: str) -> None:
        """Forget all ways over a view that is gone."""
        self._taken = {place: way for place, way in self._taken.items() if upto(way, view) is None}
        self._latest = {end: way for end, way in self._latest.items() if upto(way, view) is None}

    def _leads_on(self, place: Way) -> bool:
        return any(len(way) > len(place) and _place(way[: len(place)]) == place for way in self._taken)


def _place(way: Way) -> Way:
    """What tells ways apart: all but the last cell."""
    return (*way[:-1], Stop(way[-1].view))
