"""How much memory an experiment may take, and how many pairs and rows go together within it."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from accelerate.utils import convert_file_size_to_int

from patchwidget.engine.memory import bytes_of_recording, bytes_per_row, free_memory, rows_within, size_of
from patchwidget.engine.recording import Recording
from patchwidget.errors import PatchError
from patchwidget.models.wrapped import WrappedModel

_PAIRS_AT_ONCE = 64  # of short prompts as many as fill a pass


@dataclass(frozen=True)
class Budget:
    """What the recorded runs of a model and the cells under way may take.

    Attributes:
        size: bytes; None for a share of what is free.
    """

    model: WrappedModel
    size: int | None

    @classmethod
    def of(cls, model: WrappedModel, size: Any) -> "Budget":
        """`size`: a number of bytes, a text such as "2GB" or "500MiB", or None. Raises PatchError for anything else."""
        return cls(model, None if size is None else _bytes(size))

    def pairs_at_once(self, longest: int) -> int:
        """How many pairs of prompts of at most this length may be worked on together: their recordings, and the cells made of them, take an
        eighth of what is free, or half of `size`."""
        room = free_memory(self.model.device) // 8 if self.size is None else self.size // 2
        pair = 4 * bytes_of_recording(self.model, longest)  # two runs, what is taken from them, and what the pairs before still hold
        return max(1, min(_PAIRS_AT_ONCE, room // pair))

    def rows_at_once(self, length: int, recordings: Collection[Recording]) -> int:
        """How many rows may travel together beside these recordings, for prompts of this length: within `size`, or a quarter of what is free.

        Raises:
            PatchError: not even one cell fits into `size`.
        """
        held = size_of(recordings)
        room = free_memory(self.model.device) // 4 if self.size is None else self.size - held
        rows = rows_within(self.model, length, room)
        if rows < length and self.size is not None:
            needed = held + length * bytes_per_row(self.model, length)
            raise PatchError(
                f"max_memory is {_shown(self.size)}, and the recorded runs and a single cell need up to {_shown(needed)}.",
                "Allow more, patch fewer pairs at once, or use shorter prompts.",
            )
        return max(length, rows)


def _bytes(size: Any) -> int:
    try:
        found = convert_file_size_to_int(size) if isinstance(size, str) else int(size)
    except (ValueError, TypeError, OverflowError):
        found = 0
    if found <= 0:
        raise PatchError(f"max_memory={size!r} is not a size.", "Give a number of bytes, or a text such as '2GB'.")
    return found


def _shown(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
