"""Where a head looks, as a view."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from patchwidget.widget.transport.protocol import Message

from .views import View

_CHANGED = "The model has changed since this was measured: measure it again."


@dataclass(kw_only=True)
class AttentionView(View):
    """Where one head looks from one position (or from each, if `pos` is None), in both runs; NaN until it is known."""

    layer: int
    head: int
    pos: int | None
    tokens: Sequence[str]
    tokens_clean: Sequence[str]

    def __post_init__(self) -> None:
        self.clean = self.corrupted = np.zeros(0, np.float32)

    @property
    def known(self) -> bool:
        return bool(self.clean.size)

    @property
    def size(self) -> int:
        return self.clean.nbytes + self.corrupted.nbytes

    def absorb(self, row: Any) -> None:
        """Take over an AttentionRow."""
        self.clean = np.asarray(row.clean, np.float32).ravel()
        self.corrupted = np.asarray(row.corrupted, np.float32).ravel()

    def keep(self, earlier: "AttentionView") -> None:
        self.clean, self.corrupted = earlier.clean, earlier.corrupted

    def doubt(self) -> None:
        if not self.explain.startswith(_CHANGED):
            self.explain = f"{_CHANGED} {self.explain}"

    def descriptor(self, *, kept: bool = False) -> Message:
        differing = list(self.tokens_clean) if list(self.tokens_clean) != list(self.tokens) else None
        arrays = {"clean": self.clean, "corrupted": self.corrupted}
        return {
            **self._common("attention", kept=kept),
            "layer": self.layer,
            "head": self.head,
            "pos": self.pos,
            "tokens": list(self.tokens),
            "tokens_clean": differing,
            **(arrays if self.known and not kept else dict.fromkeys(arrays)),
        }
