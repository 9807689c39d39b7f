"""With what, where and how many: sources, windows, groups, joint patches, several pairs, any network."""

import numpy as np
import pytest
import torch

import patchwidget as pw
from tests.zoo import CLEAN, CORRUPTED, telling_pair, tiny_experiment, tiny_model

OTHER = [54, 12, 9, 31, 81, 66, 2, 25, 45, 13, 39, 71]


def hooked_by_hand(experiment, edit) -> float:
    """The metric of the corrupted run with `edit(hidden [T, d])` at the input of block 2."""

    def hook(module, args):
        hidden = args[0].clone()
        edit(hidden[0])
        return (hidden, *args[1:])

    handle = experiment.model.hf.model.layers[2].register_forward_pre_hook(hook)
    with torch.no_grad():
        logits = experiment.model.hf(torch.tensor([CORRUPTED])).logits[0, -1]
    handle.remove()
    return float(logits[experiment.pair.answers[0]] - logits[experiment.pair.distractors[0]])


def entering_block_2(experiment, prompt):
    seen = {}
    handle = experiment.model.hf.model.layers[2].register_forward_pre_hook(lambda m, args: seen.update(x=args[0][0].clone()))
    with torch.no_grad():
        experiment.model.hf(torch.tensor([prompt]))
    handle.remove()
    return seen["x"]


@pytest.mark.parametrize("executor", ["packed", "hooked"])
def test_sources(executor):
    experiment = tiny_experiment()
    own, clean, other = (entering_block_2(experiment, prompt) for prompt in (CORRUPTED, CLEAN, OTHER))
    vector = torch.linspace(-1, 1, 32)

    def value(source, **options):
        return float(experiment.sweep("resid_pre", layers=[2], source=source, executor=executor, **options).values.sel(layer=2, pos=6))

    def by_hand(new):
        return pytest.approx(hooked_by_hand(experiment, lambda hidden: hidden[6].copy_(new)), abs=1e-4)

    assert value("clean") == by_hand(clean[6])
    assert value("corrupted") == by_hand(own[6])
    assert value("zero") == by_hand(torch.zeros(32))
    assert value(vector) == by_hand(vector)
    assert value(torch.stack([vector * p for p in range(12)])) == by_hand(vector * 6)
    assert value(0.5) == by_hand(torch.full((32,), 0.5))
    assert value(pw.Resample(OTHER)) == by_hand(other[6])
    assert value(pw.Mean([CLEAN, OTHER])) == by_hand((clean + other)[6] / 2)
    assert value(pw.Mean([CLEAN, OTHER[:5]], per_position=False)) == by_hand(
        torch.cat([clean, entering_block_2(experiment, OTHER[:5])]).mean(0)
    )
    assert value(vector, operator="add") == by_hand(own[6] + vector)
    assert value("clean", operator="add") == by_hand(own[6] + clean[6])


def test_noise_is_the_same_for_the_same_seed_and_as_large_as_asked():
    experiment = tiny_experiment()
    once, again, other = (experiment.sweep("resid_pre", source=pw.Noise(2.0, seed=seed)).values for seed in (1, 1, 2))
    np.testing.assert_array_equal(once, again)
    assert float(abs(once - other).max()) > 1e-3
    from patchwidget.experiments.sweeps.sources import values_of

    values, _ = values_of(experiment.runs, 0, pw.Noise(2.0))
    own = experiment.runs.recording("corrupted").at("resid_pre", 1)
    assert float((values("resid_pre", 1) - own).std() / own.std()) == pytest.approx(2, rel=0.15)


def test_bad_sources():
    experiment = tiny_experiment()
    for source, error, match in [
        ("median", pw.PatchError, "source='median' is not known"),
        (torch.zeros(31), pw.SiteError, r"shape \[31\], and there it has to fit \[12, 32\]"),
        (pw.Resample(OTHER[:5]), pw.PromptError, "has 5 tokens, and the base prompt 12"),
        (pw.Mean([]), pw.PromptError, "over no prompts"),
    ]:
        with pytest.raises(error, match=match):
            experiment.sweep("resid_pre", source=source)
    with pytest.raises(pw.SiteError, match="operator='mul' is not known"):
        experiment.sweep("resid_pre", operator="mul")


