"""The answers of a prompt pair as token ids, and what is said where they are none."""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from patchwidget.errors import PromptError
from patchwidget.given import Array, Index
from patchwidget.models.wrapped import WrappedModel

from .words import lacks_a_space

Answer = str | Index | Sequence[str | Index] | Array


def check_answer(answer: Any, name: str) -> None:
    """Raise PromptError unless it is a text, a token id, or several of these; None is no answer."""
    if answer is None:
        return
    for item in answer if isinstance(answer, list | tuple) else [answer]:
        if not isinstance(item, str | int):
            hint = "Give a text of one token or a token id, or a list of these."
            if isinstance(item, float) and item.is_integer():
                hint = f"A token id is a whole number: {int(item)}."
            raise PromptError(f"The {name} {item!r} is a {type(item).__name__}.", hint)


def answer_tokens(model: WrappedModel, answer: Any, name: str) -> tuple[int, ...]:
    """Texts of one token, and token ids, as token ids.

    Raises:
        PromptError: one is not one token, or no token of this model.
    """
    return tuple(_one_token(model, item, name) for item in _several(answer))


def answer_pieces(model: WrappedModel, answer: Any) -> tuple[int, ...]:
    """The tokens of an answer that is fed in: a text of any length, or token ids."""
    if isinstance(answer, str) and answer:
        return tuple(model.encode(answer, special=False))
    several = _several(answer)
    if several and all(isinstance(token, int) for token in several):
        return answer_tokens(model, answer, "answer")
    raise PromptError(
        f"The metric answer_log_prob needs an answer, and was given {answer!r}.", "Give answer= to PromptPair: a text or token ids."
    )


def output_indices(answer: Any, name: str) -> tuple[int, ...]:
    """Answers of a network that takes no tokens: indices of its outputs."""
    several = _several(answer)
    if any(isinstance(item, str) for item in several):
        raise PromptError(f"The {name} {answer!r} is a text, and this network has no tokens.", "Give the index of an output.")
    return tuple(several)


def join_texts(model: WrappedModel, tokens: Iterable[int]) -> str:
    """Tokens as texts, with commas between."""
    return ", ".join(model.token_text(token) for token in tokens)


def warn_of_missing_space(model: WrappedModel, prompts: Iterable[tuple[Any, Any]]) -> None:
    """Warn, once, where an answer begins with a letter right after a word, and is another token with a space before it.

    Args:
        prompts: (prompt, answer or distractor), as they were given.
    """
    for prompt, answer in prompts:
        for word in (item for item in _several(answer) if isinstance(item, str)):
            spaced = _spaced_token(model, word) if isinstance(prompt, str) and lacks_a_space(prompt, word) else None
            if spaced is not None:
                message = f"The answer {word!r} follows {prompt[-12:]!r} without a space, and {spaced!r} is one token too: is that meant?"
                warnings.warn(message, stacklevel=3)
                return


def _several(answer: Any) -> list[Any]:
    return [] if answer is None else list(answer) if isinstance(answer, list | tuple) else [answer]


def _one_token(model: WrappedModel, answer: str | int, name: str) -> int:
    if isinstance(answer, int):
        if not 0 <= answer < model.vocab_size:
            raise PromptError(
                f"The {name} is token {answer}, and this model's tokens are 0 to {model.vocab_size - 1}.", "Use the model's own tokenizer."
            )
        return answer
    pieces = model.encode(answer, special=False)
    if len(pieces) == 1:
        return pieces[0]
    shown = " | ".join(model.token_text(piece) for piece in pieces) if pieces else "nothing"
    spaced = _spaced_token(model, answer)
    hint = f"With a leading space it is one: {spaced!r}." if spaced else "Choose a word that is one token, or give a token id."
    raise PromptError(f"The {name} {answer!r} is {len(pieces)} tokens for this tokenizer ({shown}), and it has to be one.", hint)


def _spaced_token(model: WrappedModel, answer: str) -> str | None:
    """The text with a leading space, if that makes it one token, and another one."""
    spaced = " " + answer.strip()
    pieces = model.encode(spaced, special=False) if answer.strip() and spaced != answer else []
    return spaced if len(pieces) == 1 and pieces != model.encode(answer, special=False) else None
