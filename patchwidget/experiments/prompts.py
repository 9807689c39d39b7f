"""A clean and a corrupted prompt with the answers that tell them apart, checked against a model's tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from patchwidget.errors import PromptError
from patchwidget.models.model import Model

Text = str | Sequence[int] | Tensor
Answer = str | int | Sequence[str | int]


@dataclass(frozen=True)
class PromptPair:
    """Two prompts that should differ in as little as changes the answer.

    Attributes:
        clean, corrupted: texts, or token ids; for a network that takes no tokens, tensors without a batch axis ([features] or
            [position, features]). Texts are tokenized as the tokenizer does it by itself, so with its BOS token if it adds one. Without
            `corrupted` there is one run only: patches are then measured as they are, and recovery has no meaning.
        answer: the token that is right after the clean prompt: a text of exactly one token (mind the leading space) or an id; or several.
        distractor: the token that is right after the corrupted prompt, likewise.
    """

    clean: Text
    corrupted: Text | None = None
    answer: Answer | None = None
    distractor: Answer | None = None


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

    @property
    def length(self) -> int:
        return 1 if isinstance(self.clean, Tensor) and self.clean.ndim == 1 else len(self.clean)

    @property
    def differs(self) -> list[bool]:
        """By position: whether the two prompts have different tokens there."""
        if isinstance(self.clean, Tensor):
            return (self.clean != torch.as_tensor(self.corrupted)).reshape(self.length, -1).any(1).tolist()
        return [a != b for a, b in zip(self.clean, self.corrupted, strict=True)]

    @property
    def first_difference(self) -> int:
        """The first position where they differ; 0 where they do not."""
        return self.differs.index(True) if any(self.differs) else 0


def tokenize_pair(model: Model, pair: PromptPair, *, feed_answer: bool = False) -> TokenPair:
    """Check a pair against a model.

    Args:
        feed_answer: the answer may be several tokens, and all but the last of them are appended to both prompts.

    Raises:
        PromptError: a prompt is empty or longer than the model's context, the two are equal or of unequal length, a token id does not
            exist, an answer is not one token, or answer and distractor are the same.
    """
    if isinstance(pair.clean, Tensor):
        return _tensor_pair(model, pair)
    clean = tokenize_prompt(model, pair.clean, "clean")
    corrupted = clean if pair.corrupted is None else tokenize_prompt(model, pair.corrupted, "corrupted")
    if pair.corrupted is not None:
        _check_lengths(model, clean, corrupted)
    if feed_answer:
        answers = _pieces(model, pair.answer)
        clean, corrupted, distractors = [*clean, *answers[:-1]], [*corrupted, *answers[:-1]], ()
    else:
        answers, distractors = _answers(model, pair.answer, "answer"), _answers(model, pair.distractor, "distractor")
    if set(answers) & set(distractors):
        both = _join_texts(model, tuple(set(answers) & set(distractors)))
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
        _join_texts(model, answers),
        _join_texts(model, distractors),
    )


def tokenize_prompt(model: Model, text: Text, name: str) -> list[int]:
    """Token ids of a prompt, checked; `name` is what errors call it."""
    if isinstance(text, Tensor) and text.ndim != 1:
        raise PromptError(f"The {name} prompt has shape {list(text.shape)}, and token ids have one axis.", "Leave out the batch axis.")
    tokens = model.encode(text) if isinstance(text, str) else [int(token) for token in text]
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


def _tensor_pair(model: Model, pair: PromptPair) -> TokenPair:
    """A pair for a network that takes tensors; answers are indices of its outputs."""
    clean, corrupted = pair.clean, pair.clean if pair.corrupted is None else pair.corrupted
    if not (isinstance(clean, Tensor) and isinstance(corrupted, Tensor) and clean.shape == corrupted.shape and clean.ndim in (1, 2)):
        shapes = [list(x.shape) if isinstance(x, Tensor) else type(x).__name__ for x in (clean, corrupted)]
        hint = "Give two tensors of one shape, [features] or [position, features], without a batch axis."
        raise PromptError(f"The clean and the corrupted input do not fit together: {shapes[0]} and {shapes[1]}.", hint)
    answers, distractors = (_indices(answer, name) for answer, name in [(pair.answer, "answer"), (pair.distractor, "distractor")])
    labels = [str(i) for i in range(1 if clean.ndim == 1 else len(clean))]
    texts = (", ".join(map(str, answers)), ", ".join(map(str, distractors)))
    return TokenPair(clean, corrupted, labels, labels, answers, distractors, *texts)


def _indices(answer: Answer | None, name: str) -> tuple[int, ...]:
    several = [] if answer is None else [answer] if isinstance(answer, str | int) else list(answer)
    if any(isinstance(item, str) for item in several):
        raise PromptError(f"The {name} {answer!r} is a text, and this network has no tokens.", "Give the index of an output.")
    return tuple(int(item) for item in several)


def _check_lengths(model: Model, clean: list[int], corrupted: list[int]) -> None:
    if clean == corrupted:
        raise PromptError(
            "The clean and the corrupted prompt are the same, so there is nothing to patch.",
            "Change the word that should change the answer.",
        )
    if len(clean) != len(corrupted):
        shown = "\n".join(
            f"  {name}: {' | '.join(model.token_text(t) for t in tokens)}" for name, tokens in [("clean", clean), ("corrupted", corrupted)]
        )
        raise PromptError(
            f"The clean prompt has {len(clean)} tokens and the corrupted one {len(corrupted)}, so positions do not correspond:\n{shown}\n",
            "Choose words of equally many tokens.",
        )


def _pieces(model: Model, answer: Answer | None) -> tuple[int, ...]:
    """The tokens of an answer that is fed in: a text of any length, or token ids."""
    if isinstance(answer, str) and answer:
        return tuple(model.encode(answer, special=False))
    if isinstance(answer, int) or (isinstance(answer, Sequence) and answer and all(isinstance(token, int) for token in answer)):
        return _answers(model, answer, "answer")
    raise PromptError(
        f"The metric answer_log_prob needs an answer, and was given {answer!r}.", "Give answer= to PromptPair: a text or token ids."
    )


def _answers(model: Model, answer: Answer | None, name: str) -> tuple[int, ...]:
    if answer is None:
        return ()
    several = [answer] if isinstance(answer, str | int) else list(answer)
    return tuple(_one_token(model, item, name) for item in several)


def _one_token(model: Model, answer: str | int, name: str) -> int:
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
    spaced = " " + answer.strip()
    works = spaced != answer and answer.strip() and len(model.encode(spaced, special=False)) == 1
    hint = f"With a leading space it is one: {spaced!r}." if works else "Choose a word that is one token, or give a token id."
    raise PromptError(f"The {name} {answer!r} is {len(pieces)} tokens for this tokenizer ({shown}), and it has to be one.", hint)


def _join_texts(model: Model, tokens: tuple[int, ...]) -> str:
    return ", ".join(model.token_text(token) for token in tokens)
