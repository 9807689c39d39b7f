"""What is true of a steering panel: its settings, ladders and texts. Messages to the page are made here, from the truth while it holds still."""

import hashlib
import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from patchwidget.steering.methods import METHODS
from patchwidget.steering.steer import UNITS, Steer
from patchwidget.widget.transport.errors import describe_error
from patchwidget.widget.transport.protocol import Message

from . import messages
from .code import code_of
from .ladders import LIKELIEST, Wanted, describe_ladder, has, with_rung
from .rows import Row, Source, first_row, wrong
from .settings import Settings, checked
from .texts import Texts

_METHODS = {
    "mean_diff": ("difference of means", "mean of the positive minus mean of the negative examples, at their last token"),
    "pca": ("principal direction", "first principal direction of the pairs' differences (line by line)"),
    "caa": ("contrastive (CAA)", "mean difference over pairs at the last token in which they differ"),
    "actadd": ("by position (ActAdd)", "the difference of one pair at each position"),
    "logistic": ("probe (logistic)", "the normal of a logistic-regression probe"),
}


class SteerSession:
    """The settings, ladders and texts of one panel; safe in any thread.

    Jobs ask what is still wanting (`wanted_ladder`, `wanted_texts`) before each step, so the newest settings win without anyone being told.

    Attributes:
        name: the panel's id.
        texts: both texts.
    """

    def __init__(self, model: Any, settings: Settings, chat: bool, waits: str | None, post: Callable[[Message], Any]) -> None:
        self.model, self.chat, self._waits, self._post, self.name = model, chat, waits, post, ""
        self._lock = threading.RLock()
        self._settings = settings
        self._numbers = itertools.count(1)
        self._sources: dict[str, Source] = {}
        self._rows: dict[str, Row] = {}
        self._current: str | None = None
        self._ladders: dict[str, Message] = {}
        self._grids: dict[str, Message] = {}
        self.texts = Texts(self._lock, self.post)
        self._round = 0
        self._failed: set[str] = set()
        self._stopped = self._closed = False

    # ---- what is asked

    def set(self, request: str | None, **changes: Any) -> None:
        """Other settings of the texts, or another row at hand; FieldError where one can't be."""
        with self._lock:
            given = {name: value for name, value in changes.items() if value is not None}
            if "current" in given:
                self._current = self._row(given.pop("current")).id
            self._settings = checked(self.model, replace(self._settings, **given), chat=self.chat)
            self._changed(request)

    def row(self, request: str | None, row: str, vector: str | None = None, **changes: Any) -> None:
        """Change how a vector is applied, or which; FieldError where that can't be."""
        with self._lock:
            old = self._row(row)
            if vector is not None and vector != old.source.id:
                old = replace(first_row(old.id, self._source(vector), None), strength=old.strength, on=old.on)
            self._rows[row] = old.changed(self.model.n_layers, changes)
            self._current = row
            self._changed(request)

    def add(self, request: str | None, vector: str, given: Steer | None = None, layer: int | None = None) -> None:
        """One more row."""
        with self._lock:
            name = f"r{next(self._numbers)}"
            self._rows[name] = first_row(name, self._source(vector), given, layer)
            self._current = name
            self._changed(request)

    def remove(self, request: str | None, row: str) -> None:
        with self._lock:
            del self._rows[self._row(row).id]
            for ladders in (self._ladders, self._grids):
                ladders.pop(row, None)
            self._current = next(iter(self._rows), None) if self._current == row else self._current
            self._changed(request)

    def add_source(self, source: Source) -> str:
        """A vector to choose; its id. Weights have been compared by now: they need not be at every step."""
        vector = source.vector
        quiet = replace(vector, provenance={name: about for name, about in vector.provenance.items() if name != "weights"})
        with self._lock:
            name = f"v{next(self._numbers)}"
            self._sources[name] = replace(source, id=name, vector=quiet)
            return name

    def write(self, request: str | None) -> None:
        """Both texts anew."""
        with self._lock:
            self._round += 1
            self._changed(request)

    def stop(self) -> None:
        """Want nothing more until something changes; what there is stays."""
        with self._lock:
            self._stopped = True
            self.texts.stop()

    def close(self) -> None:
        """Want nothing more, and say nothing more."""
        with self._lock:
            self._closed = True

    def post(self, message: Message) -> None:
        """Send a message to the page."""
        if not self._closed:
            self._post(message)

    # ---- how things stand

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def settings(self) -> Settings:
        return self._settings

    @property
    def prompt(self) -> str:
        """As the model reads it."""
        return "".join(self.model.token_text(token) for token in self._settings.tokens)

    @property
    def steers(self) -> list[Steer]:
        """What is applied now."""
        with self._lock:
            return [row.steer() for row in self._rows.values() if row.on]

    def code(self) -> str:
        """The lines of Python that do what the panel shows."""
        with self._lock:
            return code_of(self.model, self._settings, [row for row in self._rows.values() if row.on], chat=self.chat)

    def post_snapshot(self) -> None:
        """Tell the page everything."""
        with self._lock:
            self.post(self._snapshot())

    def stored(self) -> Message | None:
        """A snapshot that needs no kernel, with the ladder at hand only; None where there is nothing to show."""
        with self._lock:
            snapshot = self._snapshot()
            ladders = [ladder for ladder in snapshot["ladders"] if ladder["row"] == self._current]
            panel = snapshot["panel"] | {"live": False, "waits": None}
            return snapshot | {"seq": 0, "panel": panel, "ladders": ladders} if ladders else None

    # ---- what jobs ask, and bring

    def sources_without_norms(self) -> list[Source]:
        """Vectors for which the residual stream's norm is not known."""
        with self._lock:
            return [source for source in self._sources.values() if not source.vector.residual_norms]

    def know_norms(self, source: Source, vector: Any) -> None:
        """The same vector, knowing the norms."""
        with self._lock:
            new = self._sources[source.id] = replace(source, vector=vector)
            self._rows = {name: replace(row, source=new) if row.source is source else row for name, row in self._rows.items()}
            self.post(messages.panel(self._about()))

    def wanted_ladder(self) -> Wanted | None:
        """The ladder to be computed next, that of the row at hand first; None where all are known."""
        with self._lock:
            applied = [row for row in self._rows.values() if row.on and not self._stopped]
            for row in sorted(applied, key=lambda row: row.id != self._current):
                key = self._ladder_key(row)
                steers = [one.steer() for one in applied]
                known, grid = (ladders.get(row.id) for ladders in (self._ladders, self._grids))
                if key in self._failed or (known and known["key"] == key and has(known["strengths"], row.strength)):
                    continue
                rests = grid if grid and grid["key"] == key else None
                strengths = [row.strength] if rests else row.strengths()
                tokens = rests["ids"] if rests else LIKELIEST
                return Wanted(row, key, steers, applied.index(row), strengths, tokens, self._settings.tokens)
            return None

    def know_ladder(self, wanted: Wanted, ladder: Any) -> None:
        """A ladder has been computed, or the one strength of it on which its row rests."""
        told = describe_ladder(wanted, ladder)
        with self._lock:
            row = wanted.row.id
            if row not in self._rows:
                return
            if isinstance(wanted.tokens, int):
                self._grids[row] = told
            else:
                told = with_rung(self._grids[row], told)
            self._ladders[row] = told
            self.post(messages.ladder(told))

    def fail_ladder(self, wanted: Wanted, error: BaseException) -> None:
        """A ladder can't be computed: it is not tried again until something changes."""
        with self._lock:
            self._failed.add(wanted.key)
            self.post(describe_error(error, None) | {"field": "row"})

    def wanted_texts(self) -> list[tuple[str, str, list[Steer], Settings]]:
        """Texts that are not written: (side, key, steers, settings). The unsteered one is the steered one too where nothing is applied."""
        with self._lock:
            sides = [("base", []), ("steered", self.steers)] if not (self._stopped or self._closed) else []
            return [
                (side, self._text_key(side), steers, self._settings)
                for side, steers in sides
                if self.texts.lacks(side, self._text_key(side))
            ]

    # ---- private

    def _row(self, name: str) -> Row:
        if name not in self._rows:
            raise wrong("row", "This row has been removed.", "Add one.")
        return self._rows[name]

    def _source(self, name: str) -> Source:
        if name not in self._sources:
            raise wrong("vector", f"There is no vector {name!r}.", f"Choose one of {', '.join(self._sources)}.")
        return self._sources[name]

    def _changed(self, request: str | None) -> None:
        self._failed.clear()
        self._stopped = False
        self.texts.forget_stopped()
        self.post(messages.panel(self._about(), request))

    def _ladder_key(self, row: Row) -> str:
        others = [(other.key, other.strength) for other in self._rows.values() if other.on and other is not row]
        return _key(self._settings.tokens, row.key, others)

    def _text_key(self, side: str) -> str:
        applied = [(row.key, row.strength) for row in self._rows.values() if row.acts] if side == "steered" else []
        return _key(self._settings, self._round, applied)

    def _snapshot(self) -> Message:
        ladders = [self._ladders[name] for name in self._rows if name in self._ladders]
        return messages.hello(self._about(), ladders, self.texts.descriptors())

    def _about(self) -> Message:
        settings, model = self._settings, self.model
        typed = isinstance(settings.prompt, str) and model.tokenizer is not None
        return {
            "id": self.name,
            "model": model.name,
            "live": True,
            "waits": self._waits,
            "prompt": settings.prompt if typed else None,
            "tokens": [model.token_text(token) for token in settings.tokens],
            "edit": None if typed else "The prompt was not given as a text, so it can't be typed here.",
            "rows": [row.descriptor(model.n_layers, self._ladder_key(row) if row.on else None) for row in self._rows.values()],
            "current": self._current,
            "vectors": [source.descriptor() for source in self._sources.values()],
            "methods": [{"name": name, "label": _METHODS[name][0], "text": _METHODS[name][1]} for name in METHODS],
            "units": [{"name": name, "label": name, "text": text} for name, text in UNITS.items()],
            "layers": model.n_layers,
            "seed": settings.seed,
            "temperature": settings.temperature,
            "length": settings.length,
            "keys": {side: self._text_key(side) for side in ("base", "steered")},
            "code": self.code(),
        }


def _key(*parts: Any) -> str:
    return hashlib.sha1(repr(parts).encode(), usedforsecurity=False).hexdigest()[:12]
