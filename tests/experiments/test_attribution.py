"""Attribution as people ask for it: exact where models are linear, the axes of the sweep, its repairs on what they were made for."""

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, BertConfig, GPT2Config

import patchwidget as pw
from patchwidget.experiments.results.data import ESTIMATE, NOT_MEASURABLE
from tests.zoo import CLEAN, CORRUPTED, PAIR, telling_pair, tiny_experiment, tiny_model, tiny_module


def linear_network() -> pw.Experiment:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 10), nn.Linear(10, 8), nn.Linear(8, 3)).eval()
    return pw.Experiment(pw.wrap(net), pw.PromptPair(torch.randn(5, 6), torch.randn(5, 6), answer=0, distractor=1))


def without_norms_and_mlps(hf: nn.Module) -> nn.Module:
    """A Llama that is its attention alone, read out linearly."""
    for layer in hf.model.layers:
        layer.mlp.down_proj.weight.data.zero_()
    hf.model.norm = nn.Identity()
    return hf


@pytest.mark.parametrize("method", ["atp", "ig"])
@pytest.mark.parametrize("site", ["module:0", "module:1", "module:1.input", "module:2"])
def test_attribution_is_exact_on_a_linear_network(method, site):
    experiment = linear_network()
    for where in ({}, {"positions": "all"}, {"neurons": [0, 1, [0, 2]]}):
        estimated, exact = experiment.attribute(site, method, **where), experiment.sweep(site, **where)
        assert np.abs(exact.values.to_numpy() - experiment.runs.value_of("corrupted")).max() > 0.01
        np.testing.assert_allclose(estimated.values, exact.values, atol=1e-5)


def test_attribution_is_exact_behind_the_last_nonlinear_part_of_a_transformer():
    """Values and patterns, where the attention's output goes linearly to the logits."""
    model = pw.wrap(without_norms_and_mlps(tiny_module("llama", num_hidden_layers=1)))
    experiment = pw.Experiment(model, telling_pair(model))
    for site, where in [
        ("z", {}),
        ("v", {}),
        ("v_per_head", {}),
        ("pattern", {}),
        ("pattern", {"positions": "entries"}),
        ("resid_post", {}),
    ]:
        estimated, exact = experiment.attribute(site, **where), experiment.sweep(site, **where)
        assert np.ptp(exact.values.to_numpy()) > 0.01
        np.testing.assert_allclose(estimated.values, exact.values, atol=1e-4, err_msg=site)


def test_the_qk_fix_repairs_saturated_attention():
    """Where softmax is saturated the gradient at queries and keys vanishes, and patching them does not."""
    hf = without_norms_and_mlps(tiny_module("llama", num_hidden_layers=1))
    attention = hf.model.layers[0].self_attn
    attention.q_proj.weight.data *= 60
    attention.v_proj.weight.data *= 10
    model = pw.wrap(hf)
    experiment = pw.Experiment(model, telling_pair(model, CLEAN, [token + 1 for token in CLEAN]))
    for site, where in [("q", {}), ("q", {"positions": "all"}), ("k", {}), ("k", {"positions": "all"}), ("k_per_head", {})]:
        exact = experiment.sweep(site, **where).effect.to_numpy()
        plain, fixed = (experiment.attribute(site, "atp*", qk_fix=fix, grad_drop=False, **where).effect.to_numpy() for fix in (False, True))
        assert np.abs(exact).max() > 0.1, site
        missed = np.abs(exact) > 0.5 * np.abs(exact).max()
        assert np.abs(plain[missed]).max() < 0.01 * np.abs(exact[missed]).min(), site
        np.testing.assert_allclose(fixed, exact, atol=1e-4 * np.abs(exact).max(), err_msg=site)
    # the method's own default has the fix
    assert experiment.attribute("q", "atp*").info["qk_fix"]


def cancelling_model() -> pw.Experiment:
    """Two blocks of MLPs on one number s, that the logits of tokens 0 and 1 read as s and -s.

    The first MLP writes s = 5 for token 1 and s = 0 for all others. The second takes s away again as long as it is small: it adds -s between
    -1 and 1, and -1 or 1 outside. So at s = 0 the direct and the indirect effect of s cancel out, and from s = 5 there remain 4.
    """
    sizes = {"vocab_size": 9, "n_positions": 8, "n_embd": 4, "n_layer": 2, "n_head": 1, "n_inner": 2, "activation_function": "relu"}
    hf = AutoModelForCausalLM.from_config(GPT2Config(**sizes, tie_word_embeddings=False, bos_token_id=0, eos_token_id=0)).eval()
    for weight in hf.parameters():
        weight.data.zero_()
    hf.transformer.ln_f = nn.Identity()
    for block in hf.transformer.h:
        block.ln_1, block.ln_2 = nn.Identity(), nn.Identity()
    first, second = (block.mlp for block in hf.transformer.h)
    hf.transformer.wte.weight.data[1, 0] = 1.0
    first.c_fc.weight.data[0, 0] = 1.0
    first.c_proj.weight.data[0, 1] = 5.0
    second.c_fc.weight.data[1], second.c_fc.bias.data[:] = 1.0, torch.tensor([1.0, -1.0])
    second.c_proj.weight.data[:, 1], second.c_proj.bias.data[1] = torch.tensor([-1.0, 1.0]), 1.0
    hf.lm_head.weight.data[0, 1], hf.lm_head.weight.data[1, 1] = 0.5, -0.5
    return pw.Experiment(pw.wrap(hf), pw.PromptPair([2, 3, 1], [2, 3, 4], answer=0, distractor=1))


