"""Ladders of a panel: which is wanted, and as the page has it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from patchwidget.steering.steer import Steer
from patchwidget.widget.transport.protocol import Message

from .rows import Row

LIKELIEST, MOST_TOKENS = 8, 96
"""A ladder follows the tokens that are among so many likeliest at any strength, and at most so many of them."""


@dataclass(frozen=True)
class Wanted:
    """A ladder to compute: of `row`, which is the `vary`-th of `steers`, after the prompt. `tokens`: which to follow, or among how many likeliest."""

    row: Row
    key: str
    steers: list[Steer]
    vary: int
    strengths: list[float]
    tokens: Any
    prompt: tuple[int, ...]


def describe_ladder(wanted: Wanted, ladder: Any) -> Message:
    """As the page has it."""
    followed = ladder.probabilities
    return {
        "row": wanted.row.id,
        "key": wanted.key,
        "strengths": ladder.strengths,
        "tokens": [str(text) for text in followed["token"].to_numpy()[:MOST_TOKENS]],
        "ids": [int(token) for token in followed["id"].to_numpy()[:MOST_TOKENS]],
        "base": ladder.base_probabilities.to_numpy()[:MOST_TOKENS].astype(np.float32),
        "probabilities": followed.to_numpy()[:, :MOST_TOKENS].astype(np.float32),
        "kl": ladder.kl,
        "executor": ladder.info["executor"],
    }


def with_rung(grid: Message, rung: Message) -> Message:
    """A ladder with one strength more."""
    place = int(np.searchsorted(grid["strengths"], rung["strengths"][0]))
    merged = {name: np.insert(grid[name], place, rung[name][0], axis=0) for name in ("strengths", "probabilities", "kl")}
    return grid | merged


def has(strengths: np.ndarray, strength: float) -> bool:
    return bool(np.isclose(strengths, strength, rtol=1e-5, atol=1e-7).any())
