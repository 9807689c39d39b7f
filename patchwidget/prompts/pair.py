"""A clean and a corrupted prompt with the answers that tell them apart, checked against a model's tokenizer."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from patchwidget.errors import MetricError, PromptError
from patchwidget.given import Array, is_floating, plain, token_ids
from patchwidget.models.wrapped import WrappedModel
from patchwidget.public import public

from .alignment import Align, Both, Span, Spans, align_tokens, both_spans, find_span
from .answers import Answer, answer_pieces, answer_tokens, check_answer, join_texts, output_indices
from .token_pair import TokenPair

# a text; token ids, [T] or [1, T]; or what a network takes that takes no tokens
Text = str | Sequence[int | Array] | Sequence[Sequence[int]] | Tensor | Array


@public
@dataclass(frozen=True)
class PromptPair:
    """Two prompts that should differ in as little as changes the answer.

    Attributes:
        clean, corrupted: texts, or token ids (a list, an array or a tensor, [T] or [1, T]); for a network that takes no tokens, tensors without
            a batch axis ([features] or [position, features]; whole numbers [position]). Texts are tokenized as the tokenizer does it by itself,
            so with its BOS token if it adds one. Without `corrupted` there is one run only: patches are then measured as they are, and recovery
            has no meaning.
        answer: the token that is right after the clean prompt: a text of exactly one token (mind the leading space) or an id; or several.
        distractor: the token that is right after the corrupted prompt, likewise.
        roles: name -> the tokens that play this role: a text ("Mary"), (text, n) for its n-th occurrence from 0 on, a position (-1 is the
            last), a list of positions; or two of these, for the clean and the corrupted prompt: {"subject": ("Paris", "the Hague")}.
            Sweeps with `positions="roles"` have them as their axis.
        align: which positions correspond where the prompts are of unequal length: "diff" (by token difference), "roles" (each role with itself,
            the rest by difference), a list of (clean, corrupted) spans such as [("Paris", "the Hague")] (the rest by difference), or a
            mapping of roles. Patched is where they correspond, and NaN elsewhere. A span of n tokens and one of m correspond by their last
            min(n, m). Queries and keys keep the rotary angle of the position they come from.
        meta: what else is known of the pair, by name, such as its number or category; `PromptSet` keeps further columns there.

    Raises:
        PromptError: an answer or a distractor is neither text nor token id.
    """

    clean: Text
    corrupted: Text | None = None
    answer: Answer | None = None
    distractor: Answer | None = None
    roles: Mapping[str, Spans] | None = None
    align: Align | None = None
    meta: Mapping[str, Any] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for name in ("clean", "corrupted"):
            given = getattr(self, name)
            if not isinstance(given, str | Tensor | None):
                object.__setattr__(self, name, _plain_prompt(given))
        for name in ("answer", "distractor", "roles", "align"):
            object.__setattr__(self, name, plain(getattr(self, name)))
        for name in ("answer", "distractor"):
            check_answer(getattr(self, name), name)


def tokenize_pair(model: WrappedModel, pair: PromptPair, *, feed_answer: bool = False) -> TokenPair:
    """Check a pair against a model.

    Args:
        feed_answer: the answer may be several tokens, and all but the last of them are appended to both prompts.

    Raises:
        PromptError: a prompt is empty or longer than the model's context, the two are equal, or of unequal length without `align`, a token id
            does not exist, an answer is not one token, answer and distractor are the same, or a role is not in its prompt.
    """
    if isinstance(pair.clean, Tensor) and not _is_tokens(model, pair.clean):
        return _tensor_pair(model, pair)
    clean = tokenize_prompt(model, pair.clean, "clean")
    corrupted = clean if pair.corrupted is None else tokenize_prompt(model, pair.corrupted, "corrupted")
    if pair.corrupted is not None:
        _check_difference(model, clean, corrupted, aligned=pair.align is not None)
    roles, spans = _find_spans(model, pair, clean, corrupted)
    if feed_answer:
        answers = answer_pieces(model, pair.answer)
        clean, corrupted, distractors = [*clean, *answers[:-1]], [*corrupted, *answers[:-1]], ()
    else:
        answers, distractors = answer_tokens(model, pair.answer, "answer"), answer_tokens(model, pair.distractor, "distractor")
    if set(answers) & set(distractors):
        both = join_texts(model, tuple(set(answers) & set(distractors)))
        raise PromptError(
            f"{both} is both answer and distractor, so their difference is always 0.",
            "Give the token that the corrupted prompt makes right.",
        )
    return TokenPair(
        clean,
        corrupted,
        [model.token_text(t) for t in clean],
        [model.token_text(t) for t in corrupted],
        answers,
        distractors,
        join_texts(model, answers),
        join_texts(model, distractors),
        roles,
        None if pair.align is None else align_tokens(clean, corrupted, spans),
    )


def tokenize_pairs(model: WrappedModel, pairs: Sequence[PromptPair], *, feed_answer: bool = False) -> list[TokenPair]:
    """Each pair by `tokenize_pair`; where there are several, errors name the pair by its number."""
    found = []
    for number, pair in enumerate(pairs):
        with in_pair(number, len(pairs)):
            found.append(tokenize_pair(model, pair, feed_answer=feed_answer))
    return found


@contextmanager
def in_pair(number: int, of: int) -> Iterator[None]:
    """Errors raised in here name the pair by its number, if there are several."""
    try:
        yield
    except (PromptError, MetricError) as error:
        if of == 1:
            raise
        raise type(error)(f"Pair {number}: {error.message}", error.hint) from error


def plain_prompts(prompts: Any) -> list[Any]:
    """A list of texts and of lists of token ids, whatever the ids came in; one text alone is a list of one."""
    return [prompts] if isinstance(prompts, str) else [token_ids(prompt) for prompt in prompts]


def with_plain_ids(model: WrappedModel, pair: PromptPair) -> PromptPair:
    """The pair with its token ids as lists, which can be written down and read again; other tensors stay as they are."""
    plain_ones = {
        name: token_ids(given)
        for name in ("clean", "corrupted")
        for given in [getattr(pair, name)]
        if isinstance(given, Tensor) and _is_tokens(model, given)
    }
    return replace(pair, **plain_ones)


def _plain_prompt(given: Any) -> Any:
    """NumPy's and pandas' numbers as a tensor, for a network may take either; lists as they are, of Python's numbers."""
    array = np.asarray(given) if isinstance(given, Array) else None
    return plain(given) if array is None or array.dtype.kind not in "iuf" else torch.tensor(array)


