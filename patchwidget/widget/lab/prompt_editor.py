"""Prompts typed in the page: what they would be as tokens, what is wrong with them and in which field, and what the model would say."""

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from patchwidget.errors import MetricError, PromptError
from patchwidget.prompts.pair import PromptPair, tokenize_pair, tokenize_prompt
from patchwidget.widget.transport.errors import FieldError
from patchwidget.widget.transport.protocol import Message

from .descriptors import describe_pair

TOP_TOKENS = 10

HARDLY = 0.1
"""A token is hardly expected where its probability is less than this share of the likeliest one's."""

Choice = tuple[str, float, int]
"""A token: its text, probability and id."""

_RUNS = {"answer": "clean", "distractor": "corrupted"}


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
        self._answers: dict[str, tuple[int, ...]] = {}
        if not self.problems:
            bare = replace(self.pair, answer=None, distractor=None)
            self._tokens = self._try("corrupted", lambda: tokenize_pair(model, bare))
        if self._tokens is not None:
            self._answers["answer"] = self._try("answer", lambda: tokenize_pair(model, replace(self.pair, distractor=None)).answers)
            alone = replace(self.pair, answer=None)
            whole = self.pair if not self.problems else alone
            self._answers["distractor"] = self._try("distractor", lambda: tokenize_pair(model, whole).distractors)

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
        told = self._describe_tokens() | {"top": None, "likelier": None, "problems": [_describe(problem) for problem in self.problems]}
        yield told
        if any(self._ids.values()):
            expected = {name: self._expect(ids) for name, ids in self._ids.items() if ids}
            top = {name: self._top(expected[name]) if name in expected else [] for name in self._ids}
            yield told | {"top": top, "likelier": self._likelier(expected, top)}

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

    def _expect(self, ids: list[int]) -> Tensor:
        """The probability of each next token."""
        with torch.no_grad(), self.model.lock:
            return self.model.logits_at(self.model.inputs(ids), (len(ids) - 1,))[0, 0].softmax(-1)

    def _top(self, expected: Tensor) -> list[Choice]:
        best = expected.topk(min(TOP_TOKENS, len(expected)))
        return [(self.model.token_text(int(i)), float(p), int(i)) for i, p in zip(best.indices, best.values, strict=True)]

    def _likelier(self, expected: dict[str, Tensor], top: dict[str, list[Choice]]) -> Message | None:
        """What to take in place of an answer or distractor that the model hardly expects, as one that is left from other prompts; else None."""
        given = {role: ids for role, ids in self._answers.items() if ids and _RUNS[role] in expected}
        unlikely = {
            role: top[_RUNS[role]][0]
            for role, ids in given.items()
            if expected[_RUNS[role]][list(ids)].max() < HARDLY * top[_RUNS[role]][0][1]
        }
        if not unlikely:
            return None
        words = " or ".join(repr(self.model.token_text(given[role][0])) for role in unlikely)
        then = [unlikely[role][2] if role in unlikely else ids[0] for role, ids in given.items()]
        offered = unlikely if len(set(then)) == len(then) else {}
        text = f"After these prompts the model hardly expects {words}."
        return {"text": text, "answer": offered.get("answer"), "distractor": offered.get("distractor")}


def _given(answer: str | int | None) -> str | int | None:
    return None if answer == "" else answer


def _describe(problem: FieldError) -> Message:
    return {"field": problem.field, "message": problem.message, "hint": problem.hint}
