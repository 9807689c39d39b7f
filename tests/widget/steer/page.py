"""A steering panel without a built front end, and the page at its other end."""

import numpy as np

from patchwidget.widget.steer.widget import SteerLab
from tests.widget.page import Page

PROMPT = "When John and Mary went to the"


class BarePanel(SteerLab):
    """A panel whose front end need not have been built."""

    _esm = "export default {\n}"
    _css = ""


class SteerPage(Page):
    """The page of a panel."""

    def ask(self, name, **params):
        """Send a request and wait until the panel has done all of it."""
        self._requests += 1
        request = f"p-{self._requests}"
        self.send(type="request", id=request, method=name, params=params)
        assert self.lab.wait(timeout=60.0)
        return next(message for message in self.messages if message.get("id") == request)

    @property
    def panel(self):
        return next(message["panel"] for message in reversed(self.messages) if "panel" in message)

    @property
    def rows(self):
        return self.panel["rows"]

    def text(self, side):
        """A text as its messages put it together: (pieces, the last message)."""
        pieces: list[str] = []
        last = None
        for message in self.messages:
            if message["type"] == "text" and message["side"] == side:
                pieces = pieces[: message["start"]] + message["pieces"]
                last = message
        return pieces, last

    def ladder(self, row):
        """The newest ladder of a row, with its arrays."""
        with self.comm.news:
            sent = [(data["content"], buffers) for _, data, buffers, _ in self.comm.sent if data.get("method") == "custom"]
        told, buffers = [(content["ladder"], b) for content, b in sent if content["type"] == "ladder" and content["ladder"]["row"] == row][
            -1
        ]
        return told | {name: np.frombuffer(buffers[told[name]], "<f4") for name in ("strengths", "base", "probabilities", "kl")}
