"""Queries and keys are patched where the attention takes them, after the rotary embedding; before it would be the same."""

import numpy as np
import pytest
import torch

import patchwidget as pw
from tests.zoo import telling_pair, tiny_model


@pytest.mark.parametrize(("site", "projection", "heads"), [("q", "q_proj", 4), ("k", "k_proj", 2)])
def test_before_and_after_the_rotary_embedding(site, projection, heads):
    model = tiny_model("llama")
    experiment = pw.Experiment(model, telling_pair(model))
    module = model.hf.model.layers[1].self_attn.get_submodule(projection)
    kept = []
    handle = module.register_forward_hook(lambda module, args, output: kept.append(output))
    with torch.no_grad():
        model.hf(torch.tensor([experiment.pair.clean]))
    handle.remove()

    def before_rotary(position, head):
        def put(module, args, output):
            output = output.clone()
            own = slice(head * model.d_head, (head + 1) * model.d_head)
            output[:, position, own] = kept[0][:, position, own]
            return output

        handle = module.register_forward_hook(put)
        with torch.no_grad():
            logits = model.hf(torch.tensor([experiment.pair.corrupted])).logits[0, -1]
        handle.remove()
        return float(logits[list(experiment.pair.answers)] - logits[list(experiment.pair.distractors)])

    after = experiment.sweep(site, layers=[1], progress=False).values.sel(layer=1).to_numpy()
    before = [[before_rotary(position, head) for head in range(heads)] for position in range(experiment.pair.length)]
    np.testing.assert_allclose(after, before, atol=1e-4)
    assert np.ptp(after) > 1e-2
