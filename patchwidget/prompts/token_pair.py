"""A pair of prompts as one model sees it: tokens, and which positions correspond."""

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from patchwidget.errors import PromptError
from patchwidget.given import is_floating

from .alignment import Both, one_to_one


@dataclass(frozen=True)
class TokenPair:
    """A PromptPair as one model sees it. Lists are by position; made by `tokenize_pair`."""

    clean: list[int] | Tensor
    corrupted: list[int] | Tensor
    clean_tokens: list[str]
    corrupted_tokens: list[str]
    answers: tuple[int, ...]
    distractors: tuple[int, ...]
    answer_text: str
    distractor_text: str
    roles: dict[str, Both] = field(default_factory=dict)
    aligned: Both | None = None

    @property
    def length(self) -> int:
        """Of the clean prompt; `length_of` where the two may be of unequal length."""
        return self.length_of("clean")

    def length_of(self, run: str) -> int:
        """How many positions the "clean" or the "corrupted" prompt has."""
        tokens = getattr(self, run)
        return 1 if isinstance(tokens, Tensor) and tokens.ndim == 1 and is_floating(tokens) else len(tokens)

    @cached_property
    def correspondence(self) -> Both:
        """The positions that correspond: (clean, corrupted), equally many."""
        return self.aligned or one_to_one(self.length)

    def corresponding(self, base: str) -> dict[int, int]:
        """For each position of the `base` run, "clean" or "corrupted", that of the other one; what has none is left out."""
        clean, corrupted = self.correspondence
        here, there = (corrupted, clean) if base == "corrupted" else (clean, corrupted)
        return dict(sorted(zip(here, there, strict=True)))

    @property
    def shifted(self) -> bool:
        """Whether any position corresponds to another one, or to none."""
        return self.correspondence != one_to_one(self.length) or self.length != self.length_of("corrupted")

    @property
    def differs(self) -> list[bool]:
        """By position of the clean prompt: whether the corrupted one has another token there, or none."""
        if isinstance(self.clean, Tensor):
            return (self.clean != torch.as_tensor(self.corrupted)).reshape(self.length, -1).any(1).tolist()
        same = {i for i, j in zip(*self.correspondence, strict=True) if self.clean[i] == self.corrupted[j]}
        return [position not in same for position in range(self.length)]

    @property
    def first_difference(self) -> int:
        """The first position where they differ, or from which on positions correspond to others; 0 where they do not differ."""
        differs, (clean, corrupted) = self.differs, self.correspondence
        moved = {i for i, j in zip(clean, corrupted, strict=True) if i != j}
        changed = [position for position in range(self.length) if differs[position] or position in moved]
        if changed:
            return changed[0]
        return self.length if self.length < self.length_of("corrupted") else 0


def measured_position(pair: TokenPair, run: str, base: str, answer_pos: int | None) -> int:
    """Where the logits of a run are read: at the end, or at `answer_pos` of the base run and at what corresponds to it in the other.

    Raises:
        PromptError: there is no such position.
    """
    if answer_pos is None:
        return pair.length_of(run) - 1
    length = pair.length_of(base)
    if not -length <= answer_pos < length:
        message = f"answer_pos={answer_pos} does not exist: the prompts have positions 0 to {length - 1}."
        raise PromptError(message, "Choose one of these; -1 is the last.")
    position, there = answer_pos % length, pair.corresponding(base)
    if run == base:
        return position
    if position not in there:
        message = f"answer_pos={position} corresponds to no position of the {run} prompt."
        raise PromptError(message, "Choose another, or align the prompts.")
    return there[position]
