"""Models in training mode, in inference mode, compiled, and several that share a configuration."""

import numpy as np
import pytest
import torch
from torch import nn

import patchwidget as pw
from tests.zoo import telling_pair, tiny_module


@pytest.mark.parametrize("name", ["", "model.layers.1.self_attn"])
def test_training_mode_is_refused_in_each_question(name):
    hf = tiny_module("llama")
    exp = pw.Experiment(model := pw.wrap(hf), telling_pair(model))
    exp.sweep("z")
    hf.get_submodule(name).train()
    for ask in (lambda: exp.sweep("z"), lambda: exp.attribute("z"), exp.search, lambda: exp.paths(pw.Node("q", 3, 0))):
        with pytest.raises(pw.ModelError, match=f"{name or 'The model'} is in training mode"):
            ask()


def test_a_bare_layer_in_training_mode_is_no_matter():
    hf = tiny_module("llama")
    hf.model.layers[1].mlp = nn.Sequential(nn.Linear(32, 32), nn.Identity())
    assert hf.model.layers[1].mlp.training
    exp = pw.Experiment(model := pw.wrap(hf), telling_pair(model))
    assert exp.sweep("z").ok


@pytest.mark.parametrize(
    "ask",
    [
        lambda exp: exp.attribute("z").values.to_numpy(),
        lambda exp: exp.attribute("q", "atp*").values.to_numpy(),
        lambda exp: exp.attribute("module:model.embed_tokens", positions="all").values.to_numpy(),
        lambda exp: exp.attribute("mlp_out", "ig", steps=2).values.to_numpy(),
        lambda exp: exp.sweep("z", order="attribution").values.to_numpy(),
        lambda exp: exp.search(40).cells["effect"].to_numpy(float),
        lambda exp: exp.optimal_direction(1, 7, steps=2)[1].numpy(),
    ],
)
def test_inference_mode_around_a_question_changes_nothing(ask):
    model = pw.wrap(tiny_module("llama"))
    pair = telling_pair(model)
    expected = ask(pw.Experiment(model, pair))
    with torch.inference_mode():
        np.testing.assert_allclose(ask(pw.Experiment(model, pair)), expected, atol=1e-6)


def test_weights_made_in_inference_mode_have_no_gradients_and_say_so():
    with torch.inference_mode():
        hf = tiny_module("llama")
    exp = pw.Experiment(model := pw.wrap(hf), telling_pair(model))
    assert exp.sweep("z").ok
    with pytest.raises(pw.ModelError, match="inference mode"):
        exp.attribute("z")


@pytest.mark.parametrize("compiled", ["whole", "forward", "block", "each", "parts"])
def test_a_compiled_network_is_run_as_it_is_written(compiled):
    hf = tiny_module("llama")
    pair = telling_pair(pw.wrap(hf))
    expected = pw.Experiment(pw.wrap(hf), pair).sweep("z").values
    if compiled == "whole":
        hf = torch.compile(hf, backend="eager")
    elif compiled == "forward":
        hf.forward = torch.compile(hf.forward, backend="eager")
    elif compiled == "block":
        hf.model.layers[1].compile(backend="eager")
    elif compiled == "each":
        for i, layer in enumerate(hf.model.layers):
            hf.model.layers[i] = torch.compile(layer, backend="eager")
    else:
        hf.model.norm, hf.lm_head = (torch.compile(module, backend="eager") for module in (hf.model.norm, hf.lm_head))
        for layer in hf.model.layers:
            layer.self_attn, layer.mlp = (torch.compile(module, backend="eager") for module in (layer.self_attn, layer.mlp))
    for executor in ("packed", "hooked"):
        result = pw.Experiment(pw.wrap(hf), pair).sweep("z", executor=executor)
        assert result.ok
        np.testing.assert_allclose(result.values, expected, atol=1e-5)


def test_models_that_share_a_configuration_in_two_threads():
    from concurrent.futures import ThreadPoolExecutor

    one, other = tiny_module("llama"), tiny_module("llama", seed=1)
    for module in other.modules():
        if hasattr(module, "config"):
            module.config = one.config
    models = [pw.wrap(one), pw.wrap(other)]
    experiments = [pw.Experiment(model, telling_pair(model)) for model in models]
    setting = one.config._attn_implementation
    alone = [exp.sweep("z").values.to_numpy() for exp in experiments]
    with ThreadPoolExecutor(2) as threads:
        for _ in range(6):
            found = list(threads.map(lambda exp: exp.sweep("z"), experiments))
            for result, expected in zip(found, alone, strict=True):
                assert result.ok
                np.testing.assert_allclose(result.values, expected, atol=1e-5)
    assert one.config._attn_implementation == setting


def test_contexts_that_switch_one_configuration_end_in_any_order():
    from patchwidget.models.attention import attention_settings, intercepted

    hf = tiny_module("llama")
    setting = hf.config._attn_implementation
    first, second = intercepted(hf, print), intercepted(hf, print)
    from contextvars import copy_context

    contexts = [copy_context(), copy_context()]
    contexts[0].run(first.__enter__)
    contexts[1].run(second.__enter__)
    assert hf.config._attn_implementation == f"patchwidget_{setting}"
    assert set(attention_settings(hf)) == {setting}
    contexts[0].run(first.__exit__, None, None, None)
    assert hf.config._attn_implementation == f"patchwidget_{setting}"
    contexts[1].run(second.__exit__, None, None, None)
    assert hf.config._attn_implementation == setting
