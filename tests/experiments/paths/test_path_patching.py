"""What one can ask about paths: nodes, axes, provenance, checks, and what is refused."""

import numpy as np
import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaMLP

import patchwidget as pw
from patchwidget.experiments.paths.nodes import SENDERS, check_node
from tests.zoo import CLEAN, CORRUPTED, PAIR, telling_pair, tiny_experiment, tiny_model, tiny_module

LOGITS = pw.Node("resid_post", layer=3)
OTHER = pw.PromptPair([7, 8, 77, 31, 8, 66, 91], [7, 8, 77, 32, 8, 66, 90], answer=5, distractor=7)


def test_axes():
    experiment = tiny_experiment()
    for senders, options, dims in [
        (None, {}, ("layer", "head")),
        ("mlp_out", {}, ("layer",)),
        ("attn_out", {}, ("layer",)),
        ("z", {"positions": "each"}, ("layer", "pos", "head")),
        ("mlp_out", {"positions": [[4], [5, 6]]}, ("layer", "pos")),
        ([pw.Node("z", 0, 1), pw.Node("mlp_out", 2)], {}, ("sender",)),
        ([pw.Node("z", 0, 1)], {"positions": "each"}, ("sender", "pos")),
    ]:
        result = experiment.paths(LOGITS, senders, **options)
        assert result.values.dims == dims
        assert result.complete
        assert result.ok, result.checks
    named = experiment.paths(LOGITS, [pw.Node("z", 0, 1), [pw.Node("mlp_out", 2), pw.Node("z", 3, pos=11)]])
    assert named.values.sender.to_numpy().tolist() == ["z 0.1", "mlp_out 2 + z 3 @11"]


def test_the_default_senders_and_receiver_layer():
    experiment = tiny_experiment()
    np.testing.assert_array_equal(experiment.paths(pw.Node("resid_post")).values, experiment.paths(LOGITS, "z", "heads").values)


def test_a_sender_that_does_not_come_before_leaves_the_base_run():
    experiment = tiny_experiment()
    values = experiment.paths(pw.Node("q", 2, 1), "z").values
    np.testing.assert_allclose(values.sel(layer=[2, 3]), experiment.runs.value_of("corrupted"), atol=1e-5)
    assert (abs(values.sel(layer=[0, 1]) - experiment.runs.value_of("corrupted")) > 1e-6).any()


def test_the_result_names_its_rule_receiver_and_senders():
    experiment = tiny_experiment(direction="noise")
    result = experiment.paths([pw.Node("q", 2, 1), pw.Node("k", 2, 0)], "mlp_out", "all")
    assert result.info["freeze"] == "all"
    assert result.info["receiver"] == "q 2.1 and k 2.0"
    assert result.info["senders"] == "mlp_out"
    assert result.info["direction"] == "noise"
    assert "all frozen" in result.plot().layout.title.text
    chain = experiment.path([pw.Node("z", 0, 1), pw.Node("q", 2, 1), LOGITS])
    assert chain.info["freeze"] == "path"
    assert chain.info["path"] == "z 0.1 → q 2.1 → resid_post 3"


@pytest.mark.parametrize("freeze", ["heads", "all"])
def test_its_code_makes_it_again(freeze):
    experiment = tiny_experiment(direction="noise", metric="logit")
    everywhere = {"pw": pw, "hf": experiment.model.hf, "tokenizer": None, "source": torch.linspace(-1, 1, 32)}
    z = [pw.Node("z", 1, 2, pos=[7, 9]), [pw.Node("mlp_out", 0), pw.Node("z", 0)]]
    for result in [
        experiment.paths(pw.Node("q", 2, 1), freeze=freeze),
        experiment.paths([pw.Node("v", 2, 1), pw.Node("mlp_in", 3)], z, freeze, source="zero"),
        experiment.paths(LOGITS, "mlp_out", freeze, positions=[[4], [7, 8]], source=everywhere["source"]),
        experiment.path([pw.Node("z", 0, 1), pw.Node("mlp_in", 2, pos=[9, 11]), LOGITS], source=0.5),
    ]:
        space = dict(everywhere)
        exec(result.code(), space)
        np.testing.assert_allclose(space["result"].values, result.values, atol=1e-6)


