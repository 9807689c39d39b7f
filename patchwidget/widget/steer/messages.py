"""The messages of the steering panel, as `steer_protocol.md` defines them."""

from patchwidget.widget.transport.protocol import VERSION, Message, Methods

_NUMBER, _REAL, _TEXT, _FLAG = "a whole number", "a number", "a text", "true or false"

METHODS: Methods = {
    "set": {"prompt?": _TEXT, "seed?": _NUMBER, "temperature?": _REAL, "length?": _NUMBER, "current?": _TEXT},
    "row": {
        "row": _TEXT,
        "vector?": _TEXT,
        "layer?": _NUMBER,
        "positions?": _TEXT,
        "unit?": _TEXT,
        "strength?": _REAL,
        "on?": _FLAG,
    },
    "add": {"vector": _TEXT},
    "remove": {"row": _TEXT},
    "make": {"positive": _TEXT, "negative": _TEXT, "method": _TEXT, "layer": _NUMBER},
    "write": {},
    "stop": {"lab": _TEXT},
}


def hello(panel: Message, ladders: list[Message], texts: list[Message]) -> Message:
    """Everything there is."""
    return {"v": VERSION, "type": "hello", "panel": panel, "ladders": ladders, "texts": texts}


def panel(about: Message, request: str | None = None) -> Message:
    """Settings have changed."""
    return {"v": VERSION, "type": "panel", "id": request, "panel": about}


def ladder(told: Message) -> Message:
    """A row's ladder is known."""
    return {"v": VERSION, "type": "ladder", "id": None, "ladder": told}


def text(told: Message, start: int) -> Message:
    """More of a text: `told` with the pieces from `start` on."""
    return {"v": VERSION, "type": "text", "id": None, **told, "pieces": told["pieces"][start:], "start": start}
