"""PatchLab: the widget itself. It ties the parts together and has no logic of its own.

    page -> _handle_msg -> Session (what is true) -> Worker (jobs, batch by batch) -> Session -> Publisher -> page

Handlers only open a view and submit its job: they may run in the main thread or in a subshell's, beside a running cell.
"""

import html
import logging
import time
from collections.abc import Generator
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from patchwidget.errors import PatchError

from . import jobs, protocol
from .descriptors import describe_error
from .kernel import answer_where_asked, waits_for_cells
from .publisher import Publisher
from .runner import Job, worker_of
from .session import Session
from .views import View

logger = logging.getLogger("patchwidget")
logger.addHandler(logging.NullHandler())

_STATIC = Path(__file__).parent / "static"
_WIDGET_OPTIONS = {"layout", "tabbable", "tooltip"}


def _bundled(name: str) -> Path | str:
    """A file of the built front end; empty where it has not been built, so that importing works and only making a widget fails."""
    path = _STATIC / name
    return path if path.is_file() else ""


class PatchLab(anywidget.AnyWidget):
    """Activation patching to click on: a grid of recovery that fills by itself, and what is behind each of its cells.

    Args:
        model: a `Model`; or an `Experiment`, which brings its own pair, metric and direction.
        pair: the `PromptPair`; left out where an Experiment is given.
        site: what the main grid patches, e.g. "resid_pre".
        metric: "logit_diff", or a function of logits [cells, vocab] that gives one number per cell.
        direction: "denoise" patches the clean run's activations into the corrupted run, "noise" the reverse.

    The sweep begins when the lab is first shown (or waited for). These traits can be observed, in a thread of the widget's:

    - `status`: how the main grid stands: queued, running, done, cancelled or failed; then closed.
    - `result`: the main grid's latest PatchResult, with the cells known so far while it runs; None before the first.
    - `selection`: the last click, {"layer", "pos"} or {"layer", "head", "pos"}; None before the first.

    Raises:
        PatchError: the site does not exist or can't be drawn, or the front end has not been built.
        TypeError: an option that there is not.
    """

    _esm = _bundled("widget.js")
    _css = _bundled("widget.css")

    status = traitlets.Unicode("queued", read_only=True)
    result = traitlets.Any(None, allow_none=True, read_only=True)
    selection = traitlets.Dict(None, allow_none=True, read_only=True)

    _publisher: Publisher | None = None
    _session: Session | None = None

    def __init__(
        self,
        model: Any,
        pair: Any = None,
        *,
        site: str = "resid_pre",
        metric: Any = "logit_diff",
        direction: str = "denoise",
        **options: Any,
    ) -> None:
        _check_options(options)
        if not self._esm:
            raise PatchError(
                f"The front end of the widget has not been built: {_STATIC / 'widget.js'} is missing.",
                "In a checkout, run `make build` (or `npm ci && npm run build` in the folder js), then restart the kernel.",
            )
        self.experiment = _experiment(model, pair, metric, direction)
        session = Session(self.experiment, site, waits_for_cells(), self._post)
        self._publisher = Publisher(self._send_message)
        self._worker = worker_of(self.experiment.model)
        super().__init__(**options)
        answer_where_asked(self.comm)
        self._session = session
        self.on_msg(self._on_message)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until nothing is being measured, and the traits say so; begins the sweep if the lab has not been shown yet.

        Returns False if something still is after `timeout` seconds.
        """
        self._begin()
        started = time.monotonic()
        if not self._worker.wait(self, timeout):
            return False
        return self._publisher is None or self._publisher.drain(None if timeout is None else max(0, started + timeout - time.monotonic()))

    def close(self) -> None:
        """Stop what is being measured, after the batch under way, and take the widget off the page."""
        if self._session is not None:
            self._session.close()
        if self._publisher is not None:
            self._publisher.close()
        super().close()
        if self._session is not None:
            self.set_trait("status", "closed")

    def __repr__(self) -> str:
        """The model and what is measured on it."""
        if self._session is None:
            return object.__repr__(self)
        experiment = self.experiment
        return f"PatchLab({experiment.model.name}, {self._session.site}, {experiment.metric_name}, {experiment.direction})"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        self._begin()
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is not None:
            bundle[0]["text/html"] = f"<p>{html.escape(repr(self))}: this is a live widget; run the notebook to see it.</p>"
        return bundle

    # ---- from the page

    def _handle_msg(self, msg: dict[str, Any]) -> None:
        if self._publisher is not None and msg.get("header", {}).get("subshell_id"):
            self._publisher.adopt(copy_context())
        super()._handle_msg(msg)

    def _on_message(self, _: Any, content: Any, __: Any) -> None:
        try:
            self._answer(protocol.parse(content))
        except Exception as error:  # noqa: BLE001  whatever it is, the page is told, and the log
            self._post(describe_error(error, protocol.request_of(content)))

    def _answer(self, message: protocol.Hello | protocol.Request | protocol.Cancel) -> None:
        session = self._session
        if session is None:
            return
        match message:
            case protocol.Hello(known=known):
                self._begin()
                if self._publisher is not None and known != self._publisher.last:
                    session.post_snapshot()
            case protocol.Cancel(name):
                session.cancel(name)
            case protocol.Request(name, "sweep"):
                view = session.open_main(name)
                self._submit(view, jobs.measure_main(session, view))
            case protocol.Request(name, "heads", params):
                view = session.open_heads(name, **params)
                self._submit(view, jobs.measure_heads(session, view))
            case protocol.Request(name, "attention", params):
                view = session.open_attention(name, **params)
                self._submit(view, jobs.read_attention(session, view))

    # ---- the work

    def _begin(self) -> None:
        """Start the main sweep, the first time."""
        session = self._session
        view = session.begin() if session else None
        if session and view:
            self._submit(view, jobs.measure_main(session, view))

    def _submit(self, view: View, batches: Generator[None, None, None]) -> None:
        session = self._session
        if session is not None:
            job = Job(self, jobs.RANKS[view.place], batches, wanted=lambda: view.live, failed=partial(session.fail, view))
            self._worker.submit(job)

    # ---- to the page: all of it through the publisher

    def _post(self, message: protocol.Message) -> None:
        if self._publisher is not None:
            self._publisher.post(message)

    def _send(self, msg: dict[str, Any], buffers: Any = None) -> None:
        if self._publisher is not None:
            self._publisher.call(partial(super()._send, msg, buffers))

    def _send_message(self, message: protocol.Message) -> None:
        content, buffers = protocol.pack(message)
        super()._send({"method": "custom", "content": content}, buffers)
        self._follow()

    def _follow(self) -> None:
        """Let the traits say what the session says; in the publisher's thread, where an observer that takes its time delays no click."""
        session = self._session
        if session is not None:
            for name, value in (("result", session.result), ("selection", session.selection), ("status", session.main.status)):
                if getattr(self, name) is not value:
                    self.set_trait(name, value)


def _check_options(options: dict[str, Any]) -> None:
    unknown = sorted(options.keys() - _WIDGET_OPTIONS)
    if unknown:
        known = ["site", "metric", "direction", *sorted(_WIDGET_OPTIONS)]
        raise TypeError(f"PatchLab has no option {unknown[0]!r}; it takes {', '.join(known)}.")


def _experiment(model: Any, pair: Any, metric: Any, direction: str) -> Any:
    """The experiment to show: the given one, or one made of a model and a pair."""
    if pair is not None:
        from patchwidget.experiments.experiment import Experiment

        return Experiment(model, pair, metric=metric, direction=direction)
    if not hasattr(model, "start"):
        raise TypeError(f"PatchLab takes a model and a pair of prompts, or an Experiment; it got {type(model).__name__} alone.")
    if (metric, direction) != ("logit_diff", "denoise"):
        raise TypeError("An Experiment brings its own metric and direction: leave them out, or pass a model and a pair instead.")
    return model
