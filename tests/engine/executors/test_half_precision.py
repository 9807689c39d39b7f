"""Numbers in half precision: good to what their noise floor says, and refused when they overflow."""

import numpy as np
import pytest
import torch

import patchwidget as pw
from tests.zoo import telling_pair, tiny_module


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_noise_floor_on_the_default_model(ioi, dtype):
    model = pw.load(dtype=dtype)
    half = pw.Experiment(model, ioi.prompts[0])
    options = {"layers": [0, 15, 29], "positions": [[9], [11], [13]], "progress": False}
    exact = ioi.sweep("resid_pre", **options)
    packed, hooked = (half.sweep("resid_pre", executor=executor, **options) for executor in ("packed", "hooked"))
    for result in (packed, hooked):
        assert result.ok, result.checks
        assert result.info["dtype"] == dtype
        assert result.values.dtype == np.float32
        assert 100 * exact.noise < result.noise < 0.05 * abs(exact.clean - exact.corrupted)
        assert abs(result.values - exact.values).max() < result.noise
        assert abs(result.recovery - exact.recovery).max() < 2 * result.noise_floor
    assert abs(packed.values - hooked.values).max() < packed.noise


def test_the_metric_is_computed_in_float32():
    seen = []

    def metric(logits):
        seen.append(logits.dtype)
        return logits[:, 5]

    model = pw.wrap(tiny_module("llama").bfloat16())
    pw.Experiment(model, pw.PromptPair([1, 2, 3], [1, 4, 3]), metric).sweep("resid_pre", progress=False)
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize("executor", ["packed", "hooked"])
def test_overflow_in_a_run(executor):
    model = pw.wrap(tiny_module("gpt2").half())
    with torch.no_grad():
        model.hf.transformer.h[2].mlp.c_proj.weight.fill_(6e4)
    with pytest.raises(pw.ModelError, match=r"run's logits are not finite.*a number grew too large for torch.float16"):
        pw.Experiment(model, pw.PromptPair([1, 2, 3], [1, 4, 3], 5, 7)).sweep("resid_pre", executor=executor)


def test_a_patch_that_overflows_is_not_measurable_and_no_zero():
    model = pw.wrap(tiny_module("gpt2").half())
    experiment = pw.Experiment(model, telling_pair(model))
    result = experiment.sweep("attn_out", layers=[1], positions=[[5], [11]], source=1e6, operator="add", progress=False)
    assert np.isnan(result.recovery).all()
    assert (result.state == 3).all()
    assert result.gaps == "2 cells have no value: there logit_diff is not a number, or an activation grew too large for torch.float16."
    assert result.gaps in repr(result)


@pytest.mark.parametrize("executor", ["packed", "hooked"])
def test_a_metric_that_is_not_a_number_in_some_cells(executor):
    model = pw.wrap(tiny_module("llama"))
    pair = telling_pair(model)
    middle = float(pw.Experiment(model, pair, "logit").sweep("resid_pre", layers=[3], progress=False).values.mean())

    def root(logits):
        return (logits[:, pair.answer] - middle).sqrt()

    experiment = pw.Experiment(model, pair, [root, "logit"])
    result = experiment.sweep("resid_pre", executor=executor, progress=False)
    lost = np.isnan(result.values.to_numpy())
    assert 0 < lost.sum() < lost.size
    assert ((result.state == 3) == lost).all()
    assert "cells have no value: there root is not a number" in result.gaps
    assert (result["logit"].state == 1).all()
    assert result["logit"].gaps is None
