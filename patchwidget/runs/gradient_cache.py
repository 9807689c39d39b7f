"""The gradients of the base runs, kept for the next question: a click on a grid should not wait for a pass back that has just been made."""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from threading import Lock

from patchwidget.engine.gradients.backward import Seed, SiteGradients
from patchwidget.engine.gradients.capture import Place

BYTES_KEPT = 64_000_000


class GradientStore:
    """Plain gradients by pair and place, those used last up to `BYTES_KEPT`; and the seeds that they come from. Safe in any thread."""

    def __init__(self) -> None:
        self._seeds: dict[int, list[Seed]] = {}
        self._found: OrderedDict[tuple[int, Place], SiteGradients] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def find(self, pair: int, places: Collection[Place]) -> tuple[list[Seed], list[SiteGradients]] | None:
        """The gradients at all these places, each once, if they are all here."""
        keys = {(pair, place) for place in places}
        with self._lock:
            if not keys <= self._found.keys():
                return None
            for key in keys:
                self._found.move_to_end(key)
            return self._seeds[pair], [self._found[key] for key in keys]

    def keep(self, pair: int, seeds: list[Seed], found: Iterable[SiteGradients]) -> Iterator[SiteGradients]:
        """Passes gradients on, and keeps them."""
        for gradients in found:
            with self._lock:
                self._seeds[pair] = seeds
                self._put((pair, gradients.place), gradients)
            yield gradients

    def _put(self, key: tuple[int, Place], gradients: SiteGradients) -> None:
        if key not in self._found:
            self._found[key] = gradients
            self._bytes += _size(gradients)
        while self._bytes > BYTES_KEPT:
            self._bytes -= _size(self._found.popitem(last=False)[1])


def _size(gradients: SiteGradients) -> int:
    call = gradients.attention
    return sum(x.nbytes for x in (gradients.gradient, *((call.query, call.key, call.value, call.output) if call else ())))
