"""Loading and wrapping: what comes of it, and what is refused."""

import pytest

import patchwidget as pw
from tests.zoo import tiny_module


def test_wrapping_gives_the_public_model_and_the_expression_for_it():
    hf = tiny_module("llama")
    model = pw.wrap(hf, name="tiny")
    assert type(model) is pw.Model
    assert model.hf is hf
    assert model.code == "pw.wrap(hf, tokenizer)"
    assert repr(model) == "Model('tiny', 4 layers, 4 heads, 2 key/value heads, d_model 32, torch.float32, cpu)"


def test_the_default_model_is_the_public_one_and_says_how_it_was_made(default_model):
    assert type(default_model) is pw.Model
    assert default_model.code == "pw.load()"


def test_options_that_do_not_exist():
    with pytest.raises(pw.ModelError, match="device 'moon' can't be used here"):
        pw.load(device="moon")
    with pytest.raises(pw.ModelError, match=r"SmolLM2.*unexpected keyword argument 'no_such_option'"):
        pw.load(no_such_option=1)
    with pytest.raises(pw.ModelError, match="A tokenizer was expected, and this is a str: 'gpt2'"):
        pw.wrap(tiny_module("llama"), "gpt2")
