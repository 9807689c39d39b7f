"""Prompts of unequal length: which positions correspond, and what is patched then."""

import numpy as np
import pytest
import torch

import patchwidget as pw
from patchwidget.prompts.alignment import align_tokens
from tests.zoo import telling_pair, tiny_model

#            0   1   2   3   4   5   6   7
CLEAN = [54, 12, 77, 31, 66, 91, 10, 39]
CORRUPTED = [54, 12, 80, 81, 31, 66, 91, 24, 39]  # 77 -> 80 81, 10 -> 24


def unequal_pair(model, **options):
    with torch.no_grad():
        one, other = (model.hf(torch.tensor([tokens])).logits[0, -1] for tokens in (CLEAN, CORRUPTED))
    difference = one - other
    return pw.PromptPair(CLEAN, CORRUPTED, int(difference.argmax()), int(difference.argmin()), **options)


def hooked_value(model, pair, layer, pos, source_pos, base="corrupted"):
    """A forward of the base run by hand, with one row of the residual stream from the other one."""
    prompts = {"clean": pair.clean, "corrupted": pair.corrupted}
    other = "clean" if base == "corrupted" else "corrupted"
    block = model.hf.model.layers[layer]
    with torch.no_grad():
        entering = model.hf(torch.tensor([prompts[other]]), output_hidden_states=True).hidden_states[layer]

        def patch(module, args):
            hidden = args[0].clone()
            hidden[0, pos] = entering[0, source_pos]
            return (hidden, *args[1:])

        handle = block.register_forward_pre_hook(patch)
        logits = model.hf(torch.tensor([prompts[base]])).logits[0, -1]
        handle.remove()
    return float(logits[pair.answer] - logits[pair.distractor])


@pytest.mark.parametrize(
    ("clean", "corrupted", "expected"),
    [
        ("abcd", "abcd", [(0, 0), (1, 1), (2, 2), (3, 3)]),
        ("abcd", "aXcd", [(0, 0), (1, 1), (2, 2), (3, 3)]),  # one for one
        ("abcd", "aXYcd", [(0, 0), (2, 3), (3, 4)]),  # one for two: no telling which
        ("abcd", "acd", [(0, 0), (2, 1), (3, 2)]),
        ("aabba", "abba", [(0, 0), (2, 1), (3, 2), (4, 3)]),
        ("abcXd", "abYcd", [(0, 0), (1, 1), (2, 3), (4, 4)]),
    ],
)
def test_token_difference(clean, corrupted, expected):
    assert list(zip(*align_tokens(clean, corrupted), strict=True)) == expected


def test_spans_correspond_from_their_ends():
    assert list(zip(*align_tokens("abcd", "aXYcd", [((1,), (1, 2))]), strict=True)) == [(0, 0), (1, 2), (2, 3), (3, 4)]
    assert list(zip(*align_tokens("aXcY", "aYcX", [((1,), (3,)), ((3,), (1,))]), strict=True)) == [(0, 0), (1, 3), (2, 2), (3, 1)]
    with pytest.raises(pw.PromptError, match="overlap in the clean prompt"):
        align_tokens("abcd", "abcd", [((1, 2), (1, 2)), ((2,), (3,))])


@pytest.mark.parametrize("executor", ["packed", "hooked"])
@pytest.mark.parametrize(("direction", "base"), [("denoise", "corrupted"), ("noise", "clean")])
def test_cells_are_what_a_hook_by_hand_gives_and_nan_elsewhere(executor, direction, base):
    model = tiny_model()
    pair = unequal_pair(model, align="diff")
    result = pw.Experiment(model, pair, direction=direction).sweep("resid_pre", executor=executor)
    corresponding = {0: 0, 1: 1, 3: 4, 4: 5, 5: 6, 6: 7, 7: 8}  # clean -> corrupted
    if base == "corrupted":
        corresponding = {there: here for here, there in corresponding.items()}
    assert result.values.sizes["pos"] == (9 if base == "corrupted" else 8)
    for pos in range(result.values.sizes["pos"]):
        if pos not in corresponding:
            assert result.values.sel(pos=pos).isnull().all()
            assert (result.state[:, pos] == 3).all()
            continue
        for layer in (0, 2):
            expected = hooked_value(model, pair, layer, pos, corresponding[pos], base)
            assert float(result.values.sel(layer=layer, pos=pos)) == pytest.approx(expected, abs=1e-4)
    assert result.ok
    assert result.info["tokens"] == [str(token) for token in (CORRUPTED if base == "corrupted" else CLEAN)]


def test_by_hand_and_by_roles():
    model = tiny_model()
    spans = pw.Experiment(model, unequal_pair(model, align=[([2], [2, 3])])).sweep("resid_pre")
    roles = pw.Experiment(model, unequal_pair(model, roles={"subject": ([2], [2, 3])}, align="roles")).sweep("resid_pre")
    mapping = pw.Experiment(model, unequal_pair(model), align={"subject": ([2], [2, 3])}).sweep("resid_pre")
    assert spans.values.sel(pos=2).isnull().all()  # of the two, the last one corresponds
    assert float(spans.values.sel(layer=1, pos=3)) == pytest.approx(hooked_value(model, unequal_pair(model), 1, 3, 2), abs=1e-4)
    np.testing.assert_array_equal(spans.values, roles.values)
    np.testing.assert_array_equal(spans.values, mapping.values)


