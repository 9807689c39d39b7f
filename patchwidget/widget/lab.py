"""PatchLab: the widget itself. It ties the parts together and has no logic of its own.

page -> _handle_msg -> Desk -> Session (what is true) -> Worker (jobs, batch by batch) -> Session -> Publisher -> page
"""

import html
import logging
import time
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from patchwidget.errors import PatchError

from . import protocol
from .bench import Bench, Setting
from .descriptors import describe_error
from .desk import Desk
from .export import as_stored, write_html
from .kernel import answer_where_asked, waits_for_cells
from .picture import Picture
from .publisher import Publisher
from .runner import worker_of
from .script import code_of_view
from .selection import as_cells
from .session import Session

logger = logging.getLogger("patchwidget")
logger.addHandler(logging.NullHandler())

_STATIC = Path(__file__).parent / "static"
_WIDGET_OPTIONS = {"layout", "tabbable", "tooltip"}
_STORED_BYTES = 200_000


def _bundled(name: str) -> Path | str:
    """A file of the built front end; empty where it has not been built, so that importing works and only making a widget fails."""
    path = _STATIC / name
    return path if path.is_file() else ""


class PatchLab(anywidget.AnyWidget):
    """Activation patching to click on: a grid of recovery that fills by itself, and what is behind each of its cells.

    Args:
        model: a `Model`; or an `Experiment`, which brings its own pair, metric and direction.
        pair: the `PromptPair`, or several to choose from; left out where an Experiment is given.
        site: what the main grid patches, e.g. "resid_pre" (layers and tokens) or "z" (layers and heads).
        metric: "logit_diff", or a function of logits [cells, vocab] that gives one number per cell.
        direction: "denoise" patches the clean run's activations into the corrupted run, "noise" the reverse.
        teach: begin with values hidden until a cell has been marked ("predict first").

    The sweep begins when the lab is first shown (or waited for). These traits can be observed, in a thread of the widget's, and the first
    five also be set:

    - `site`, `metric` (a name; or a function), `direction`: what the main grid measures.
    - `selection`: the cells that are selected, a list of dictionaries with the fields of `pw.Patch`; patches may be assigned.
    - `teach`: whether values are hidden until a cell has been marked.
    - `status`: how the main grid stands: queued, running, done, cancelled or failed; then closed.
    - `result`: the main grid's latest PatchResult, with the cells known so far while it runs; None before the first.

    `experiment` is what is asked for the main grid: the one that was given, or one made for the setting at hand.

    Raises:
        PatchError: the site does not exist or can't be drawn, or the front end has not been built.
        TypeError: an option that there is not.
    """

    _esm = _bundled("widget.js")
    _css = _bundled("widget.css")

    site = traitlets.Unicode()
    metric = traitlets.Any()
    direction = traitlets.Unicode()
    selection = traitlets.List()
    teach = traitlets.Bool(False)
    status = traitlets.Unicode("queued", read_only=True)
    result = traitlets.Any(None, allow_none=True, read_only=True)
    stored = traitlets.Dict(None, allow_none=True, read_only=True).tag(sync=True)

    _publisher: Publisher | None = None
    _session: Session | None = None
    _desk: Desk | None = None

    def __init__(
        self,
        model: Any,
        pair: Any = None,
        *,
        site: str = "resid_pre",
        metric: Any = "logit_diff",
        direction: str = "denoise",
        teach: bool = False,
        **options: Any,
    ) -> None:
        _check_options(options)
        if not self._esm:
            raise PatchError(
                f"The front end of the widget has not been built: {_STATIC / 'widget.js'} is missing.",
                "In a checkout, run `make build` (or `npm ci && npm run build` in the folder js), then restart the kernel.",
            )
        bench, setting = _bench(model, pair, site, metric, direction)
        session = Session(bench, setting, waits_for_cells(), self._post)
        session.teach = teach
        self._publisher = Publisher(self._send_message)
        self._worker = worker_of(bench.model)
        super().__init__(**options)
        answer_where_asked(self.comm)
        session.name = str(self.model_id)
        self._picture = Picture(session.name)
        self._session = session
        self._follow()
        self._desk = Desk(self, session, self._worker)
        self.on_msg(self._on_message)

    @property
    def experiment(self) -> Any:
        """What is asked for the main grid: an `Experiment`, as in scripts."""
        return self._session.experiment if self._session else None

    def wait(self, timeout: float | None = None) -> bool:
        """Block until nothing is being measured, and the traits say so; begins the sweep if the lab has not been shown yet.

        Returns False if something still is after `timeout` seconds.
        """
        self._begin()
        started = time.monotonic()
        if not self._worker.wait(self, timeout):
            return False
        return self._publisher is None or self._publisher.drain(None if timeout is None else max(0, started + timeout - time.monotonic()))

    def code(self) -> str:
        """The lines of Python that compute what the lab shows, again."""
        return code_of_view(self._session.current, self._session.selection.cells) if self._session else ""

    def to_html(self, path: str | Path) -> Path:
        """Write what has been measured as one file that opens without a kernel or a network, with hover and drill-down.

        Returns:
            The path.
        """
        if self._session is None:
            raise PatchError("The lab has not been made.", "Make a PatchLab first.")
        return write_html(Path(path), repr(self), self._session.stored(), str(self._esm), str(self._css))

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
        setting = self._session.setting
        return f"PatchLab({self._session.bench.model.name}, {setting.site}, {setting.metric}, {setting.direction})"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        self._begin()
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is not None:
            bundle[0]["text/html"] = f"<p>{html.escape(repr(self))}: this is a live widget; run the notebook to see it.</p>"
        return bundle

    def _ipython_display_(self) -> None:
        self._picture.display_under(self)

    def _begin(self) -> None:
        if self._desk is not None:
            self._desk.begin()

    # ---- from Python

    @traitlets.validate("selection")
    def _check_selection(self, proposal: Any) -> list[protocol.Message]:
        return as_cells(proposal["value"])

    @traitlets.validate("metric")
    def _check_metric(self, proposal: Any) -> str:
        return self._session.bench.add_metric(proposal["value"]) if self._session else proposal["value"]

    @traitlets.observe("site", "metric", "direction", "selection", "teach")
    def _set_from_python(self, change: Any) -> None:
        name, value = change["name"], change["new"]
        if self._desk is None or value == self._told(name):
            return
        try:
            self._desk.set(name, value)
        except PatchError:
            self.set_trait(name, self._told(name))
            raise

    def _told(self, name: str) -> Any:
        """What the session says of a trait."""
        session = self._session
        assert session is not None  # noqa: S101  for the type checker
        match name:
            case "selection":
                return session.selection.cells
            case "teach":
                return session.teach
            case "status":
                return session.main.status
            case "result":
                return session.main.result
            case _:
                return getattr(session.setting, name)

    # ---- from the page

    def _handle_msg(self, msg: dict[str, Any]) -> None:
        if self._publisher is not None and msg.get("header", {}).get("subshell_id"):
            self._publisher.adopt(copy_context())
        super()._handle_msg(msg)

    def _on_message(self, _: Any, content: Any, __: Any) -> None:
        try:
            message = protocol.parse(content)
            if self._desk is not None and self._publisher is not None:
                self._desk.answer(message, self._publisher.last)
        except Exception as error:  # noqa: BLE001  whatever it is, the page is told, and the log
            self._post(describe_error(error, protocol.request_of(content)))

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
        if self._session is not None and message["type"] == "result" and message["status"] == "done":
            stored = self._session.stored(_STORED_BYTES)
            self.set_trait("stored", as_stored(stored) if stored["views"] else None)
            self._picture.show(self._session.main, repr(self))

    def _follow(self) -> None:
        """Let the traits say what the session says; in the publisher's thread, where an observer that takes its time delays no click."""
        for name in ("site", "metric", "direction", "teach", "selection", "result", "status"):
            value = self._told(name)
            if getattr(self, name) is not value and (name == "result" or getattr(self, name) != value):
                self.set_trait(name, value)


def _check_options(options: dict[str, Any]) -> None:
    unknown = sorted(options.keys() - _WIDGET_OPTIONS)
    if unknown:
        known = ["site", "metric", "direction", "teach", *sorted(_WIDGET_OPTIONS)]
        raise TypeError(f"PatchLab has no option {unknown[0]!r}; it takes {', '.join(known)}.")


def _bench(model: Any, pair: Any, site: str, metric: Any, direction: str) -> tuple[Bench, Setting]:
    """What there is to choose from, and the choice to begin with."""
    if pair is not None:
        bench, metric, direction = Bench.of(model, pair, metric, direction)
    elif not hasattr(model, "start"):
        raise TypeError(f"PatchLab takes a model and a pair of prompts, or an Experiment; it got {type(model).__name__} alone.")
    elif (metric, direction) != ("logit_diff", "denoise"):
        raise TypeError("An Experiment brings its own metric and direction: leave them out, or pass a model and a pair instead.")
    else:
        bench, metric, direction = Bench.around(model)
    return bench, Setting(0, site, metric, direction)