@pytest.mark.parametrize("freeze", ["heads", "all"])
def test_the_senders_own_activation_changes_nothing(freeze):
    experiment = tiny_experiment("gemma2")
    for receiver in (LOGITS, pw.Node("q", 2, 1), pw.Node("mlp_in", 3)):
        result = experiment.paths(receiver, "z", freeze, source="corrupted")
        np.testing.assert_allclose(result.values, experiment.runs.value_of("corrupted"), atol=1e-4)


@pytest.mark.parametrize("architecture", ["gpt2", "gemma2", "phi", "granite"])
def test_everything_sent_is_the_other_runs_input(architecture):
    """Sites that are the same change of the residual stream send the same; all of them together send the other run's."""
    experiment = tiny_experiment(architecture)
    for freeze in ("heads", "all"):
        embedding, z = pw.Node("resid_pre", 0), [pw.Node("z", layer) for layer in range(4)]
        mlps = [pw.Node("mlp_out", layer) for layer in range(4)] if freeze == "all" else []
        result = experiment.paths(LOGITS, [[embedding, *z, *mlps], z[1], pw.Node("attn_out", 1)], freeze)
        assert float(result.recovery[0]) == pytest.approx(1, abs=1e-4)
        assert float(result.values[1]) == pytest.approx(float(result.values[2]), abs=1e-4)
        if not experiment.model.anatomy.blocks[0].parallel:
            middle = experiment.paths(LOGITS, [pw.Node("resid_mid", 1), [pw.Node("resid_pre", 1), z[1]]], freeze)
            assert float(middle.values[0]) == pytest.approx(float(middle.values[1]), abs=1e-4)
        query = experiment.paths(pw.Node("q", 3, 1), [[embedding, *z[:3], *mlps[:3]]], freeze)
        assert float(query.values[0]) == pytest.approx(float(experiment.patch(pw.Patch("q", 3, head=1)).values), abs=1e-4)


def test_checks_tell_when_something_does_not_hold(monkeypatch):
    from patchwidget.engine.paths.frozen_run import FrozenRun

    experiment = tiny_experiment()
    names = [check.name for check in experiment.paths(LOGITS).checks]
    assert {"identity path", "all senders", "senders fired", "identity patch", "hooks fired", "logits"} <= set(names)
    original = FrozenRun.receive

    def off(self, senders, receivers):
        return [
            tuple(type(e)(e.site, e.layer, e.positions, e.value * 1.5, e.index) for e in edits)
            for edits in original(self, senders, receivers)
        ]

    monkeypatch.setattr(FrozenRun, "receive", off)
    wrong = experiment.paths(pw.Node("v", 2, 1))
    assert not wrong.ok
    assert {check.name for check in wrong.checks if not check.ok} == {"identity path", "all senders"}


def test_a_chain_of_two_is_an_edge():
    experiment = tiny_experiment("olmo2")
    for sender, receiver in [(pw.Node("z", 1, 2), pw.Node("k", 3, 0)), (pw.Node("mlp_out", 0), LOGITS)]:
        edge = experiment.paths(receiver, [sender], "all")
        chain = experiment.path([sender, receiver])
        assert float(chain.values) == pytest.approx(float(edge.values[0]), abs=1e-6)


def test_chains_through_all_inputs_and_outputs():
    """A node in the middle has several names: an MLP is its input and its output, a head of one key/value head all of q, k, v."""
    experiment = tiny_experiment()
    first, last = pw.Node("z", 0, 1), pw.Node("q", 3, 2)
    assert float(experiment.path([first, pw.Node("mlp_in", 1), last]).values) == float(
        experiment.path([first, pw.Node("mlp_out", 1), last]).values
    )
    whole = float(experiment.path([first, pw.Node("z", 1, 3), last]).values)
    by_query = float(experiment.path([first, pw.Node("q", 1, 3), last]).values)
    base = experiment.runs.value_of("corrupted")
    assert abs(whole - base) > 1e-6
    assert whole != by_query
    assert float(experiment.path([first, pw.Node("q", 1, 3, pos=[4]), last]).values) != by_query


