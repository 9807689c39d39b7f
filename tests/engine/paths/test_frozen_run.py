"""Path patching against a widely used helper's numbers, and against forwards in which hooks hold everything literally."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

import patchwidget as pw
from tests.engine.paths.path_oracle import Oracle
from tests.zoo import PARALLEL, REFERENCE, telling_pair, tiny_experiment, tiny_model

# serial, parallel, post-norm and scaled blocks; as many key/value heads as heads, fewer, one; experts; attention sinks
ARCHITECTURES = [
    *("gpt2", "llama", "gemma2", "qwen2", "phi", "gemma3_text", "gpt_neox", "mistral"),
    *("olmo2", "cohere2", "granite", "opt", "mixtral", "gpt_bigcode", "gpt_oss"),
]
RECEIVERS = [("q", 2, 1), ("k", 2, 0), ("v", 3, 0), ("mlp_in", 2, None), ("resid_post", 3, None)]
SENDERS = [("z", 0, 3), ("z", 1, 1), ("z", 2, 2), ("z", 3, 0), *(("mlp_out", layer, None) for layer in range(4))]
LENGTH = 12


@pytest.fixture(scope="module")
def reference():
    folder = REFERENCE / "gpt2"
    numbers = json.loads((folder / "transformerlens.json").read_text())
    model = pw.wrap(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), name="gpt2")
    pair = pw.PromptPair(numbers["clean"], numbers["corrupted"], numbers["answer"], numbers["distractor"])
    grids = {(entry["rule"], entry["receiver"]): np.array(entry["grid"]) for entry in numbers["path_patching"]["results"]}
    return pw.Experiment(model, pair, direction="noise"), grids


@pytest.mark.parametrize("rule", ["mlps_recomputed", "skip_connection_only"])
@pytest.mark.parametrize(
    ("name", "receiver"),
    [
        ("logits", pw.Node("resid_post", layer=3)),
        ("q 3.1", pw.Node("q", layer=3, head=1)),
        ("k 3.1", pw.Node("k", layer=3, head=1)),
        ("v 2.2", pw.Node("v", layer=2, head=2)),
        ("mlp_in 3", pw.Node("mlp_in", layer=3)),
    ],
)
def test_reference(reference, name, receiver, rule):
    experiment, grids = reference
    result = experiment.paths(receiver, senders="z", freeze={"mlps_recomputed": "heads", "skip_connection_only": "all"}[rule])
    ours, theirs = result.values.to_numpy(), grids[rule, name]
    assert result.values.dims == ("layer", "head")
    assert result.ok, result.checks
    if (rule, name) == ("skip_connection_only", "mlp_in 3"):
        # To hold MLPs, the helper hooks whatever ends in "post", which is the residual stream after each block, too: so nothing of earlier
        # blocks arrives there at all. In the MLP's own block, where that does not matter, the numbers are the same.
        np.testing.assert_allclose(theirs[:3], experiment.baselines.clean, atol=2e-4)
        assert np.abs(ours[:3] - theirs[:3]).min() > 0
        ours, theirs = ours[3], theirs[3]
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


def gap(experiment) -> float:
    return abs(experiment.baselines.clean - experiment.baselines.corrupted)


@pytest.mark.parametrize(
    ("architecture", "freeze"), [*((name, "heads") for name in ARCHITECTURES), *((name, "all") for name in ARCHITECTURES[::2])]
)
def test_against_literal_freezing(architecture, freeze):
    experiment = tiny_experiment(architecture)
    oracle = Oracle(experiment)
    results = {
        (senders, receiver): experiment.paths(pw.Node(*receiver), senders, freeze) for senders in ("z", "mlp_out") for receiver in RECEIVERS
    }
    assert all(result.ok for result in results.values()), [result.checks for result in results.values() if not result.ok]
    moved = dict.fromkeys(results, 0.0)
    for senders, layer, head in SENDERS:
        seen = oracle.at_receivers(oracle.send(senders, layer, head), freeze)
        for site, receiver_layer, receiver_head in RECEIVERS:
            result = results[senders, (site, receiver_layer, receiver_head)]
            value = float(result.values.sel({"layer": layer} | ({} if head is None else {"head": head})))
            if senders == "mlp_out" and site == "mlp_in" and layer == receiver_layer:
                literal = experiment.runs.value_of(experiment.runs.base)  # an MLP does not come before itself
            else:
                literal = oracle.receive(seen, [(site, receiver_layer, receiver_head, range(LENGTH))])
            assert value == pytest.approx(literal, abs=2e-5 * max(1, gap(experiment))), (senders, layer, head, site)
            place = senders, (site, receiver_layer, receiver_head)
            moved[place] = max(moved[place], abs(literal - experiment.runs.value_of(experiment.runs.base)))
    assert all(size > 2e-4 * gap(experiment) for size in moved.values()), moved  # each receiver hears something of each kind of sender


@pytest.mark.parametrize("freeze", ["heads", "all"])
@pytest.mark.parametrize("architecture", ["llama", "phi", "gemma2"])
def test_chosen_positions_of_senders_and_receivers(architecture, freeze):
    experiment = tiny_experiment(architecture, direction="noise")
    oracle = Oracle(experiment)
    receiver = pw.Node("k", 3, 1, pos=[6, 7, 9])
    node = pw.Node("z", 1, 2, pos=[4, 7, 8])
    result = experiment.paths(receiver, [node, pw.Node("z", 1, 2)], freeze)
    for label, positions in [("z 1.2 @[4, 7, 8]", [4, 7, 8]), ("z 1.2", None)]:
        seen = oracle.at_receivers(oracle.send("z", 1, 2, positions), freeze)
        literal = oracle.receive(seen, [("k", 3, 1, [6, 7, 9])])
        assert float(result.values.sel(sender=label)) == pytest.approx(literal, abs=1e-4)
    each = experiment.paths(receiver, "z", freeze, positions="each")
    assert each.values.dims == ("layer", "pos", "head")
    for position in (5, 7):
        literal = oracle.receive(oracle.at_receivers(oracle.send("z", 1, 2, [position]), freeze), [("k", 3, 1, [6, 7, 9])])
        assert float(each.values.sel(layer=1, pos=position, head=2)) == pytest.approx(literal, abs=1e-4)
        if position == 5:  # not one of the receiver's, and nothing crosses positions on the way
            assert literal == pytest.approx(experiment.runs.value_of("clean"), abs=1e-4)


@pytest.mark.parametrize("freeze", ["heads", "all"])
@pytest.mark.parametrize("architecture", ["llama", "gpt_neox", "olmo2"])
def test_several_receivers_are_all_overwritten(architecture, freeze):
    experiment = tiny_experiment(architecture)
    oracle = Oracle(experiment)
    places = [("v", 2, 0), ("q", 3, 1), ("mlp_in", 3, None)]
    nodes = [pw.Node(*place) for place in places]
    result = experiment.paths(nodes, [pw.Node("z", 0, 1, pos=7), pw.Node("mlp_out", 1), pw.Node("z", 2, 1)], freeze)
    assert result.ok, result.checks
    for label, sender in [
        ("z 0.1 @7", oracle.send("z", 0, 1, [7])),
        ("mlp_out 1", oracle.send("mlp_out", 1)),
        ("z 2.1", oracle.send("z", 2, 1)),
    ]:
        seen, base = oracle.at_receivers(sender, freeze), experiment.runs.value_of(experiment.runs.base)
        # what the sender does not come before stays as it runs: it has nothing to be overwritten with
        behind = [place for place in places if not (label == "z 2.1" and place[0] == "v")]
        literal = oracle.receive(seen, [(*place, range(LENGTH)) for place in behind])
        assert float(result.values.sel(sender=label)) == pytest.approx(literal, abs=1e-4)
        assert abs(literal - base) > 1e-4


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("site", ["k_per_head", "v_per_head"])
def test_keys_and_values_as_one_query_head_sees_them(site, kv_heads):
    model = tiny_model("llama", num_key_value_heads=kv_heads)
    experiment = pw.Experiment(model, telling_pair(model))
    oracle = Oracle(experiment)
    result = experiment.paths(pw.Node(site, 2, 3), "z")
    assert result.ok, result.checks
    for layer, head in [(0, 1), (1, 2)]:
        literal = oracle.receive(oracle.at_receivers(oracle.send("z", layer, head), "heads"), [(site, 2, 3, range(LENGTH))])
        assert float(result.values.sel(layer=layer, head=head)) == pytest.approx(literal, abs=1e-4)
    both = experiment.paths([pw.Node(each, 2, 3) for each in ("k_per_head", "v_per_head")], [pw.Node("z", 0, 1)])
    seen = oracle.at_receivers(oracle.send("z", 0, 1), "heads")
    literal = oracle.receive(seen, [("k_per_head", 2, 3, range(LENGTH)), ("v_per_head", 2, 3, range(LENGTH))])
    assert float(both.values[0]) == pytest.approx(literal, abs=1e-4)
    if kv_heads == 4:
        whole = experiment.paths(pw.Node(site[0], 2, 3), "z")
        np.testing.assert_allclose(result.values, whole.values, atol=1e-5)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2", "gpt_neox", "olmo2", "granite"])
def test_a_chain_hop_by_hop(architecture):
    experiment = tiny_experiment(architecture)
    oracle = Oracle(experiment)
    chain = [pw.Node("z", 0, 1), pw.Node("q", 1, 2), pw.Node("mlp_in", 2), pw.Node("z", 3, 0), pw.Node("resid_post")]
    result = experiment.path(chain)
    assert result.values.dims == ()
    assert result.ok, result.checks

    def behind(edits, place):
        """What a base run with these edits has at a place, as a sender."""
        seen = oracle.forward(edits)[1]
        return {place: lambda x: seen[place]}

    everywhere = range(LENGTH)
    at_query = oracle.at_receivers(oracle.send("z", 0, 1), "all")
    head = behind({("q", 1): oracle.put("q", 1, 2, everywhere, at_query)}, ("z", 1))
    at_mlp = oracle.at_receivers(head, "all")
    mlp = behind({("mlp_in", 2): oracle.put("mlp_in", 2, None, everywhere, at_mlp)}, ("mlp_out", 2))
    at_head = oracle.at_receivers(mlp, "all")
    inputs = {(site, 3): oracle.put(site, 3, None, everywhere, at_head) for site in ("q", "k", "v")}
    outputs = oracle.forward(inputs)[1]
    at_end = oracle.at_receivers({("z", 3): oracle.put("z", 3, 0, everywhere, outputs)}, "all")
    literal = oracle.receive(at_end, [("resid_post", 3, None, everywhere)])
    assert float(result.values) == pytest.approx(literal, abs=1e-4)
    assert abs(literal - experiment.runs.value_of(experiment.runs.base)) > 1e-5


def test_a_chain_passes_only_the_positions_of_its_nodes():
    experiment = tiny_experiment("llama")
    oracle = Oracle(experiment)
    result = experiment.path([pw.Node("z", 0, 1, pos=[4, 7]), pw.Node("z", 2, 3, pos=[8, 9]), pw.Node("v", 3, 1)])
    seen = oracle.at_receivers(oracle.send("z", 0, 1, [4, 7]), "all")
    inputs = {(site, 2): oracle.put(site, 2, None, range(LENGTH), seen) for site in ("q", "k", "v")}
    outputs = oracle.forward(inputs)[1]
    seen = oracle.at_receivers({("z", 2): oracle.put("z", 2, 3, [8, 9], outputs)}, "all")
    assert float(result.values) == pytest.approx(oracle.receive(seen, [("v", 3, 1, range(LENGTH))]), abs=1e-4)


@pytest.mark.parametrize("architecture", ["llama", *sorted(PARALLEL)])
def test_in_a_parallel_block_a_head_does_not_come_before_the_mlp_beside_it(architecture):
    experiment = tiny_experiment(architecture)
    beside = experiment.paths(pw.Node("mlp_in", 2), "z").values.sel(layer=2).to_numpy()
    difference = np.abs(beside - experiment.runs.value_of(experiment.runs.base)).max()
    if architecture in PARALLEL:
        assert difference == 0
        with pytest.raises(pw.SiteError, match=r"mlp_in 2 can't receive from z 2\.0, which does not come before it"):
            experiment.paths(pw.Node("mlp_in", 2), [pw.Node("z", 2, 0)])
    else:
        assert difference > 1e-3


def test_long_walks_are_cut_with_the_same_values(monkeypatch):
    from patchwidget.engine.paths import frozen_run

    experiment = tiny_experiment("qwen2")
    whole = experiment.paths(pw.Node("q", 3, 1), "z", positions="each").values
    original = frozen_run.FrozenRun.__init__
    monkeypatch.setattr(frozen_run.FrozenRun, "__init__", lambda self, *given: original(self, *given[:3], max_rows=5))
    np.testing.assert_allclose(experiment.paths(pw.Node("q", 3, 1), "z", positions="each").values, whole, atol=1e-5)
