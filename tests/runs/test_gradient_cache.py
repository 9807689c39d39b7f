"""Gradients are taken once, and kept within bounds."""

import torch

from patchwidget.experiments import attribution
from patchwidget.runs import gradient_cache
from tests.zoo import tiny_experiment


def test_gradients_of_a_site_are_taken_once(monkeypatch):
    exp = tiny_experiment("llama")
    first = exp.attribute("z", positions=[5])
    monkeypatch.setattr(attribution, "gradients_by_block", None)  # would fail
    assert exp.attribute("z", positions=[5]).values.equals(first.values)
    assert exp.attribute("z", positions="all").complete


def test_kept_gradients_take_a_bounded_amount_of_memory(monkeypatch):
    exp = tiny_experiment("llama")
    expected = exp.attribute("z").values
    other = tiny_experiment("llama")
    monkeypatch.setattr(gradient_cache, "BYTES_KEPT", 1)
    assert other.attribute("z").values.equals(expected)
    assert other.attribute("z").values.equals(expected)
    assert not other.runs.gradients._found


def test_one_pass_back_is_for_all_sites_and_positions():
    exp = tiny_experiment("llama")
    assert exp.baselines
    assert exp.runs.parity.ok
    passed = []

    def count(*_: object) -> None:
        passed.extend([1] * torch.is_grad_enabled())

    handles = [block.module.register_forward_hook(count) for block in exp.model.anatomy.blocks]
    exp.attribute("z")
    [handle.remove() for handle in handles]
    assert len(passed) == exp.model.n_layers
