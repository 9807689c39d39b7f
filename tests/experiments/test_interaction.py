"""Effects of patches alone and together, against joint patches by themselves."""

import numpy as np
import pytest

import patchwidget as pw
from tests.zoo import CLEAN, telling_pair, tiny_experiment, tiny_model

PATCHES = [pw.Patch("z", 1, head=2), pw.Patch("mlp_out", 2, pos=7), pw.Patch("attn_out", 3), pw.Patch("z", 1, head=3)]


def test_every_effect_is_that_of_the_joint_patch():
    experiment = tiny_experiment()
    found = experiment.interaction(PATCHES)
    alone = [float(experiment.patch(patch).effect) for patch in PATCHES]
    np.testing.assert_allclose(found.single, alone, atol=1e-5)
    np.testing.assert_allclose(np.diag(found.joint), alone, atol=1e-5)
    for i in range(4):
        for j in range(i):
            together = float(experiment.patch([PATCHES[i], PATCHES[j]]).effect)
            assert float(found.joint[i, j]) == float(found.joint[j, i]) == pytest.approx(together, abs=1e-5)
            for pair in ((i, j), (j, i)):
                assert float(found.synergy[pair]) == pytest.approx(together - alone[i] - alone[j], abs=1e-5)
    assert np.isnan(np.diag(found.synergy)).all()
    whole = float(experiment.patch(PATCHES).effect)
    assert found.all == pytest.approx(whole, abs=1e-5)
    assert found.all_synergy == pytest.approx(whole - sum(alone), abs=1e-5)
    assert abs(found.all_synergy) > 1e-3
    assert found.result.ok
    assert len(found.result.checks) == 4


def test_it_is_one_packed_pass(monkeypatch):
    from patchwidget.engine.executors.packed import PackedExecutor

    experiment, walks, walk = tiny_experiment(), [], PackedExecutor._walk
    monkeypatch.setattr(PackedExecutor, "_walk", lambda self, plans: walks.append(len(plans)) or walk(self, plans))
    experiment.interaction(PATCHES)
    assert walks == [4 + 6 + 1 + 2]  # and the proofs


def test_two_patches_that_do_the_same_are_redundant_and_those_that_need_each_other_synergic():
    """The last block's residual stream entering and leaving it; and the two halves of what is needed there."""
    experiment = tiny_experiment()
    redundant = experiment.interaction([pw.Patch("resid_pre", 3), pw.Patch("resid_post", 3)], names=["before", "after"])
    assert redundant.single.values == pytest.approx([1, 1], abs=1e-4)
    assert redundant.all == pytest.approx(1, abs=1e-4)
    assert float(redundant.synergy.sel(patch="before", other="after")) == redundant.all_synergy == pytest.approx(-1, abs=1e-4)
    assert list(redundant.to_frame()["patches"]) == ["before", "after", "before + after"]


def test_the_table_the_picture_and_the_names():
    found = tiny_experiment().interaction(
        [*PATCHES, pw.Patch("mlp_post", 1, pos=7, neuron=3), pw.Patch("mlp_post", 1, pos=7, neuron=[4, 5])]
    )
    assert found.names == ["z 1.2", "mlp_out 2 @7", "attn_out 3", "z 1.3", "mlp_post 1.3 @7", "mlp_post 1.4+5 @7"]
    frame = found.to_frame()
    assert list(frame["n"]) == [1] * 6 + [2] * 15 + [6]
    assert frame["synergy"].isna().sum() == 6
    assert frame["synergy"].iloc[-1] == pytest.approx(found.all_synergy)
    assert len(found.plot().data[0]["z"]) == 6
    assert repr(found).startswith("Interaction(6 patches, logit_diff: together")
    again = tiny_experiment().interaction(
        [pw.Patch("z", 1, head=1, source_pos=4, pos=7), pw.Patch("z", 1, head=1, source_pos=5, pos=[7], operator="add")]
    )
    assert again.names == ["z 1.1 @7 #1", "z 1.1 @7 #2"]


def test_several_pairs():
    model = tiny_model("mistral")
    experiment = pw.Experiment(
        model, [telling_pair(model), telling_pair(model, CLEAN[:8], [*CLEAN[:3], 44, *CLEAN[4:8]])], ["logit_diff", "prob"]
    )
    found = experiment.interaction(PATCHES[:2])
    assert found.result.values.dims == ("pair", "patches")
    assert found.all == pytest.approx(float(experiment.patch(PATCHES[:2]).mean().effect), abs=1e-5)
    assert "prob" in found.result.others