def test_a_window_of_layers_is_those_layers_together():
    experiment = tiny_experiment()
    result = experiment.sweep("mlp_out", window=3)
    for layer, together in [(0, [0, 1]), (1, [0, 1, 2]), (3, [2, 3])]:
        joint = experiment.patch([pw.Patch("mlp_out", layer=one, pos=7) for one in together])
        assert float(result.values.sel(layer=layer, pos=7)) == pytest.approx(float(joint.values), abs=1e-4)
    np.testing.assert_allclose(result.values, experiment.sweep("mlp_out", window=3, executor="hooked").values, atol=1e-4)


def test_spans_and_groups():
    experiment = tiny_experiment()
    spans = experiment.sweep("resid_pre", positions=[[4, 5], [7, 8, 9]])
    assert list(spans.values.coords["pos"].to_numpy()) == ["4+5", "7+8+9"]
    joint = experiment.patch(pw.Patch("resid_pre", layer=1, pos=[7, 8, 9]))
    assert float(spans.values.sel(layer=1, pos="7+8+9")) == pytest.approx(float(joint.values), abs=1e-4)
    groups = experiment.sweep("z", heads=[[0, 1], [3]], positions="all")
    pair = experiment.patch(pw.Patch("z", layer=2, head=[0, 1]))
    assert float(groups.values.sel(layer=2, head="0+1")) == pytest.approx(float(pair.values), abs=1e-4)
    neurons = experiment.sweep("mlp_post", layers=[1], positions=[7], neurons=[[0, 5, 9], list(range(64))])
    assert neurons.values.sizes == {"layer": 1, "neuron": 2}


def test_neurons_of_one_layer_at_one_position():
    experiment = tiny_experiment("gpt2")
    packed, hooked = (experiment.sweep("mlp_post", layers=[2], positions=[7], executor=executor) for executor in ("packed", "hooked"))
    assert packed.values.sizes == {"layer": 1, "neuron": 128}
    np.testing.assert_allclose(packed.values, hooked.values, atol=1e-4)
    assert list(packed.top(3).columns) == ["layer", "neuron", "value", "recovery", "state"]


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2", "phi", "gpt_oss"])
def test_joint_patches_agree(architecture):
    experiment = tiny_experiment(architecture)
    patches = [
        pw.Patch("resid_pre", 1, pos=4),
        pw.Patch("z", 2, head=1),
        pw.Patch("k", 1, pos=[5, 7], head=0),
        pw.Patch("q", 3, pos=11),
        pw.Patch("pattern", 2, head=3, pos=[9, 11], src_pos=[4, 7]),
        pw.Patch("v_per_head", 3, head=[1, 2], pos=7),
        pw.Patch("attn_out", 0, pos=7, source="zero"),
        pw.Patch("mlp_out", 3, pos=11, source=0.1, operator="add"),
        pw.Patch("resid_post", 2, pos=8, source_pos=5),
    ]
    packed, hooked = (experiment.patch(patches, executor=executor) for executor in ("packed", "hooked"))
    assert packed.values.dims == ()
    assert packed.ok, packed.checks
    gap = abs(packed.clean - packed.corrupted)
    assert float(packed.values) == pytest.approx(float(hooked.values), abs=1e-4 * gap)
    assert abs(float(packed.values) - packed.corrupted) > 1e-3 * gap


def test_source_positions():
    experiment = tiny_experiment()
    clean = entering_block_2(experiment, CLEAN)
    moved = experiment.patch(pw.Patch("resid_pre", 2, pos=[6, 9], source_pos=[4, 7]))
    by_hand = hooked_by_hand(experiment, lambda hidden: hidden.index_copy_(0, torch.tensor([6, 9]), clean[[4, 7]]))
    assert float(moved.values) == pytest.approx(by_hand, abs=1e-4)
    with pytest.raises(pw.SiteError, match="2 source positions were given for 3 positions"):
        experiment.patch(pw.Patch("resid_pre", 2, pos=[6, 9, 10], source_pos=[4, 7]))