def test_several_pairs_and_metrics():
    model = tiny_model("qwen2")
    pairs, metrics = [telling_pair(model), OTHER], ["logit_diff", "prob"]
    together = pw.Experiment(model, pairs, metrics)
    result = together.paths(pw.Node("q", 2, 1), positions="each")
    assert result.values.dims == ("pair", "layer", "pos", "head")
    assert result.ok, result.checks
    assert len(result["prob"].checks) == len(result.checks)
    assert bool((result.state[1, :, 7:] == 3).all())  # the second pair has no such positions
    chain = together.path([pw.Node("z", 0, 1), pw.Node("q", 2, 1), LOGITS])
    assert chain.values.dims == ("pair",)
    for i, pair in enumerate(pairs):
        alone = pw.Experiment(model, pair, metrics)
        length = len(pair.clean)
        single = alone.paths(pw.Node("q", 2, 1), positions="each")
        for metric in metrics:
            np.testing.assert_allclose(result[metric].values[i, :, :length], single[metric].values, atol=1e-5)
        assert float(chain.values[i]) == pytest.approx(float(alone.path([pw.Node("z", 0, 1), pw.Node("q", 2, 1), LOGITS]).values), abs=1e-5)


def test_prompts_of_unequal_length():
    model = tiny_model()
    pair = pw.PromptPair(CLEAN, [*CORRUPTED[:5], 9, *CORRUPTED[5:]], answer=5, distractor=7, align="diff")
    result = pw.Experiment(model, pair).paths(LOGITS, positions="each")
    assert result.ok, result.checks
    assert bool((result.state[:, 5] == 3).all())  # corresponds to no token of the clean prompt
    assert bool(np.isfinite(result.values[:, -1]).all())


def test_positions_by_role():
    model = tiny_model()
    pair = pw.PromptPair(CLEAN, CORRUPTED, answer=5, distractor=7, roles={"subject": 4, "end": -1})
    experiment = pw.Experiment(model, pair)
    result = experiment.paths(LOGITS, "mlp_out", positions="roles")
    assert result.values.dims == ("layer", "role")
    np.testing.assert_allclose(result.values.sel(role="end"), experiment.paths(LOGITS, "mlp_out", positions=[11]).values, atol=1e-5)


def test_what_is_measured_decides_what_is_heard():
    """At a position after the measured one, nothing can matter."""
    model = tiny_model()
    experiment = pw.Experiment(model, PAIR, answer_pos=8)
    result = experiment.paths(pw.Node("v", 3, 1), positions="each")
    assert float(abs(result.values.sel(pos=slice(9, None)) - experiment.runs.value_of("corrupted")).max()) < 1e-5
    assert float(abs(result.values.sel(pos=8) - experiment.runs.value_of("corrupted")).max()) > 1e-5


class TwoMLPs(LlamaDecoderLayer):
    """A block in which a second MLP works beside the rest of it, so that neither is all that is added after the attention."""

    def forward(self, hidden_states, **kwargs):
        return super().forward(hidden_states, **kwargs) + self.second(hidden_states)


def test_a_block_that_cannot_be_split():
    hf = tiny_module("llama")
    torch.manual_seed(3)
    for layer in hf.model.layers:
        layer.__class__ = TwoMLPs
        layer.second = LlamaMLP(hf.config)
    model = pw.wrap(hf, name="two")
    experiment = pw.Experiment(model, telling_pair(model))
    with pytest.raises(pw.SiteError, match="mlp_in 2 can't receive: TwoMLPs can't be split there"):
        experiment.paths(pw.Node("mlp_in", 2))
    with pytest.raises(pw.SiteError, match="has no mlp_out"):
        experiment.paths(pw.Node("q", 2, 1), freeze="all")
    assert experiment.paths(pw.Node("q", 2, 1)).ok  # needs heads only


@pytest.mark.parametrize("family", ["gptj", "bloom"])
def test_a_model_that_cannot_be_split(family):
    hf = tiny_module(family, **({"rotary_dim": 4} if family == "gptj" else {}))
    model = pw.wrap(hf, name=family)
    experiment = pw.Experiment(model, telling_pair(model))
    with pytest.raises(pw.ModelError, match=f"{family} can't be split into paths: its attention"):
        experiment.paths(LOGITS)
    with pytest.raises(pw.ModelError, match="can't be split into paths"):
        experiment.path([pw.Node("z", 0, 1), LOGITS])


