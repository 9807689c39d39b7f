"""`pw.Model`: a wrapped network that also writes text, gives logits and climbs strengths, steered or not."""

from __future__ import annotations  # help() then shows `Steers`, and not all that it may be

from collections.abc import Iterable, Sequence
from typing import Any, overload

from torch import Tensor

from .models.wrapped import WrappedModel
from .prompts.answers import Answer
from .public import public
from .runs.pair_runs import PairRuns
from .steering import generation
from .steering.generation import Generation, TextStream
from .steering.ladder import Ladder, make_ladder
from .steering.prompts import Prompt
from .steering.steer import Steers


@public
class Model(WrappedModel):
    """A decoder and its tokenizer. Made by `pw.load` or `pw.wrap`.

    Attributes:
        hf: the Hugging Face module, as it was given.
        tokenizer: its tokenizer, or None where prompts are given as token ids.
        name: the model's name, for titles and provenance.
        code: the Python expression that gives it.
    """

    @overload
    def generate(
        self,
        prompt: Prompt | Sequence[Prompt],
        steer: Steers = None,
        *,
        num_return_sequences: int,
        max_new_tokens: int = 40,
        temperature: float | None = None,
        seed: int | None = None,
        chat: bool = False,
        **options: Any,
    ) -> Generation | list[Generation]: ...
    @overload
    def generate(
        self,
        prompt: Prompt,
        steer: Steers = None,
        *,
        max_new_tokens: int = 40,
        temperature: float | None = None,
        seed: int | None = None,
        chat: bool = False,
        **options: Any,
    ) -> Generation: ...
    @overload
    def generate(
        self,
        prompt: Sequence[Prompt],
        steer: Steers = None,
        *,
        max_new_tokens: int = 40,
        temperature: float | None = None,
        seed: int | None = None,
        chat: bool = False,
        **options: Any,
    ) -> list[Generation]: ...
    def generate(
        self,
        prompt: Prompt | Sequence[Prompt],
        steer: Steers = None,
        *,
        max_new_tokens: int = 40,
        temperature: float | None = None,
        seed: int | None = None,
        chat: bool = False,
        **options: Any,
    ) -> Generation | list[Generation]:
        """Continue a prompt by transformers' own `generate`, steered or not.

        Args:
            prompt: a text, token ids, or a conversation (list of {"role", "content"}); or a list of these.
            steer: a `pw.Steer`, a `pw.SteeringVector`, or a list of these; nothing is steered without.
            max_new_tokens: at most so many.
            temperature: of sampling; the likeliest token each time if not given, or 0.
            seed: the same seed gives the same text; torch's own random numbers, as they stand, if not given.
            chat: the text is what the user says, and goes through the chat template.
            **options: for transformers' `generate`: top_p, top_k, stop_strings, num_beams, num_return_sequences, use_cache, streamer,
                stopping_criteria...

        Returns:
            A Generation: `str()` is the text; `.tokens, .logprobs, .kl, .perplexity`. A list of them for a list of prompts, or where several
            sequences are asked for: those of the first prompt, then those of the second.

        Raises:
            PromptError: a prompt is empty or too long, or there is no chat template.
            PatchError, SiteError: the vector does not fit this model, or an option is not known or can't have this value.
            ModelError: the model does not continue texts, or is in training mode; or its logits are not finite at this strength.

        Warns where a vector was made on other weights than this model's.
        """
        options = {"max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed, **options}
        return generation.generate(self, prompt, steer, chat=chat, **options)

    def stream(
        self,
        prompt: Prompt,
        steer: Steers = None,
        *,
        max_new_tokens: int = 40,
        temperature: float | None = None,
        seed: int | None = None,
        chat: bool = False,
        **options: Any,
    ) -> TextStream:
        """Continue one prompt token by token, steered or not.

        Args:
            prompt: a text, token ids, or a conversation (list of {"role", "content"}).
            steer: a `pw.Steer`, a `pw.SteeringVector`, or a list of these; nothing is steered without.
            max_new_tokens: at most so many.
            temperature: of sampling; the likeliest token each time if not given, or 0.
            seed: the same seed gives the same text; torch's own random numbers, as they stand, if not given.
            chat: the text is what the user says, and goes through the chat template.
            **options: for transformers' `generate`: top_p, top_k, stop_strings, stopping_criteria...

        Returns:
            A TextStream: iterate it for pieces of text, `.stop()` it; `.result` is the Generation so far.

        Raises:
            PromptError: a list of prompts, one that is empty or too long, or there is no chat template.
            PatchError, SiteError: the vector does not fit this model, or an option is not known or can't have this value.
            ModelError: the model does not continue texts. Where the next piece would have come: it is in training mode, or its logits are not
                finite at this strength.

        Warns where a vector was made on other weights than this model's.
        """
        options = {"max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed, **options}
        return generation.stream(self, prompt, steer, chat=chat, **options)

    @overload
    def logits(self, prompt: Prompt, steer: Steers = None, *, chat: bool = False) -> Tensor: ...
    @overload
    def logits(self, prompt: Sequence[Prompt], steer: Steers = None, *, chat: bool = False) -> list[Tensor]: ...
    def logits(self, prompt: Prompt | Sequence[Prompt], steer: Steers = None, *, chat: bool = False) -> Tensor | list[Tensor]:
        """The logits of one forward, steered or not.

        Args:
            prompt: a text, token ids, or a conversation (list of {"role", "content"}); or a list of these.
            steer: a `pw.Steer`, a `pw.SteeringVector`, or a list of these; nothing is steered without.
            chat: the text is what the user says, and goes through the chat template.

        Returns:
            Float32 [position, vocabulary]; a list of them for a list of prompts.

        Raises:
            PromptError: a prompt is empty or too long, or there is no chat template.
            PatchError, SiteError: the vector does not fit this model.
            ModelError: the model is in training mode, or its logits are not finite at this strength.

        Warns where a vector was made on other weights than this model's.
        """
        return generation.logits(self, prompt, steer, chat=chat)

    def ladder(
        self,
        prompt: Prompt,
        steer: Steers,
        strengths: Iterable[float],
        *,
        tokens: Answer | None = None,
        k: int = 10,
        vary: int = 0,
        chat: bool = False,
        executor: str = "auto",
        runs: PairRuns | None = None,
    ) -> Ladder:
        """What comes next after a prompt at each of many strengths, computed in one packed pass where this model allows it.

        Args:
            prompt: a text, token ids, or a conversation (list of {"role", "content"}).
            steer: a `pw.Steer`, a `pw.SteeringVector`, or a list of these.
            strengths: finite numbers. They take the place of the steer's own.
            tokens: which tokens' probabilities to follow: a text of one token, several, or ids; or a number, for all that are among so many
                likeliest at any strength or without steering. Those that are the likeliest at any strength if not given, eight at most.
            k: how many likeliest tokens to keep at each strength.
            vary: which of several steers the strengths are for; the others keep theirs.
            chat: the text is what the user says, and goes through the chat template.
            executor: "auto", "packed" or "hooked" (one batched forward of each strength); "packed" insists, and `ok` of the result says
                whether its checks passed.
            runs: `info["runs"]` of an earlier ladder of the same prompt, so that it need not be recorded again if the model is the same.

        Returns:
            A Ladder: `.probabilities` (strength, token), `.kl` [strength], `.top`; `.plot()`, `.to_frame()`; `.checks`.

        Raises:
            PromptError: several prompts, one that is empty or too long, or a token that is not one.
            PatchError, SiteError: no strengths, one that is not finite, nothing to steer, or a vector that does not fit.
            ModelError: the model is in training mode, executor="packed" can't run it, or its logits are not finite at a strength.

        Warns where a check fails, or a vector was made on other weights than this model's.
        """
        return make_ladder(self, prompt, steer, strengths, tokens=tokens, k=k, vary=vary, chat=chat, executor=executor, runs=runs)