def test_bad_interactions():
    experiment = tiny_experiment()
    for patches, names, match in [
        ([], None, "between patches, and there is 0"),
        (PATCHES[:1], None, "between patches, and there is 1"),
        (PATCHES[:2], ["a"], "not one for each of 2"),
        (PATCHES[:2], ["a", "a"], "not one for each of 2"),
        ([pw.Patch("z", 1), pw.Patch("z", 1, head=2, pos=7)], None, "both replace z of layer 1 at position 7"),
        (
            [pw.Patch("pattern", 1, head=0, pos=7, src_pos=[3, 4]), pw.Patch("pattern", 1, head=0, pos=7, src_pos=4)],
            None,
            "both replace pattern",
        ),
        ([pw.Patch("z", 9), pw.Patch("z", 1)], None, "Layer 9 does not exist"),
    ]:
        with pytest.raises(pw.PatchError, match=match):
            experiment.interaction(patches, names=names)


NORM = "module:model.layers.1.post_attention_layernorm.input"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (pw.Patch("resid_post", 0, 5), pw.Patch("resid_pre", 1, 5), True),
        (pw.Patch("resid_post", 0, 5), pw.Patch("resid_pre", 1, 6), False),
        (pw.Patch("resid_post", 0, 5), pw.Patch("resid_pre", 0, 5), False),
        (pw.Patch("k", 1, 5), pw.Patch("k_per_head", 1, 5, head=2), True),
        (pw.Patch("v", 1, 5, head=1), pw.Patch("v_per_head", 1, 5, head=2), True),  # two query heads for each
        (pw.Patch("v", 1, 5, head=0), pw.Patch("v_per_head", 1, 5, head=2), False),
        (pw.Patch("k", 1, 5), pw.Patch("v_per_head", 1, 5, head=2), False),
        (pw.Patch("k_per_head", 1, 5, head=0), pw.Patch("k_per_head", 1, 5, head=1), False),
        (pw.Patch("module:model.layers.1.mlp", pos=5), pw.Patch("mlp_out", 1, 5), True),
        (pw.Patch("module:model.layers.1.mlp.input", pos=5), pw.Patch("mlp_out", 1, 5), False),
        (pw.Patch("module:model.layers.0", pos=5), pw.Patch("module:model.layers.1.input", pos=5), True),
        (pw.Patch("module:model.layers.3"), pw.Patch("resid_post", 3, 11), True),
        (pw.Patch("module:model.layers.1.self_attn.o_proj.input", pos=5), pw.Patch("z", 1, 5, head=1), True),
        (pw.Patch(NORM, pos=5), pw.Patch("resid_mid", 1, 5), True),
        (pw.Patch(NORM, pos=5), pw.Patch(NORM, pos=5), True),
        (pw.Patch("module:model.layers.1.self_attn.o_proj", pos=5), pw.Patch("attn_out", 1, 5), True),
        (pw.Patch("module:model.layers.1.self_attn.o_proj", pos=5), pw.Patch("attn_out", 0, 5), False),
        (pw.Patch("module:model.layers.1.mlp.down_proj", pos=5), pw.Patch("mlp_out", 1, 5), True),
        (pw.Patch("module:model.layers.1.mlp.down_proj", pos=5), pw.Patch("module:model.layers.1.mlp", pos=5), True),
        (pw.Patch("module:model.layers.1.mlp.up_proj", pos=5), pw.Patch("module:model.layers.1.mlp.gate_proj", pos=5), False),
        (pw.Patch("module:model.layers.1.self_attn.v_proj", pos=5), pw.Patch("v", 1, 5), True),
        (pw.Patch("module:model.layers.1.self_attn.v_proj", pos=5), pw.Patch("v_per_head", 1, 5, head=2), True),
        (pw.Patch("module:model.layers.1.self_attn.k_proj", pos=5), pw.Patch("k", 1, 5), False),  # turned in between
        (pw.Patch("module:model.norm.input", pos=11), pw.Patch("resid_post", 3, 11), True),
        (pw.Patch("module:model.embed_tokens", pos=5), pw.Patch("resid_pre", 0, 5), True),
        (pw.Patch("module:model.norm", pos=11), pw.Patch("resid_post", 3, 11), False),
        (pw.Patch("z", 1, 5, head=1), pw.Patch("z", 1, 5), True),
        (pw.Patch("resid_post", 0, 5), pw.Patch("resid_pre", 1, 5, source=0.1, operator="add"), False),
    ],
)
def test_one_tensor_under_two_names(one, other, same):
    experiment = tiny_experiment()
    for patches in ([one, other], [other, one]):
        if same:
            with pytest.raises(pw.PatchError, match="both replace"):
                experiment.interaction(patches)
        else:
            assert experiment.interaction(patches).result.ok


def test_both_names_are_told():
    with pytest.raises(
        pw.PatchError, match=r"resid_post 0 @5 and resid_pre 1 @5 both replace resid_post of layer 0 at position 5 \(resid_pre of "
    ):
        tiny_experiment().interaction([pw.Patch("resid_post", 0, 5), pw.Patch("resid_pre", 1, 5)])
