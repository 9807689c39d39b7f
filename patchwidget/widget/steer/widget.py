"""SteerLab: vectors, sliders, and the text they bend. It ties the parts together and has no logic of its own.

page -> LiveWidget -> SteerSession (what is true) -> Worker (jobs, step by step) -> SteerSession -> Publisher -> page
"""

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from patchwidget.errors import PatchError
from patchwidget.public import public
from patchwidget.steering.methods import find_method
from patchwidget.steering.provenance import warn_if_other
from patchwidget.steering.steer import Steer
from patchwidget.steering.vector import SteeringVector
from patchwidget.widget.hosts.jupyter import waits_for_cells
from patchwidget.widget.transport import protocol
from patchwidget.widget.transport.asker import About
from patchwidget.widget.transport.errors import describe_error
from patchwidget.widget.transport.html_export import as_stored, write_html
from patchwidget.widget.transport.message_widget import STORED_BYTES, LiveWidget, bundled, check_options
from patchwidget.widget.transport.text import one_line
from patchwidget.widget.transport.worker import Job

from . import jobs, messages
from .code import code_of_vector
from .rows import Source
from .session import SteerSession
from .settings import Settings, checked


@public
class SteerLab(LiveWidget):
    """Steering to drag: what comes next at every strength while a slider moves, and both texts side by side when it is let go.

    Args:
        model: a `Model`.
        prompt: a text, token ids, or a conversation (list of {"role", "content"}).
        vector: a `SteeringVector` or a `Steer`, {layer: tensor}, or a list of these, or {name: one of these} to choose from; one can also be
            made in the panel, from two lists of prompts.
        seed, temperature, max_new_tokens: of the texts; temperature 0 takes the likeliest token each time.
        chat: the prompt is what the user says, and goes through the chat template.

    `steers` is what is applied now, ready for `model.generate`.

    Raises:
        PatchError: a vector of another width, a prompt that is empty or too long, or the front end has not been built.
        TypeError: an option that there is not.

    Warns where a vector was made on other weights than the model's.
    """

    _esm = bundled("steer.js")
    _css = bundled("steer.css")
    _methods = messages.METHODS

    _session: SteerSession | None = None
    _begun = False

    def __init__(
        self,
        model: Any,
        prompt: Any,
        vector: Any = None,
        *,
        seed: int = 0,
        temperature: float = 0.0,
        max_new_tokens: int = 40,
        chat: bool = False,
        **options: Any,
    ) -> None:
        check_options("SteerLab", options, ["seed", "temperature", "max_new_tokens", "chat"])
        settings = checked(model, Settings(prompt, (), seed, float(temperature), max_new_tokens), chat=chat)
        session = SteerSession(model, settings, chat, waits_for_cells(), self._post)
        for name, one in _named(vector):
            steer = one if isinstance(one, Steer) else None
            source = _source(model, name, steer.vector if steer else SteeringVector.of(one))
            session.add(None, session.add_source(source), steer)
        super().__init__(model, **options)
        session.name = str(self.model_id)
        self._session = session

    @classmethod
    def from_cell(cls, experiment: Any, *, layer: int, pos: int, site: str = "resid_post", **options: Any) -> "SteerLab":
        """A panel whose vector is the clean minus the corrupted activation at one cell of a grid, on the corrupted prompt.

        Errors as in `SteeringVector.from_patch`.
        """
        lab = cls(experiment.model, experiment.prompts[0].corrupted, **options)
        assert lab._session is not None  # noqa: S101  for the type checker
        jobs.add_cell(lab._session, None, experiment, layer, pos, site)
        return lab

    def add_cell(self, experiment: Any, *, layer: int, pos: int, site: str = "resid_post") -> None:
        """One more row, of the vector at a cell; returns at once. What can't be is told on the page."""
        assert self._session is not None  # noqa: S101  for the type checker
        self._begun = True
        self._asker.presence.ask()
        batches = jobs.take_cell(self._session, experiment, layer, pos, site, self._work)
        self._submit(jobs.MAKE, batches, partial(self._failed, None))

    @property
    def steers(self) -> list[Steer]:
        """What is applied now."""
        return self._session.steers if self._session else []

    def code(self) -> str:
        """The lines of Python that do what the panel shows."""
        return self._session.code() if self._session else ""

    def to_html(self, path: str | Path) -> Path:
        """Write what is shown as one file that opens without a kernel or a network, with sliders that move; PatchError before there is any."""
        stored = self._session.stored() if self._session else None
        if stored is None:
            raise PatchError("Nothing has been computed yet.", "Call wait() first.")
        return write_html(Path(path), repr(self), stored, str(self._esm), str(self._css))

    def close(self) -> None:
        """End the text at its next token, and take the widget off the page."""
        if self._session is not None:
            self._session.close()
        super().close()

    def __repr__(self) -> str:
        """The model and what is applied."""
        if self._session is None:
            return object.__repr__(self)
        return f"SteerLab({self._session.model.name}, {len(self.steers)} steers)"

    # ---- with the page

    def _begin(self) -> None:
        if not self._begun and self._session is not None:
            self._begun = True
            self._work()

    def _about(self) -> About:
        return (one_line(self._session.prompt), None) if self._session else ("", None)

    def _stop(self) -> None:
        if self._session is not None:
            self._session.stop()

    def _answer(self, message: protocol.FromPage, last: int) -> None:
        session = self._session
        if session is None:
            return
        self._begin()
        match message:
            case protocol.Hello(known=known):
                if known != last:
                    session.post_snapshot()
            case protocol.Cancel():
                session.texts.stop()
            case protocol.Request(name, "make", fields):
                find_method(fields["method"])
                self._submit(jobs.MAKE, jobs.make_vector(session, name, fields, self._work), partial(self._failed, name))
            case protocol.Request(name, method, params):
                getattr(session, method)(name, **params)
                self._work()

    def _work(self) -> None:
        """Whatever is wanting now. Jobs that find nothing wanting end at once."""
        session = self._session
        assert session is not None  # noqa: S101  for the type checker
        self._submit(jobs.LADDER, jobs.fill_ladders(session), partial(self._failed, None))
        self._submit(jobs.TEXT, jobs.write_texts(session), partial(self._failed, None))

    def _submit(self, rank: int, batches: jobs.Batches, failed: Any) -> None:
        session = self._session
        self._worker.submit(Job(self._asker, rank, batches, wanted=lambda: session is not None and not session.closed, failed=failed))

    def _failed(self, request: str | None, error: BaseException) -> None:
        self._post(describe_error(error, request))

    def _sent(self, message: protocol.Message) -> None:
        ends = message["type"] == "ladder" or (message["type"] == "text" and message["status"] != "writing")
        stored = self._session.stored() if self._session and ends else None
        if stored is not None:
            told = as_stored(stored)
            if sum(map(len, told["buffers"])) < STORED_BYTES:
                self.set_trait("stored", told)


def _named(vector: Any) -> list[tuple[str, Any]]:
    """Vectors with their names, as they were given."""
    if vector is None:
        return []
    if isinstance(vector, Mapping) and not all(isinstance(item, Tensor) for item in vector.values()):
        return [(str(name), one) for name, one in vector.items()]
    several = list(vector) if isinstance(vector, Sequence) else [vector]
    return [(f"vector {i}" if len(several) > 1 else "vector", one) for i, one in enumerate(several, 1)]


def _source(model: Any, name: str, vector: SteeringVector) -> Source:
    """A vector that was given; what is to be warned of is told once, here, and on the page."""
    vector.check_width(model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_if_other(model, vector.provenance)
    note = " ".join(str(warning.message) for warning in caught)
    if note:
        warnings.warn(note, stacklevel=3)
    return Source("", name, vector, code_of_vector(vector), note)
