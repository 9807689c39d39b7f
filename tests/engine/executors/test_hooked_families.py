"""Models whose attention can't be intercepted, or that see later positions: whole forwards, and no pretending."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, BertConfig

import patchwidget as pw
from tests.zoo import CLEAN, CORRUPTED, telling_pair, tiny_module

FAMILIES = {
    "gptj": {"rotary_dim": 4},
    "bloom": {},
    "falcon": {},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "num_layers": 4, "num_heads": 4, "window_size": 4},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 4},
    "mamba": {},
}


def family_experiment(name: str) -> pw.Experiment:
    model = pw.wrap(tiny_module(name, **FAMILIES[name]), name=name)
    return pw.Experiment(model, telling_pair(model))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_residual_stream(family):
    experiment = family_experiment(family)
    result = experiment.sweep("resid_pre")
    assert result.info["executor"] == "hooked"
    assert result.ok, result.checks
    np.testing.assert_allclose(experiment.sweep("resid_pre", positions="all").recovery, 1, atol=1e-4)
    assert float(result.recovery.sel(layer=0, pos=4)) != 0
    with pytest.raises(pw.ModelError, match="packed executor can't run"):
        experiment.sweep("resid_pre", executor="packed")
    with pytest.raises(pw.SiteError, match=r"q of \w+ can't be reached"):
        experiment.sweep("q")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_sublayers_output_is_what_is_added_or_it_is_not_offered(family):
    """Where both are offered, replacing both outputs of the last block at the last position moves its output by their differences."""
    experiment = family_experiment(family)
    blocks, offered = experiment.model.anatomy.blocks, []
    for site, module in [("attn_out", blocks[3].attn_out), ("mlp_out", blocks[3].mlp_out)]:
        if module is None:
            with pytest.raises(pw.SiteError, match="has no"):
                experiment.sweep(site)
        else:
            offered.append(site)
            assert experiment.sweep(site).ok
    if not offered:
        return
    # adding a vector to what is added is adding it to the stream: in the last block, after which no attention follows
    vector = torch.linspace(-1, 1, 32)
    last = offered[-1]
    if last == "mlp_out" or blocks[3].parallel or family == "mamba":
        added = experiment.patch(pw.Patch(last, 3, pos=11, source=vector, operator="add"))
        stream = experiment.patch(pw.Patch("resid_post", 3, pos=11, source=vector, operator="add"))
        assert float(added.values) == pytest.approx(float(stream.values), abs=1e-4)


def test_an_encoder_sees_later_positions_so_that_earlier_ones_change_too():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=99, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64, max_position_embeddings=64
    )
    hf = AutoModelForMaskedLM.from_config(config).eval()
    for weight in hf.parameters():
        if weight.ndim > 1:
            weight.data.normal_(0, 0.3)
    model = pw.wrap(hf, name="bert")
    assert not model.causal
    experiment = pw.Experiment(model, telling_pair(model, CLEAN, CORRUPTED), answer_pos=2)  # a masked word before the difference
    result = experiment.sweep("resid_pre")
    assert result.info["executor"] == "hooked"
    assert result.ok, result.checks
    assert abs(float(result.recovery.sel(layer=2, pos=2))) > 0.01  # before the first differing token, and yet it carries something
    np.testing.assert_allclose(experiment.sweep("resid_pre", positions="all").recovery, 1, atol=1e-4)