def _is_tokens(model: WrappedModel, given: Tensor) -> bool:
    """Whether a tensor holds token ids: whole numbers, for a model that takes tokens."""
    return model.takes_tokens and not is_floating(given)


def tokenize_prompt(model: WrappedModel, text: Any, name: str) -> list[int]:
    """Token ids of a prompt (`Text`), checked; `name` is what errors call it."""
    tokens = model.encode(text) if isinstance(text, str) else _ids(text, name)
    if not tokens or text == "":
        raise PromptError(f"The {name} prompt is empty.", "Give a text, or a list of token ids.")
    wrong = [token for token in tokens if not 0 <= token < model.vocab_size]
    if wrong:
        raise PromptError(
            f"The {name} prompt has token {wrong[0]}, and this model's tokens are 0 to {model.vocab_size - 1}.",
            "Use the model's own tokenizer.",
        )
    limit = model.context_length
    if limit is not None and len(tokens) > limit:
        raise PromptError(f"The {name} prompt has {len(tokens)} tokens, and {model.name} takes at most {limit}.", "Shorten the prompt.")
    return tokens


def _ids(given: Any, name: str) -> list[int]:
    """Token ids [T] or [1, T] as a list."""
    found = token_ids(given)
    if isinstance(found, list | tuple) and len(found) == 1 and isinstance(found[0], list | tuple):
        found = found[0]
    if not isinstance(found, list | tuple):
        raise PromptError(f"The {name} prompt is a {type(given).__name__}.", "Give a text, or a list of token ids.")
    if any(isinstance(item, list | tuple) for item in found):
        raise PromptError(
            f"The {name} prompt has {len(found)} rows of token ids, and it is one prompt.", "Give one of them, of shape [T] or [1, T]."
        )
    strange = [item for item in found if not isinstance(item, int) or isinstance(item, bool)]
    if strange:
        message = f"The {name} prompt has {strange[0]!r} among its token ids, which is a {type(strange[0]).__name__}."
        raise PromptError(message, "Give a text, or a list of whole numbers.")
    return list(found)


