"""What every live widget shares: a numbered conversation with its pages, through one publisher, whichever thread it is held in; and one
worker for all that are on the same model.

page -> _handle_msg -> _answer (the widget's own) -> Worker (jobs, step by step) -> Publisher -> page
"""

import html
import logging
import time
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets

from patchwidget.errors import PatchError
from patchwidget.widget.hosts.jupyter import answer_where_asked, current_run

from . import protocol
from .asker import About, Asker
from .errors import describe_error
from .outputs import outputs
from .publisher import Publisher
from .worker import worker_of

logger = logging.getLogger("patchwidget")
logger.addHandler(logging.NullHandler())

_STATIC = Path(__file__).parents[1] / "static"
STORED_BYTES = 200_000


def bundled(name: str) -> Path | str:
    """A file of the built front end; empty where it has not been built, so that importing works and only making a widget fails."""
    path = _STATIC / name
    return path if path.is_file() else ""


class LiveWidget(anywidget.AnyWidget):
    """A widget that talks with its pages by messages, and has work done on a model.

    A subclass answers messages (`_answer`) that have one of its `_methods`, says what begins when it is shown (`_begin`), what its work is about
    (`_about`), and ends it (`_stop`).

    Raises:
        PatchError: the front end has not been built.
    """

    _esm: Path | str = ""
    _css: Path | str = ""
    _methods: ClassVar[protocol.Methods] = {}

    stored = traitlets.Any(None, allow_none=True, read_only=True).tag(sync=True)

    _publisher: Publisher | None = None

    def __init__(self, model: Any, **options: Any) -> None:
        if not self._esm:
            raise PatchError(
                f"The front end of the widget has not been built: {_STATIC / 'widget.js'} is missing.",
                "In a checkout, run `make build` (or `npm ci && npm run build` in the folder js), then restart the kernel.",
            )
        self._publisher = Publisher(self._send_message)
        self._worker = worker_of(model)
        self._asker = Asker(self._about, self._stop, lambda ahead, request: self._post(protocol.queue(ahead, request)))
        super().__init__(**options)
        self._asker.name = str(self.model_id)
        outputs.show(self._asker, current_run())  # as a rule: inside of another widget it is never displayed by itself
        answer_where_asked(self.comm)
        self.on_msg(self._on_message)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until nothing is being measured, and the page and the traits say so; begins it if the widget has not been shown yet.

        Meanwhile it counts as looked at: its work goes before that of widgets whose page is gone.

        Returns:
            False if something is still being measured after `timeout` seconds.
        """
        self._begin()
        started = time.monotonic()
        with self._asker.presence.waiting():
            if not self._worker.wait(self._asker, timeout):
                return False
        return self._publisher is None or self._publisher.drain(None if timeout is None else max(0, started + timeout - time.monotonic()))

    def close(self) -> None:
        """Say nothing more, and take the widget off the page."""
        if self._publisher is not None:
            self._publisher.close()
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        self._asker.presence.show()
        outputs.show(self._asker, current_run())
        self._begin()
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is not None:
            bundle[0]["text/html"] = f"<p>{html.escape(repr(self))}: this is a live widget; run the notebook to see it.</p>"
        return bundle

    # ---- the widget's own

    def _begin(self) -> None:
        """It is shown: compute what it shows, the first time."""

    def _answer(self, message: protocol.FromPage, last: int) -> None:
        """A message from a page; `last` is the number of the last message sent. Whatever it raises the page is told."""

    def _sent(self, message: protocol.Message) -> None:
        """A message has just left; in the publisher's thread."""

    def _about(self) -> About:
        """What is being measured, told to those who wait for it."""
        return "", None

    def _stop(self) -> None:
        """Stop what is being measured, after the batch under way; what is done is kept."""

    # ---- from the page

    def _handle_msg(self, msg: dict[str, Any]) -> None:
        if self._publisher is not None and msg.get("header", {}).get("subshell_id"):
            self._publisher.adopt(copy_context())
        super()._handle_msg(msg)

    def _on_message(self, _: Any, content: Any, __: Any) -> None:
        try:
            if self._publisher is not None:
                self._take(protocol.parse(content, self._methods), self._publisher.last)
        except Exception as error:  # noqa: BLE001  whatever it is, the page is told, and the log
            self._post(describe_error(error, protocol.request_of(content)))

    def _take(self, message: protocol.FromPage, last: int) -> None:
        """What every widget answers in the same way; the rest is for `_answer`."""
        asker = self._asker
        match message:
            case protocol.Page(page, state):
                asker.presence.hear(page, state)
            case protocol.Hello(page, known, state):
                asker.presence.hear(page, state)
                self._answer(message, last)
                if known != last:
                    asker.repeat()
            case protocol.Request(name, "stop", {"lab": lab}):
                self._worker.stop(lab)
                asker.repeat(name)
            case protocol.Request(name):
                asker.presence.hear(name.rpartition("-")[0])
                asker.presence.ask()
                self._answer(message, last)
            case protocol.Cancel():
                self._answer(message, last)
        outputs.end_lost(asker)

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
        self._sent(message)


def check_options(name: str, options: dict[str, Any], own: list[str]) -> None:
    """Raise TypeError at an option that is neither the widget's `own` nor every widget's."""
    everybodys = {"layout", "tabbable", "tooltip"}
    unknown = sorted(options.keys() - everybodys)
    if unknown:
        raise TypeError(f"{name} has no option {unknown[0]!r}; it takes {', '.join([*own, *sorted(everybodys)])}.")