@pytest.mark.parametrize(
    ("receiver", "senders", "options", "match"),
    [
        (pw.Node("q", 0, 1), "z", {}, "No z comes before q 0.1, so no path leads there"),
        (pw.Node("q", 1, 1), [pw.Node("z", 2, 0)], {}, "q 1.1 can't receive from z 2.0, which does not come before it"),
        (pw.Node("q", 1, 1), [pw.Node("z", 1, 0)], {}, "q 1.1 can't receive from z 1.0"),
        (pw.Node("mlp_in", 1), [pw.Node("mlp_out", 1)], {}, "mlp_in 1 can't receive from mlp_out 1"),
        (pw.Node("q", 2, 1, pos=12), "z", {}, "Position 12 of q 2.1 @12 does not exist: the prompt has positions 0 to 11"),
        (pw.Node("q", 2, 1), [pw.Node("z", 0, 1, pos=-13)], {}, "Position -13 of z 0.1 @-13 does not exist"),
        (pw.Node("q", 2, 1), "z", {"positions": [3, 12]}, "Position 12 does not exist: the prompts have positions 0 to 11"),
        (pw.Node("q", 2, 1), [pw.Node("z", 0, 1, pos=3)], {"positions": "each"}, "positions='each' was given, and a sender names its own"),
        (pw.Node("q", 2, 1, pos=[]), "z", {}, "has an empty list of positions"),
        (pw.Node("q", 2, 1), "z", {"freeze": "mlps"}, "freeze='mlps' is not known. Use 'heads'"),
        (pw.Node("q", 2, 1), "q", {}, "'q' can't be a sender of a path. It can be one of z, attn_out"),
        (pw.Node("q", 2, 1), [pw.Node("pattern", 0, 1)], {}, "'pattern' can't be a sender of a path"),
        (pw.Node("z", 2, 1), "z", {}, "'z' can't be a receiver of a path. It can be one of q, k, v"),
        (pw.Node("q", 4, 1), "z", {}, "Layer 4 does not exist"),
        (pw.Node("q", head=1), "z", {}, "The node q names no layer"),
        (pw.Node("q", 2, 4), "z", {}, "Head 4 does not exist: q has 0 to 3"),
        (pw.Node("k", 2, 2), "z", {}, "Key/value head 2 does not exist: k has 0 to 1"),
        (pw.Node("k_per_head", 2), "z", {}, "k_per_head 2 names no head"),
        (pw.Node("mlp_in", 2, head=1), "z", {}, "mlp_in 2.1 names a head, and mlp_in is not divided"),
        ([], "z", {}, "The list of receivers is empty"),
        (pw.Node("q", 2, 1), [], {}, "An empty list of senders was given"),
        (pw.Node("q", 2, 1), "z", {"source": "median"}, "source='median' is not known"),
    ],
)
def test_what_is_refused(receiver, senders, options, match):
    with pytest.raises(pw.PatchError) as error:
        tiny_experiment().paths(receiver, senders, **options)
    assert match in str(error.value)


def test_what_is_no_node():
    with pytest.raises(pw.SiteError, match=r"A pw\.Node was expected as a sender, and this is a str"):
        check_node(tiny_model(), "z", "sender", SENDERS)


@pytest.mark.parametrize(
    ("nodes", "match"),
    [
        ([pw.Node("z", 0, 1)], "A path leads from one node to another"),
        ([pw.Node("z", 2, 1), pw.Node("q", 1, 2), LOGITS], "q 1.2 can't receive from z 2.1"),
        ([pw.Node("z", 0, 1), pw.Node("q", 1, 2), pw.Node("k", 1, 0)], "k 1.0 can't receive from q 1.2"),
        ([pw.Node("q", 0, 1), LOGITS], "'q' can't be a sender"),
        ([pw.Node("z", 0, 1), pw.Node("resid_post", 1), LOGITS], "'resid_post' can't be a node between"),
        ([pw.Node("z", 0, 1), pw.Node("q", 1, 2), pw.Node("z", 3, 1)], "'z' can't be a receiver"),
        ([pw.Node("z", 0, 1), pw.Node("q", 1, 2, pos=12), LOGITS], "Position 12 of q 1.2 @12 does not exist"),
    ],
)
def test_chains_that_are_refused(nodes, match):
    with pytest.raises(pw.PatchError) as error:
        tiny_experiment().path(nodes)
    assert match in str(error.value)


def test_senders_share_passes():
    exp = tiny_experiment("llama")
    assert exp.baselines
    assert exp.runs.parity.ok
    passed, block = [], exp.model.anatomy.blocks[-1].module
    forward = block.forward
    block.forward = lambda *args, **kwargs: passed.append(1) or forward(*args, **kwargs)
    result = exp.paths(pw.Node("resid_post"), "z", progress=False)
    del block.forward
    assert result.values.size >= 16
    assert len(passed) <= 4