def _tensor_pair(model: WrappedModel, pair: PromptPair) -> TokenPair:
    """A pair for a network that takes tensors; answers are indices of its outputs."""
    clean, corrupted = pair.clean, pair.clean if pair.corrupted is None else pair.corrupted
    if model.takes_tokens:
        raise PromptError(f"{model.name} takes token ids, and the prompt is a tensor of {clean.dtype}.", "Give whole numbers, or a text.")  # type: ignore[union-attr]
    if not (isinstance(clean, Tensor) and isinstance(corrupted, Tensor) and clean.shape == corrupted.shape and clean.ndim in (1, 2)):
        shapes = [list(x.shape) if isinstance(x, Tensor) else type(x).__name__ for x in (clean, corrupted)]
        hint = "Give two tensors of one shape, [features] or [position, features], without a batch axis."
        raise PromptError(f"The clean and the corrupted input do not fit together: {shapes[0]} and {shapes[1]}.", hint)
    answers, distractors = (output_indices(answer, name) for answer, name in [(pair.answer, "answer"), (pair.distractor, "distractor")])
    labels = [str(i) for i in range(1 if clean.ndim == 1 and is_floating(clean) else len(clean))]
    texts = (", ".join(map(str, answers)), ", ".join(map(str, distractors)))
    return TokenPair(clean, corrupted, labels, labels, answers, distractors, *texts)


def _find_spans(model: WrappedModel, pair: PromptPair, clean: list[int], corrupted: list[int]) -> tuple[dict[str, Both], list[Both]]:
    """The pair's roles, and the spans that are aligned with each other, as positions."""

    def found(one: Span, other: Span, what: str) -> Both:
        text = pair.clean if pair.corrupted is None else pair.corrupted
        return find_span(model, clean, pair.clean, one, what), find_span(model, corrupted, text, other, f"{what}, in the corrupted prompt,")

    named = {**(pair.roles or {}), **(pair.align if isinstance(pair.align, Mapping) else {})}
    roles = {name: found(*both_spans(value), f"The role {name!r}") for name, value in named.items()}
    if pair.align is None or pair.align == "diff":
        return roles, []
    if pair.align == "roles" or isinstance(pair.align, Mapping):
        if not roles:
            raise PromptError("align='roles' was given, and the pair has no roles.", "Give roles={'subject': ...}, or align='diff'.")
        return roles, list(roles.values())
    if isinstance(pair.align, str):
        raise PromptError(f"align={pair.align!r} is not known.", "Use 'diff', 'roles', or a list of (clean, corrupted) spans.")
    if not all(isinstance(item, Sequence) and not isinstance(item, str) and len(item) == 2 for item in pair.align):
        raise PromptError(f"align={pair.align!r} is no list of (clean, corrupted) spans.", "Give for example [('Paris', 'the Hague')].")
    return roles, [found(one, other, "A span to be aligned") for one, other in pair.align]


def _check_difference(model: WrappedModel, clean: list[int], corrupted: list[int], *, aligned: bool) -> None:
    if clean == corrupted:
        raise PromptError(
            "The clean and the corrupted prompt are the same, so there is nothing to patch.",
            "Change the word that should change the answer.",
        )
    if len(clean) != len(corrupted) and not aligned:
        shown = "\n".join(
            f"  {name}: {' | '.join(model.token_text(t) for t in tokens)}" for name, tokens in [("clean", clean), ("corrupted", corrupted)]
        )
        raise PromptError(
            f"The clean prompt has {len(clean)} tokens and the corrupted one {len(corrupted)}, so positions do not correspond:\n{shown}\n",
            "Choose words of equally many tokens, or give align='diff' to patch where the two correspond.",
        )
