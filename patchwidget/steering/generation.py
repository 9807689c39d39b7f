"""Generated text with what it can be judged by: the probabilities it was chosen with, and how far steering moved them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from patchwidget.engine.generation.generate import Stream
from patchwidget.engine.generation.generate import generate as run_generate
from patchwidget.engine.generation.steering import steered
from patchwidget.errors import PromptError
from patchwidget.models.wrapped import WrappedModel
from patchwidget.public import public

from .finite import check_finite
from .prompts import Prompt, read_prompts
from .request import make_request
from .steer import Steer, Steers, bind, steers_of


@public
@dataclass(frozen=True, eq=False)
class Generation:
    """What followed a prompt. `str()` of it is the text.

    The numbers are computed when first asked for, by one forward with the steering and one without, over prompt and text together; they are
    those of the model's own distributions, at temperature 1 and before any top-k or top-p.

    Attributes:
        prompt_tokens: the prompt's token ids.
        tokens: the generated ones, with the end-of-text token where there was one.
        text: the generated tokens as text, without special tokens.
        steers: what was steered.

    A copy, or one that was pickled, has all of these and the numbers, and no `model`.
    """

    model: WrappedModel
    prompt_tokens: list[int]
    tokens: list[int]
    steers: tuple[Steer, ...] = ()

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Generation({self.text!r}, {len(self.tokens)} tokens, {len(self.steers)} steers)"

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy: the text and the numbers without the model, which can't be taken along."""
        return {**vars(self), "text": self.text, "_scores": self._scores, "model": None}

    @cached_property
    def text(self) -> str:
        """The generated tokens as text, without special tokens."""
        return text_after(self.model, self.prompt_tokens, self.tokens)

    @property
    def logprobs(self) -> np.ndarray:
        """Log-probability of each token under the steered model, in nats; float32 [tokens]."""
        return self._scores["logprobs"]

    @property
    def base_logprobs(self) -> np.ndarray:
        """Log-probability of each token under the unsteered model, in nats; float32 [tokens]."""
        return self._scores["base_logprobs"]

    @property
    def kl(self) -> np.ndarray:
        """At each token, how far steering moved the next-token distribution: D(unsteered || steered) in nats; float32 [tokens]."""
        return self._scores["kl"]

    @property
    def perplexity(self) -> float:
        """Of the text under the unsteered model, given the prompt: exp of the mean negative log-probability. NaN without tokens."""
        return math.exp(-float(self.base_logprobs.mean())) if self.tokens else math.nan

    @cached_property
    def _scores(self) -> dict[str, np.ndarray]:
        if not self.tokens:
            return dict.fromkeys(["logprobs", "base_logprobs", "kl"], np.zeros(0, np.float32))
        sequence = [*self.prompt_tokens, *self.tokens[:-1]]
        choices = tuple(range(len(self.prompt_tokens) - 1, len(sequence)))
        base = _logits(self.model, sequence, choices, (), 0).log_softmax(-1)
        ours = _logits(self.model, sequence, choices, self.steers, len(self.prompt_tokens)).log_softmax(-1) if self.steers else base
        chosen = torch.tensor(self.tokens, device=base.device)[:, None]
        scores = {"logprobs": ours.gather(1, chosen)[:, 0], "base_logprobs": base.gather(1, chosen)[:, 0], "kl": kl_divergence(base, ours)}
        return {name: score.cpu().numpy() for name, score in scores.items()}


