"""The hooked executor runs whole forwards and is the judge: the packed one must give the same numbers, on every architecture."""

import numpy as np
import pytest

import patchwidget as pw
from tests.zoo import CLEAN, EXPERTS, PACKED, PARALLEL, telling_pair, tiny_experiment, tiny_model

SITES = ["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z", "q", "k", "v", "pattern", "mlp_post"]


def disagreement(experiment: pw.Experiment, site: str, **options) -> float:
    """The largest difference between the executors, in units of the two runs' difference."""
    packed, hooked = (experiment.sweep(site, executor=executor, **options) for executor in ("packed", "hooked"))
    assert packed.ok, packed.checks
    assert hooked.ok, hooked.checks
    gap = abs(experiment.baselines.clean - experiment.baselines.corrupted)
    change = np.abs(hooked.values.to_numpy() - experiment.runs.value_of(experiment.runs.base)).max()
    assert change > 1e-3 * gap  # the patches do something
    return float(np.abs(packed.values.to_numpy() - hooked.values.to_numpy()).max() / gap)


@pytest.mark.parametrize("architecture", PACKED)
def test_on_every_site(architecture):
    experiment = tiny_experiment(architecture)
    for site in SITES:
        if site == "resid_mid" and architecture in PARALLEL:
            with pytest.raises(pw.SiteError, match="side by side"):
                experiment.sweep(site)
            continue
        if site == "mlp_post" and architecture in EXPERTS:
            with pytest.raises(pw.SiteError, match="mixture of experts"):
                experiment.sweep(site)
            continue
        few = {"neurons": [0, 17, 63]} if site == "mlp_post" else {}
        assert disagreement(experiment, site, layers=[1, 3], **few) < 1e-4, site
        assert disagreement(experiment, site, positions="all", **few) < 1e-4, site


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2", "gpt_oss", "gpt_bigcode", "qwen3"])
def test_keys_and_values_as_one_head_sees_them(architecture):
    experiment = tiny_experiment(architecture)
    for site in ("k_per_head", "v_per_head"):
        assert disagreement(experiment, site) < 1e-4, site
    if experiment.model.n_kv_heads == experiment.model.n_heads:
        seen, own = (experiment.sweep(site, positions="all").values.to_numpy() for site in ("k_per_head", "k"))
        np.testing.assert_allclose(seen, own, atol=1e-4)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2", "phi"])
def test_single_entries_of_patterns(architecture):
    experiment = tiny_experiment(architecture)
    assert disagreement(experiment, "pattern", positions="entries", layers=[1, 3], heads=[0, 2]) < 1e-4


@pytest.mark.parametrize("positions", [[7], [4, 11], [2, 5, 6]])
@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_on_chosen_positions(positions, direction):
    experiment = tiny_experiment("qwen2", direction=direction)
    for site in ("resid_pre", "z"):
        if max(positions) >= 4:
            assert disagreement(experiment, site, positions=positions) < 1e-4


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_with_grouped_queries(kv_heads):
    model = tiny_model("llama", num_key_value_heads=kv_heads)
    experiment = pw.Experiment(model, telling_pair(model))
    assert experiment.model.n_kv_heads == kv_heads
    for site, axis, size in [
        *((site, "head", 4) for site in ("z", "q", "k_per_head", "v_per_head", "pattern")),
        *((site, "kv_head", kv_heads) for site in ("k", "v")),
    ]:
        assert disagreement(experiment, site, layers=[0, 2]) < 1e-4, site
        assert experiment.sweep(site, layers=[2], positions="all").values.sizes == {"layer": 1, axis: size}
    # all query heads that share a key/value head seeing other keys is this one head patched
    own = experiment.patch(pw.Patch("k", 2, head=kv_heads - 1))
    sharing = list(range(4 - 4 // kv_heads, 4))
    assert float(own.values) == pytest.approx(float(experiment.patch(pw.Patch("k_per_head", 2, head=sharing)).values), abs=1e-4)


def test_on_the_default_model(ioi):
    for site in ("resid_pre", "resid_mid", "z", "k", "pattern", "mlp_post"):
        axis = {"z": "heads", "q": "heads", "pattern": "heads", "k": "heads", "v": "heads", "mlp_post": "neurons"}.get(site)
        few = {axis: [0, 2]} if axis else {}
        if site == "mlp_post":  # two neurons do too little to be told from rounding
            few["neurons"] = [list(range(0, 1536, 4))]
        assert disagreement(ioi, site, layers=[0, 29], positions=[[9], [13]], **few) < 1e-4, site


def test_all_neurons_of_a_layer_of_the_default_model(ioi):
    sweep = ioi.start("mlp_post", layers=[26], positions=[13])
    done = [sweep.done for _ in sweep]
    assert len(done) > 1  # so that there is progress to see
    assert done == sorted(done)
    assert done[-1] == sweep.total == 1536
    result = sweep.result
    assert result.ok, result.checks
    top = result.top(20)
    assert list(top.columns) == ["layer", "neuron", "value", "recovery", "state"]
    assert len(top) == 20
    assert top["recovery"].abs().is_monotonic_decreasing
    assert top["recovery"].abs()[0] == pytest.approx(float(abs(result.recovery).max()))
    best = [int(neuron) for neuron in top["neuron"][:3]]
    hooked = ioi.sweep("mlp_post", layers=[26], positions=[13], neurons=best, executor="hooked")
    np.testing.assert_allclose(hooked.values[0], top["value"][:3], atol=1e-3)


def test_a_pair_that_differs_in_its_first_token():
    model = tiny_model("mistral")
    experiment = pw.Experiment(model, telling_pair(model, [5, *CLEAN[1:]], [6, *CLEAN[1:]]))
    assert disagreement(experiment, "resid_pre") < 1e-4


def test_a_long_sweep_is_cut_into_walks_with_the_same_values():
    experiment = tiny_experiment("gpt2")
    whole = experiment.sweep("z").values.to_numpy()
    executor = experiment.runs.make_executor("packed")
    executor.max_rows = 7
    experiment.runs.make_executor = lambda name, pairs, **rows: executor
    sweep = experiment.start("z")
    assert sum(1 for _ in sweep) > 20
    np.testing.assert_allclose(sweep.result.values, whole, atol=1e-5)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "phi", "gemma2"])
