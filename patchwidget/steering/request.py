"""What a text is asked for with, checked before the model runs: lengths, sampling, and the options of transformers' `generate`."""

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from inspect import signature
from numbers import Integral, Real
from typing import Any

from transformers import GenerationConfig, LogitsProcessorList

from patchwidget.engine.generation.generate import Request, check_generates
from patchwidget.errors import PatchError, PromptError
from patchwidget.models.wrapped import WrappedModel

from .finite import FiniteOnly
from .steer import Steer, bind


def make_request(
    model: WrappedModel,
    prompts: list[list[int]],
    steers: Sequence[Steer],
    *,
    max_new_tokens: int = 40,
    temperature: float | None = None,
    seed: int | None = None,
    **options: Any,
) -> Request:
    """The options of a generation, as the engine and transformers take them.

    Raises:
        ModelError: the model does not continue texts.
        PatchError: an option is not known, or has a value that can't be.
        PromptError: the prompt and the new tokens are more than the model takes, or there is no tokenizer to look for stop strings.
    """
    _check_numbers(max_new_tokens, temperature, seed)
    _check_options(model, options)
    longest = max(map(len, prompts))
    if model.context_length is not None and longest + max_new_tokens > model.context_length:
        raise PromptError(
            f"A prompt of {longest} tokens and {max_new_tokens} new ones are more than {model.name} takes, {model.context_length}.",
            "Shorten the prompt, or lower max_new_tokens.",
        )
    sampling: dict[str, Any] = {"do_sample": bool(temperature)} | ({"temperature": float(temperature)} if temperature else {})
    chosen = {"max_new_tokens": int(max_new_tokens), **sampling, **options}
    processors = options.get("logits_processor") or []
    chosen["logits_processor"] = LogitsProcessorList([*processors, FiniteOnly(model, steered=bool(steers))])
    return Request(prompts, bind(model, steers, [len(tokens) for tokens in prompts]), None if seed is None else int(seed), chosen)


def _check_numbers(max_new_tokens: object, temperature: object, seed: object) -> None:
    if not isinstance(max_new_tokens, Integral) or max_new_tokens < 1:
        raise PatchError(f"max_new_tokens={max_new_tokens!r} is not possible.", "Give a whole number from 1 on.")
    if temperature is not None and not (isinstance(temperature, Real) and 0 <= float(temperature) < math.inf):
        raise PatchError(
            f"temperature={temperature!r} is not possible.", "Give a number above 0, or leave it out for the likeliest tokens."
        )
    if seed is not None and not isinstance(seed, Integral):
        raise PatchError(f"seed={seed!r} is no whole number.", "Give one, such as 0, or leave it out.")


def _check_options(model: WrappedModel, options: Mapping[str, Any]) -> None:
    check_generates(model)
    hf: Any = model.hf
    calls = [hf.generate, hf.prepare_inputs_for_generation, hf.forward]
    known = {*vars(GenerationConfig()), *(name for call in calls for name in signature(call).parameters)} - {"args", "kwargs"}
    for name in options:
        if name not in known:
            alike = get_close_matches(name, known)
            hint = f"Did you mean {' or '.join(alike)}?" if alike else "The options are those of transformers' generate."
            raise PatchError(f"There is no option {name!r}.", hint)
    if options.get("stop_strings") and model.tokenizer is None:
        raise PromptError("There is no tokenizer to look for stop_strings with.", "Wrap the model with one: pw.wrap(hf, tokenizer).")