def test_roles_as_the_axis():
    model = tiny_model()
    pairs = [
        unequal_pair(model, roles={"subject": ([2], [2, 3]), "end": -1}, align="roles"),
        pw.PromptPair([7, 9, 30, 31], [7, 8, 30, 31], 5, 6, roles={"subject": 1, "relation": [2, 3]}),
    ]
    experiment = pw.Experiment(model, pairs)
    result = experiment.sweep("resid_pre", positions="roles")
    assert result.values.dims == ("pair", "layer", "role")
    assert result.values.coords["role"].to_numpy().tolist() == ["subject", "end", "relation"]
    by_position = experiment.sweep("resid_pre")
    np.testing.assert_allclose(result.values.sel(pair=0, role="subject"), by_position.values.sel(pair=0, pos=3), atol=1e-5)
    np.testing.assert_allclose(result.values.sel(pair=0, role="end"), by_position.values.sel(pair=0, pos=8), atol=1e-5)
    spans = experiment.sweep("resid_pre", positions=[[2, 3]])
    np.testing.assert_allclose(result.values.sel(pair=1, role="relation"), spans.values.sel(pair=1, pos="2+3"), atol=1e-5)
    assert result.values.sel(pair=0, role="relation").isnull().all()
    assert result.values.sel(pair=1, role="end").isnull().all()
    assert experiment.sweep("z", positions=["end"]).values.dims == ("pair", "layer", "role", "head")
    assert pw.Experiment(model, pairs[1:]).sweep("pattern", positions=["relation"]).values.sizes["role"] == 1
    with pytest.raises(pw.SiteError, match="no role 'verb': the prompts have subject, end, relation"):
        experiment.sweep("z", positions=["verb"])
    with pytest.raises(pw.SiteError, match="The prompts have no roles"):
        pw.Experiment(model, telling_pair(model)).sweep("z", positions="roles")


def test_all_positions_are_those_that_correspond():
    model = tiny_model()
    experiment = pw.Experiment(model, unequal_pair(model, align="diff"))
    everywhere = experiment.sweep("z", positions="all")
    listed = experiment.sweep("z", positions=[0, 1, 4, 5, 6, 7, 8])
    np.testing.assert_allclose(everywhere.values, listed.values, atol=1e-5)
    np.testing.assert_allclose(everywhere.values, experiment.sweep("z", positions="all", executor="hooked").values, atol=1e-4)
    zero = experiment.sweep("resid_pre", source="zero")
    assert not zero.values.isnull().any()  # nothing of the other run is needed


def test_attention_of_unequal_prompts_entry_by_entry():
    model = tiny_model()
    experiment = pw.Experiment(model, unequal_pair(model, align="diff"))
    packed, hooked = (experiment.sweep("pattern", positions="entries", heads=[1], layers=[2], executor=e) for e in ("packed", "hooked"))
    np.testing.assert_allclose(packed.values, hooked.values, atol=1e-4)
    assert packed.values.sel(src_pos=2).isnull().all()
    with pytest.raises(pw.SiteError, match="positions='entries'"):
        experiment.sweep("pattern")


def test_single_patches():
    model = tiny_model()
    pair = unequal_pair(model, align="diff")
    experiment = pw.Experiment(model, pair)
    assert float(experiment.patch(pw.Patch("resid_pre", 2, pos=4)).values) == pytest.approx(hooked_value(model, pair, 2, 4, 3), abs=1e-4)
    assert float(experiment.patch(pw.Patch("resid_pre", 2, pos=3, source_pos=2)).values) == pytest.approx(
        hooked_value(model, pair, 2, 3, 2), abs=1e-4
    )
    with pytest.raises(pw.SiteError, match="Position 3 corresponds to no token"):
        experiment.patch(pw.Patch("resid_pre", 2, pos=3))


def test_what_can_not_be_aligned():
    model = tiny_model()
    for options, match in [
        ({}, "align='diff'"),
        ({"align": "dif"}, "align='dif' is not known"),
        ({"align": "roles"}, "the pair has no roles"),
        ({"align": [[3], [4]]}, r"no list of \(clean, corrupted\) spans"),
        ({"align": [([2], [12])]}, "position 12"),
        ({"align": "diff", "roles": {"subject": "Paris"}}, "the prompt is given as token ids"),
    ]:
        with pytest.raises(pw.PromptError, match=match):
            pw.Experiment(model, unequal_pair(model, **options))


def test_texts_are_found_as_whole_words(default_model):
    capital = "The capital of {} is the city of"
    pair = pw.PromptPair(
        capital.format("France"),
        capital.format("the Netherlands"),
        " Paris",
        " Amsterdam",
        roles={"subject": ("France", "the Netherlands")},
    )
    experiment = pw.Experiment(default_model, pair, align="roles")
    clean, corrupted = experiment.pair.roles["subject"]
    assert [experiment.pair.clean_tokens[p] for p in clean] == [" France"]
    assert [experiment.pair.corrupted_tokens[p] for p in corrupted] == [" the", " Netherlands"]
    result = experiment.sweep("resid_pre", positions=["subject"])
    assert float(result.recovery.sel(layer=0, role="subject")) > 0.5
    second = pw.Experiment(default_model, pw.PromptPair("the other, the one", "the other, the two", " a", " b", roles={"the": ("the", 1)}))
    assert second.pair.roles["the"][0] == (3,)
