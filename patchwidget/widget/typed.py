"""Prompts typed in the page: what they would be as tokens, what is wrong with them and in which field, and what the model would say."""

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import torch

from patchwidget.errors import MetricError, PatchError, PromptError
from patchwidget.experiments.prompts import PromptPair, tokenize_pair, tokenize_prompt

from .descriptors import describe_pair
from .protocol import Message

TOP_TOKENS = 10


class FieldError(PatchError):
    """What is wrong with one of the fields of a pair: clean, corrupted, answer or distractor."""

    def __init__(self, field: str, error: PatchError) -> None:
        super().__init__(error.message, error.hint)
        self.field = field


class TypedPair:
    """A pair as it was typed; empty fields count as left out.

    Attributes:
        problems: what keeps it from being used, by field.
        pair: the PromptPair, aligned by difference where the prompts are of unequal length.
    """

    def __init__(self, model: Any, clean: str, corrupted: str, answer: str | int | None, distractor: str | int | None) -> None:
        self.model = model
        self.problems: list[FieldError] = []
        self._ids = {
            name: self._try(name, lambda name=name, text=text: tokenize_prompt(model, text, name))
            for name, text in (("clean", clean), ("corrupted", corrupted))
        }
        unequal = len({len(ids) for ids in self._ids.values() if ids}) > 1
        self.pair = PromptPair(clean, corrupted, _given(answer), _given(distractor), align="diff" if unequal else None)
        self._tokens: Any = None
        if not self.problems:
            bare = replace(self.pair, answer=None, distractor=None)
            self._tokens = self._try("corrupted", lambda: tokenize_pair(model, bare))
        if self._tokens is not None:
            self._try("answer", lambda: tokenize_pair(model, replace(self.pair, distractor=None)))
            alone = replace(self.pair, answer=None)
            whole = self.pair if not self.problems else alone
            self._try("distractor", lambda: tokenize_pair(model, whole))

    def check(self, measure: Callable[[PromptPair], Any]) -> PromptPair:
        """The pair, if it can be used; `measure` tries to make an experiment of it.

        Raises:
            FieldError: the first problem.
        """
        if not self.problems:
            self._try_measure(measure)
        if self.problems:
            raise self.problems[0]
        return self.pair

    def describe(self, measure: Callable[[PromptPair], Any]) -> Generator[Message, None, None]:
        """For the page: first without, then with the model's own likeliest tokens, which takes a forward."""
        if not self.problems:
            self._try_measure(measure)
        told = self._describe_tokens() | {"top": None, "problems": [_describe(problem) for problem in self.problems]}
        yield told
        if any(self._ids.values()):
            yield told | {"top": {name: self._top(ids) if ids else [] for name, ids in self._ids.items()}}

    def _try(self, field: str, attempt: Callable[[], Any]) -> Any:
        try:
            return attempt()
        except PromptError as error:
            if all((known.field, known.message) != (field, error.message) for known in self.problems):
                self.problems.append(FieldError(field, error))
            return None

    def _try_measure(self, measure: Callable[[PromptPair], Any]) -> None:
        try:
            measure(self.pair)
        except MetricError as error:
            self.problems.append(FieldError("distractor" if "a distractor" in error.message else "answer", error))

    def _describe_tokens(self) -> Message:
        texts = {name: [self.model.token_text(token) for token in ids or []] for name, ids in self._ids.items()}
        if self._tokens is None:
            longest = max(len(tokens) for tokens in texts.values())
            columns = [[i if i < len(texts["clean"]) else None, i if i < len(texts["corrupted"]) else None] for i in range(longest)]
            return {**texts, "columns": columns, "differs": [False] * longest, "note": None}
        told = describe_pair(self._tokens)
        lengths = [len(told[name]) for name in ("clean", "corrupted")]
        note = f"The prompts have {lengths[0]} and {lengths[1]} tokens: nothing is patched where no token corresponds."
        return {**texts, "columns": told["columns"], "differs": told["differs"], "note": note if lengths[0] != lengths[1] else None}

    def _top(self, ids: list[int]) -> list[tuple[str, float, int]]:
        with torch.no_grad(), self.model.lock:
            logits = self.model.logits_at(self.model.inputs(ids), (len(ids) - 1,))[0, 0]
        best = logits.softmax(-1).topk(min(TOP_TOKENS, len(logits)))
        return [(self.model.token_text(int(i)), float(p), int(i)) for i, p in zip(best.indices, best.values, strict=True)]


def _given(answer: str | int | None) -> str | int | None:
    return None if answer == "" else answer


def _describe(problem: FieldError) -> Message:
    return {"field": problem.field, "message": problem.message, "hint": problem.hint}