def test_bad_patches():
    experiment = tiny_experiment()
    for patch, match in [
        (pw.Patch("z"), "names no layer"),
        (pw.Patch("z", 9), "Layer 9 does not exist"),
        (pw.Patch("z", 1, head=4), "Head or neuron 4 does not exist"),
        (pw.Patch("z", 1, pos=12), "Position 12 does not exist"),
        (pw.Patch("resid_pre", 1, head=0), "not divided"),
        (pw.Patch("mlp_post", 1, neuron=3, head=0), "not divided"),
        (pw.Patch("pattern", 1, head=0, pos=3, src_pos=5), "can't attend to position 5"),
        (pw.Patch("z", 1, src_pos=5), "src_pos belongs to patterns"),
        (pw.Patch("module:model.layer.1"), "no module 'model.layer.1'. Did you mean"),
    ]:
        with pytest.raises(pw.SiteError, match=match):
            experiment.patch(patch)
    with pytest.raises(pw.PatchError, match="No patch was given"):
        experiment.patch([])


def walks_of(monkeypatch, ask) -> list[int]:
    """How many rows-to-be each pass of the packed executor carries while something is asked."""
    from patchwidget.engine.executors.packed import PackedExecutor

    walks, walk = [], PackedExecutor._walk
    with monkeypatch.context() as patched:
        patched.setattr(PackedExecutor, "_walk", lambda self, plans: walks.append(len(plans)) or walk(self, plans))
        ask()
    return walks


def test_pairs_and_metrics_go_through_one_pass(monkeypatch):
    model = tiny_model("mistral")
    pairs = [telling_pair(model), telling_pair(model, CLEAN[:7], [*CLEAN[:3], 44, *CLEAN[4:7]])]
    one = walks_of(monkeypatch, lambda: pw.Experiment(model, pairs[0]).sweep("attn_out", positions="all"))
    many = walks_of(monkeypatch, lambda: pw.Experiment(model, pairs, ["logit_diff", "prob", "kl"]).sweep("attn_out", positions="all"))
    assert one == [4 + 2]  # the cells, and the two that prove them
    assert many == [2 * 4 + 2 * 2]


def test_pairs_of_different_lengths_share_a_pass_and_keep_their_values():
    model = tiny_model("mistral")
    pairs = [
        telling_pair(model),
        telling_pair(model, CLEAN[:7], [*CLEAN[:3], 44, *CLEAN[4:7]]),
        telling_pair(model, [9, *CLEAN], [9, *CORRUPTED]),
    ]
    experiment = pw.Experiment(model, pairs, ["logit_diff", "prob"])
    for site in ("resid_pre", "z", "k"):
        together = experiment.sweep(site)
        assert together.ok, together.checks
        assert together.values.sizes["pair"] == 3
        for i, pair in enumerate(pairs):
            alone = pw.Experiment(model, pair).sweep(site)
            np.testing.assert_allclose(together.values[i].sel(pos=alone.values.pos), alone.values, atol=1e-4)
            np.testing.assert_allclose(together.recovery[i].sel(pos=alone.values.pos), alone.recovery, atol=1e-3)
        assert together.values[1].sel(pos=slice(7, None)).isnull().all()
        assert (together.state[1, :, 7:] == 3).all()
    mean = together.mean()
    np.testing.assert_allclose(mean.recovery.sel(pos=12), together.recovery[2].sel(pos=12), atol=1e-5)  # no other pair has that position
    np.testing.assert_allclose(mean.values.sel(pos=3), together.values.sel(pos=3).mean("pair"), atol=1e-6)
    assert mean.clean == pytest.approx(float(together.clean.mean()))
    assert "prob" in mean.others
    assert experiment.patch(pw.Patch("attn_out", 1)).values.dims == ("pair",)
    assert len(together.to_frame()) == together.values.size
    assert together.plot().data
