"""PatchLab: the widget itself. It ties the parts together and has no logic of its own.

page -> _handle_msg -> Desk -> Session (what is true) -> Worker (jobs, batch by batch) -> Session -> Publisher -> page
"""

from pathlib import Path
from typing import Any

import traitlets

from patchwidget.errors import PatchError
from patchwidget.public import public
from patchwidget.widget.hosts.jupyter import waits_for_cells
from patchwidget.widget.transport import protocol
from patchwidget.widget.transport.asker import About
from patchwidget.widget.transport.html_export import as_stored, write_html
from patchwidget.widget.transport.message_widget import STORED_BYTES, LiveWidget, bundled, check_options

from . import steer_panel
from .code import code_of_view
from .descriptors import label_of
from .experiment_pool import Bench, Setting
from .requests import Desk
from .selection import as_cells
from .session import Session
from .static_image import Picture
from .steer_panel import SteerUnder


@public
class PatchLab(LiveWidget):
    """Activation patching to click on: a grid of recovery that fills by itself, and what is behind each of its cells.

    Args:
        model: a `Model`; or an `Experiment`, which brings its own pair, metric and direction.
        pair: the `PromptPair`; several to choose from; or a `PromptSet`, of which the mean is shown first, with the cells outlined that are
            significant over its pairs. Left out where an Experiment is given.
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
    - `result`: the main grid's latest PatchResult, with the cells known so far while it runs; None before the first. Of several pairs it has
      an axis `pair`: the grid shows its `mean()` and outlines what is `significant()`.

    `experiment` is what is asked for the main grid: the one that was given, or one made for the setting at hand.

    Raises:
        PatchError: the site does not exist or can't be drawn, or the front end has not been built.
        TypeError: an option that there is not.
    """

    _esm = bundled("widget.js")
    _css = bundled("widget.css")
    _methods = protocol.METHODS | steer_panel.METHODS

    site = traitlets.Unicode()
    metric = traitlets.Any()
    direction = traitlets.Unicode()
    selection = traitlets.List()
    teach = traitlets.Bool(False)
    status = traitlets.Unicode("queued", read_only=True)
    result = traitlets.Any(None, allow_none=True, read_only=True)

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
        check_options("PatchLab", options, ["site", "metric", "direction", "teach"])
        bench, setting = _bench(model, pair, site, metric, direction)
        session = Session(bench, setting, waits_for_cells(), self._post)
        session.teach = teach
        super().__init__(bench.model, **options)
        session.name = str(self.model_id)
        self._picture = Picture(session.name)
        self.steering = SteerUnder(session.name)
        self._session = session
        self._follow()
        self._desk = Desk(self._asker, session, self._worker)

    @property
    def experiment(self) -> Any:
        """What is asked for the main grid: an `Experiment`, as in scripts."""
        return self._session.experiment if self._session else None

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
            self.steering.close()
        super().close()
        if self._session is not None:
            self.set_trait("status", "closed")

    def __repr__(self) -> str:
        """The model and what is measured on it."""
        if self._session is None:
            return object.__repr__(self)
        setting = self._session.setting
        return f"PatchLab({self._session.bench.model.name}, {setting.site}, {setting.metric}, {setting.direction})"

    def _ipython_display_(self) -> None:
        self._picture.display_under(self)
        self.steering.display_under()

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
        self._asker.presence.ask()
        try:
            self._desk.set(name, value)
        except PatchError as error:
            self.set_trait(name, self._told(name))
            raise error.with_traceback(None) from None  # what lies between here and the sentence tells the user nothing

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

    # ---- with the page

    def _about(self) -> About:
        session = self._session
        if session is None:
            return "", None
        main = session.main
        return label_of(session.bench, session.setting.pair), main.done / main.total if main.live else None

    def _stop(self) -> None:
        if self._session is not None:
            self._session.stop()

    def _answer(self, message: protocol.FromPage, last: int) -> None:
        if self._session is None or self._desk is None:
            return
        match message:
            case protocol.Request(name, "steer", {"layer": layer, "pos": pos, "site": site}):
                self.steering.add(self._session.experiment, layer, pos, site)
                self._session.tell(name)
            case _:
                self._desk.answer(message, last)

    def _sent(self, message: protocol.Message) -> None:
        self._follow()
        if self._session is not None and message["type"] == "result" and message["status"] == "done":
            stored = self._session.stored(STORED_BYTES)
            self.set_trait("stored", as_stored(stored) if stored["views"] else None)
            self._picture.show(self._session.main, repr(self))

    def _follow(self) -> None:
        """Let the traits say what the session says; in the publisher's thread, where an observer that takes its time delays no click."""
        for name in ("site", "metric", "direction", "teach", "selection", "result", "status"):
            value = self._told(name)
            if getattr(self, name) is not value and (name == "result" or getattr(self, name) != value):
                self.set_trait(name, value)


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
    return bench, Setting(bench.first, site, metric, direction)
