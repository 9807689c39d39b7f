"""A model as it is loaded, wrapped, and refused to be copied."""

import copy
import pickle

import pytest
import torch

import patchwidget as pw
from tests.zoo import tiny_experiment, tiny_module


def test_what_can_not_be_copied_says_what_to_do():
    experiment = tiny_experiment()
    for take in (pickle.dumps, copy.deepcopy):
        with pytest.raises(pw.ModelError, match=r"A model can't be copied or pickled.*pw.wrap\(hf, tokenizer\)"):
            take(experiment.model)
        with pytest.raises(pw.PatchError, match=r"An experiment can't be copied or pickled.*result.save\(path\)"):
            take(experiment)
    result = experiment.sweep("z", layers=[0], positions="all")
    assert pickle.loads(pickle.dumps(result)).values.equals(result.values)


def test_generations_can_be_taken_along():
    model = tiny_experiment().model
    text = model.generate([3, 4, 5], pw.Steer({1: torch.ones(32)}, 2.0), max_new_tokens=4)
    for taken in (pickle.loads(pickle.dumps(text)), copy.deepcopy(text)):
        assert str(taken) == str(text)
        assert taken.kl.tolist() == text.kl.tolist()
        assert taken.perplexity == text.perplexity
        assert taken.tokens == text.tokens


def test_options_that_do_not_exist():
    with pytest.raises(pw.ModelError, match="device 'moon' can't be used here"):
        pw.load(device="moon")
    with pytest.raises(pw.ModelError, match=r"SmolLM2.*unexpected keyword argument 'no_such_option'"):
        pw.load(no_such_option=1)
    with pytest.raises(pw.ModelError, match="A tokenizer was expected, and this is a str: 'gpt2'"):
        pw.wrap(tiny_module("llama"), "gpt2")