def test_grad_drop_repairs_effects_that_cancel():
    experiment = cancelling_model()
    assert (experiment.baselines.clean, experiment.baselines.corrupted) == pytest.approx((4, 0), abs=1e-5)
    where = {"layers": [0], "positions": [2]}
    exact = experiment.sweep("mlp_out", **where).values.item()
    plain, dropped = (experiment.attribute("mlp_out", "atp*", grad_drop=drop, **where).values.item() for drop in (False, True))
    assert exact == pytest.approx(4, abs=1e-5)
    assert plain == pytest.approx(0, abs=1e-5)
    assert dropped == pytest.approx(5, abs=1e-5)  # the direct effect alone: with the second block dropped nothing cancels


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "falcon"])
def test_integrated_gradients_of_the_input_add_up_to_the_whole_gap(architecture):
    model = tiny_model(architecture)
    experiment = pw.Experiment(model, telling_pair(model))
    error = [abs(float(experiment.attribute("resid_pre", "ig", steps=n, layers=[0]).effect.sum()) - 1) for n in (2, 100)]
    assert error[1] < 0.01
    assert error[1] < error[0]


def test_integrated_gradients_of_an_encoder_add_up_at_its_token_embeddings():
    """Its head is no chain of modules, so it goes through one graph, from the embeddings on."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    model = pw.wrap(AutoModelForMaskedLM.from_config(BertConfig(**sizes, initializer_range=0.3)).eval())
    experiment = pw.Experiment(model, telling_pair(model))
    site = "module:bert.embeddings.word_embeddings"
    assert float(experiment.attribute(site, "ig", steps=100).effect.sum()) == pytest.approx(1, abs=0.01)
    assert experiment.attribute("z", "ig").complete


def test_integrated_gradients_of_a_network_without_blocks_add_up_too():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 3)).eval()
    experiment = pw.Experiment(pw.wrap(net), pw.PromptPair(torch.randn(6), torch.randn(6), answer=0, distractor=1))
    plain, finer = (
        experiment.attribute("module:0.input", **how, neurons=range(6), positions="all") for how in ({}, {"method": "ig", "steps": 60})
    )
    assert float(finer.effect.sum()) == pytest.approx(1, abs=1e-3)
    assert abs(float(plain.effect.sum()) - 1) > 0.01


WHERES = [
    ("resid_pre", {}),
    ("z", {"positions": "all"}),
    ("z", {"heads": [[0, 1], [3]], "layers": [0, 3]}),
    ("k", {"positions": [[4], [7, 8]]}),
    ("v_per_head", {"positions": [7, 9]}),
    ("pattern", {}),
    ("pattern", {"positions": "entries", "layers": [2]}),
    ("mlp_post", {"neurons": [0, 5, [7, 9]]}),
    ("mlp_out", {"window": 3}),
    ("attn_out", {"source": "zero"}),
    ("resid_mid", {"source": pw.Noise(0.1)}),
    ("resid_pre", {"source": torch.linspace(-1, 1, 32), "operator": "add", "positions": [[11]]}),
    ("module:model.layers.1.mlp", {"neurons": [0, 3]}),
    ("module:model.embed_tokens", {}),
]


@pytest.mark.parametrize(("site", "where"), WHERES)
@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_the_axes_of_the_sweep_and_the_slope_of_small_changes(site, where, direction):
    """Of a change as small as this, the estimate is nearly all; and every option of the sweep is understood."""
    model = tiny_model("llama")
    model.hf.model.embed_tokens.weight.data[[80, 24]] = model.hf.model.embed_tokens.weight.data[[8, 23]]
    model.hf.model.embed_tokens.weight.data[80, 0] += 3e-3
    pair = pw.PromptPair(CLEAN, CORRUPTED, answer=5, distractor=7)
    experiment = pw.Experiment(model, pair, direction=direction)
    if "source" in where and not isinstance(where["source"], str):
        where = {**where, "source": pw.Noise(1e-3) if isinstance(where["source"], pw.Noise) else where["source"] * 1e-3}
    estimated, exact = experiment.attribute(site, **where), experiment.sweep(site, **where)
    assert estimated.values.dims == exact.values.dims
    for dim in exact.values.dims:
        assert list(estimated.values[dim].to_numpy()) == list(exact.values[dim].to_numpy())
    base = experiment.runs.value_of(experiment.runs.base)
    assert (estimated.state == ESTIMATE).all()
    assert estimated.info["method"] == "atp"
    if where.get("source") == "zero" or "window" in where:  # no small change; and one layer's replacement cuts off what those before it do
        assert np.isfinite(estimated.values).all()
        return
    change = exact.values.to_numpy() - base
    assert np.abs(change).max() > 1e-5
    np.testing.assert_allclose(estimated.values.to_numpy() - base, change, atol=0.05 * np.abs(change).max() + 4e-6)


def test_several_pairs_and_metrics():
    model = tiny_model("mistral")
    pairs = [telling_pair(model), telling_pair(model, CLEAN[:7], [*CLEAN[:3], 44, *CLEAN[4:7]])]
    experiment = pw.Experiment(model, pairs, ["logit_diff", "prob", "rank"])
    for method in ("atp", "atp*", "ig"):
        together = experiment.attribute("z", method)
        assert together.values.dims == ("pair", "layer", "pos", "head")
        for i, pair in enumerate(pairs):
            for metric in ("logit_diff", "prob"):
                alone = pw.Experiment(model, pair, metric).attribute("z", method)
                np.testing.assert_allclose(together[metric].values[i].sel(pos=alone.values.pos), alone.values, atol=1e-5)
        assert together.values[1].sel(pos=slice(7, None)).isnull().all()
        assert (together.state[1, :, 7:] == NOT_MEASURABLE).all()
        # a rank has no gradient, which does not keep the others from theirs
        assert together["rank"].values.isnull().all()
        assert (together["rank"].state == NOT_MEASURABLE).all()
    assert (together.mean().state[:, :7] == ESTIMATE).all()
    assert together.mean().plot().layout.title.text.endswith("estimated")
    assert "estimates" in repr(together)
    assert set(together.to_frame()["state"]) == {"estimate", "not measurable"}


def test_roles_and_prompts_of_unequal_length():
    model = tiny_model("llama")
    longer = pw.PromptPair(CLEAN, [*CLEAN[:4], 80, 81, *CLEAN[5:]], answer=5, distractor=7, align="diff")
    experiment = pw.Experiment(model, longer)
    estimated, exact = experiment.attribute("resid_pre"), experiment.sweep("resid_pre")
    np.testing.assert_array_equal(estimated.values.isnull(), exact.values.isnull())
    with pytest.raises(pw.PatchError, match="unequal length"):
        experiment.attribute("resid_pre", "ig")


def test_a_result_says_what_it_is_and_how_to_get_it_again():
    experiment = tiny_experiment()
    for method, options, told in [
        ("atp", {}, {"method": "atp"}),
        ("atp*", {"grad_drop": False}, {"method": "atp*", "qk_fix": True, "grad_drop": False}),
        ("ig", {"steps": 4}, {"method": "ig", "steps": 4}),
    ]:
        result = experiment.attribute("q", method, positions="all", **options)
        assert {name: result.info[name] for name in told} == told
        assert result.info["executor"] == "gradients"
        assert result.ok
        assert result.checks
        line = result.code().splitlines()[-1]
        scope = {"exp": experiment}
        exec(line, scope)
        np.testing.assert_array_equal(scope["result"].values, result.values)


def detached(logits: torch.Tensor) -> torch.Tensor:
    return logits.detach()[:, 5]


def through_numpy(logits: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(logits.numpy()[:, 5])


def ungraded(logits: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return logits[:, 5] * 2


@pytest.mark.parametrize("metric", ["rank", detached, through_numpy, ungraded])
def test_a_metric_without_gradient(metric):
    experiment = pw.Experiment(tiny_model(), PAIR, metric)
    for method in ("atp", "atp*", "ig"):
        with pytest.raises(pw.MetricError, match="has no gradient"):
            experiment.attribute("resid_pre", method)
    with pytest.raises(pw.MetricError, match="has no gradient"):
        experiment.sweep("resid_pre", order="attribution")
    with pytest.raises(pw.MetricError, match="has no gradient"):
        experiment.attribute("module:model.embed_tokens")
    assert experiment.sweep("resid_pre").complete


def test_bad_questions():
    experiment = tiny_experiment()
    for options, match in [
        ({"method": "eap"}, "method='eap' is not known"),
        ({"qk_fix": True}, "belong to 'atp\\*'"),
        ({"method": "ig", "grad_drop": False}, "belong to 'atp\\*'"),
        ({"steps": 3}, "steps belong to 'ig'"),
        ({"method": "ig", "steps": 0}, "steps=0 is too few"),
        ({"method": "ig", "source": "zero"}, "from one run of the pair to the other"),
        ({"method": "ig", "source": torch.zeros(32)}, "from one run of the pair to the other"),
        ({"layers": [9]}, "Layer 9 does not exist"),
        ({"positions": [12]}, "Position 12 does not exist"),
        ({"heads": [0]}, "not divided into heads"),
    ]:
        with pytest.raises(pw.PatchError, match=match):
            experiment.attribute("resid_pre", **options)
    with pytest.raises(pw.PatchError, match="order='random' is not known"):
        experiment.sweep("resid_pre", order="random")
    with pytest.raises(pw.PatchError, match="can't be run block by block"):
        experiment.attribute("module:model.embed_tokens", "atp*")
