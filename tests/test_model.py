"""The public model says what its methods give, and offers their options by name. What they compute is tested in tests/steering."""

import inspect
import typing

import pytest
import torch
from torch import Tensor

import patchwidget as pw
from patchwidget.models.wrapped import WrappedModel
from patchwidget.steering.generation import TextStream
from patchwidget.steering.ladder import Ladder, make_ladder
from patchwidget.steering.request import make_request
from tests.zoo import tiny_model


@pytest.mark.parametrize(
    ("method", "given"),
    [("generate", pw.Generation | list[pw.Generation]), ("stream", TextStream), ("logits", Tensor | list[Tensor]), ("ladder", Ladder)],
)
def test_what_a_method_gives_has_a_type(method, given):
    assert typing.get_type_hints(getattr(pw.Model, method))["return"] == given


@pytest.mark.parametrize(("method", "behind"), [("generate", make_request), ("stream", make_request), ("ladder", make_ladder)])
def test_options_and_their_defaults_are_those_behind(method, behind):
    def options(function):
        parameters = inspect.signature(function).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "chat"}

    assert options(getattr(pw.Model, method)) == options(behind)


def test_several_prompts_or_sequences_give_a_list():
    model, prompts = tiny_model("llama"), [[9, 8, 7], [1, 2]]
    options = {"max_new_tokens": 2, "eos_token_id": None}
    one, several = model.generate(prompts[0], **options), model.generate(prompts, **options)
    assert [text.tokens for text in several] == [one.tokens, model.generate(prompts[1], **options).tokens]
    sampled = model.generate(prompts, num_return_sequences=2, temperature=1.0, seed=0, **options)
    assert [text.prompt_tokens for text in sampled] == [prompts[0], prompts[0], prompts[1], prompts[1]]
    for logits, prompt in zip(model.logits(prompts), prompts, strict=True):
        torch.testing.assert_close(logits, model.logits(prompt))


def test_the_engine_needs_less_than_the_public_model():
    """An experiment takes a `WrappedModel`, and refuses the network inside."""
    hf = tiny_model("llama").hf
    wrapped = WrappedModel(hf, name="tiny")
    result = pw.Experiment(wrapped, pw.PromptPair([5, 6, 7], [5, 9, 7], answer=1, distractor=2)).sweep("z", positions="all", layers=[0])
    assert result.ok
    with pytest.raises(pw.ModelError, match="A patchwidget model was expected"):
        pw.Experiment(hf, pw.PromptPair([5, 6, 7], [5, 9, 7], answer=1, distractor=2))
