"""The two texts of a steering panel, unsteered and steered, as they are written."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import RLock
from typing import Any

from patchwidget.widget.transport.errors import describe_error
from patchwidget.widget.transport.protocol import Message

from . import messages


@dataclass
class Text:
    """One of the two texts. `key` is of what it was written for."""

    side: str
    key: str
    pieces: list[str] = field(default_factory=list)
    status: str = "writing"
    damage: Message | None = None
    problem: tuple[str, str] | None = None

    def descriptor(self) -> Message:
        message, hint = self.problem or (None, None)
        return {
            "side": self.side,
            "key": self.key,
            "pieces": list(self.pieces),
            "status": self.status,
            "damage": self.damage,
            "message": message,
            "hint": hint,
        }


class Texts:
    """Both texts; what happens to them is told to the page. What comes for another key than a text's own is of older settings, and not taken.

    Args:
        lock: the session's.
        post: sends a message to the page.
    """

    def __init__(self, lock: RLock, post: Callable[[Message], Any]) -> None:
        self._lock, self._post = lock, post
        self._texts: dict[str, Text] = {}

    def lacks(self, side: str, key: str) -> bool:
        """Whether a text is not there for this key, or not yet whole."""
        with self._lock:
            text = self._texts.get(side)
            return text is None or text.key != key or text.status == "writing"

    def begin(self, side: str, key: str) -> None:
        with self._lock:
            text = self._texts[side] = Text(side, key)
            self._tell(text, 0)

    def add(self, side: str, key: str, pieces: list[str]) -> None:
        """More of a text."""
        with self._lock:
            if text := self._under_way(side, key):
                text.pieces += pieces
                self._tell(text, len(text.pieces) - len(pieces))

    def end(self, side: str, key: str, damage: Message) -> None:
        with self._lock:
            if text := self._under_way(side, key):
                text.status, text.damage = "done", damage
                self._tell(text, len(text.pieces))

    def fail(self, side: str, key: str, error: BaseException) -> None:
        told = describe_error(error, None)
        with self._lock:
            text = self._texts.setdefault(side, Text(side, key))
            text.key, text.status, text.problem = key, "failed", (told["message"], told["hint"])
            self._tell(text, len(text.pieces))

    def stop(self) -> None:
        """Write no further; what there is stays."""
        with self._lock:
            for text in self._texts.values():
                if text.status == "writing":
                    text.status = "stopped"
                    self._tell(text, len(text.pieces))

    def forget_stopped(self) -> None:
        """What was stopped, by hand or because a slider was grabbed, is to be written anew."""
        with self._lock:
            self._texts = {side: text for side, text in self._texts.items() if text.status != "stopped"}

    def descriptors(self) -> list[Message]:
        with self._lock:
            return [text.descriptor() for text in self._texts.values()]

    def _under_way(self, side: str, key: str) -> Text | None:
        text = self._texts[side]
        return text if text.key == key and text.status == "writing" else None

    def _tell(self, text: Text, start: int) -> None:
        self._post(messages.text(text.descriptor(), start))