def generate(
    model: WrappedModel, prompt: Prompt | Sequence[Prompt], steer: Steers = None, *, chat: bool = False, **options: Any
) -> Generation | list[Generation]:
    """The text that follows a prompt, at once; a list for a list of prompts, or where several sequences are asked for.

    Args:
        chat: a text is what the user says, and goes through the chat template.
        **options: max_new_tokens, temperature, seed, and those of transformers' `generate`.

    Raises:
        PromptError: a prompt is empty or too long, or there is no chat template.
        PatchError, SiteError: a vector does not fit this model, or an option is not known or can't have this value.
        ModelError: the model does not continue texts or is in training mode, or its logits are not finite at this strength.
    """
    prompts, several = read_prompts(model, prompt, chat=chat)
    steers = steers_of(steer)
    rows = run_generate(model, make_request(model, prompts, steers, **options))
    copies = len(rows) // len(prompts)
    made = [Generation(model, prompts[i // copies], row, tuple(steers)) for i, row in enumerate(rows)]
    return made if several or copies > 1 else made[0]


class TextStream:
    """A text as it comes, piece by piece. Iterate it; `stop()` ends it at the next token, and so does leaving its `with` block.

    A piece is what one more token adds to the text: it may be empty where a character takes several tokens.
    """

    def __init__(self, model: WrappedModel, prompt: list[int], steers: Sequence[Steer], stream: Stream) -> None:
        self._model, self._prompt, self._steers, self._stream = model, prompt, tuple(steers), stream

    def __iter__(self) -> Iterator[str]:
        shown = ""
        for _ in self._stream:
            text = self.result.text
            whole = text.removesuffix("\N{REPLACEMENT CHARACTER}")  # the rest of the character comes with the next token
            yield whole[len(shown) :]
            shown = whole
        if len(self.result.text) > len(shown):
            yield self.result.text[len(shown) :]

    def __enter__(self) -> "TextStream":  # noqa: PYI034 - a runtime type checker knows Self only where it checks the whole class
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def result(self) -> Generation:
        """What has come so far."""
        return Generation(self._model, self._prompt, list(self._stream.tokens), self._steers)

    def stop(self) -> None:
        """End it at the next token and wait until the model is free of it. May be called from any thread."""
        self._stream.stop()


def stream(model: WrappedModel, prompt: Prompt, steer: Steers = None, *, chat: bool = False, **options: Any) -> TextStream:
    """The text that follows one prompt, token by token. Options and errors as in `generate`, and PromptError for a list of prompts.

    What the model itself refuses is raised where the next piece would have come.
    """
    prompts, several = read_prompts(model, prompt, chat=chat)
    if several:
        raise PromptError("A stream continues one prompt, and a list was given.", "Use generate for several, or one stream each.")
    steers = steers_of(steer)
    return TextStream(model, prompts[0], steers, Stream(model, make_request(model, prompts, steers, **options)))


def logits(model: WrappedModel, prompt: Prompt | Sequence[Prompt], steer: Steers = None, *, chat: bool = False) -> Tensor | list[Tensor]:
    """The logits of one forward: float32 [position, vocabulary]; a list for a list of prompts. Errors as in `generate`, of prompt and vector."""
    prompts, several = read_prompts(model, prompt, chat=chat)
    steers = steers_of(steer)
    found = [_logits(model, tokens, tuple(range(len(tokens))), steers, len(tokens)) for tokens in prompts]
    return found if several else found[0]


def kl_divergence(base: Tensor, other: Tensor) -> Tensor:
    """D(base || other) in nats, of log-probabilities [..., vocabulary]."""
    return torch.nn.functional.kl_div(other, base, log_target=True, reduction="none").sum(-1).clamp_min(0)


def text_after(model: WrappedModel, prompt: Sequence[int], tokens: Sequence[int]) -> str:
    """Tokens as text, without special tokens, as they read after the prompt: some tokenizers drop a leading space."""
    if model.tokenizer is None:
        return " ".join(map(str, tokens))
    before, whole = (model.tokenizer.decode(ids, skip_special_tokens=True) for ids in (list(prompt), [*prompt, *tokens]))
    return whole[len(before) :] if whole.startswith(before) else model.tokenizer.decode(list(tokens), skip_special_tokens=True)


@torch.no_grad()
def _logits(model: WrappedModel, tokens: list[int], positions: tuple[int, ...], steers: Sequence[Steer], prompt_length: int) -> Tensor:
    """One forward: float32 [positions, vocabulary]."""
    model.check_ready()
    steerings = bind(model, steers, [prompt_length]) if steers else []
    with model.lock, steered(model, steerings, [0]):
        found = model.logits_at(model.inputs(tokens), positions)[0]
    check_finite(model, found, steered=bool(steers))
    return found