@pytest.mark.parametrize("answer_pos", [None, 8])
def test_everything_at_once_in_the_last_block(architecture, answer_pos):
    """There only the measured rows go on; edits of all kinds, at rows that are measured and at rows that are not, have to come through."""
    model = tiny_model(architecture)
    pair = telling_pair(model)
    inside = next(name for name, module in model.hf.named_modules() if module is model.anatomy.blocks[3].o_proj)
    early = pw.Patch("z", layer=1, pos=[4, 6], head=1)
    for late in [
        [pw.Patch("k", layer=3, pos=[4, 7], head=0), pw.Patch("v", layer=3, pos=[5, 8])],
        [pw.Patch("q", layer=3, pos=[5, 8, 11], head=2), pw.Patch("resid_pre", layer=3, pos=6)],
        [pw.Patch("pattern", layer=3, pos=[7, 8, 11], head=1), pw.Patch("k_per_head", layer=3, pos=4, head=3)],
        [pw.Patch(site, layer=3, pos=8 if site == "pattern" else [4, 8], head=2) for site in ("pattern", "k_per_head", "v_per_head")],
        [pw.Patch("mlp_out", layer=3, pos=[6, 8, 11]), pw.Patch("resid_post", layer=3, pos=[8, 11], source="zero", operator="add")],
        [pw.Patch(f"module:{inside}", pos=[4, 8, 11]), pw.Patch("k", layer=3, pos=5)],
    ]:
        for patches in (late, [early, *late]):
            experiment = pw.Experiment(model, pair, answer_pos=answer_pos)
            packed, hooked = (experiment.patch(patches, executor=executor) for executor in ("packed", "hooked"))
            assert packed.ok, packed.checks
            assert float(abs(packed.values - hooked.values)) < 1e-4, patches


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_pattern_and_what_its_head_sees_together(architecture):
    """The pattern is what was put there, whatever the keys; and it weighs the values that the head sees."""
    model = tiny_model(architecture)
    experiment = pw.Experiment(model, telling_pair(model))
    pattern, keys, values = (pw.Patch(site, layer=2, head=1) for site in ("pattern", "k_per_head", "v_per_head"))
    whole = pw.Patch("z", layer=2, head=1)
    for executor in ("packed", "hooked"):
        assert float(experiment.patch([pattern, values], executor=executor).values) == pytest.approx(
            float(experiment.patch(whole, executor=executor).values), abs=1e-4
        )
        assert float(experiment.patch([pattern, keys], executor=executor).values) == pytest.approx(
            float(experiment.patch(pattern, executor=executor).values), abs=1e-4
        )
