"""Mediation analysis against its definitions, written out with hooks: one forward for each component."""

import numpy as np
import pytest
import torch

import patchwidget as pw
from tests.zoo import tiny_model

X = [54, 12, 77, 31]  # "The nurse said that"
X_OTHER = [54, 80, 77, 31]  # "The man said that"
ANSWER, DISTRACTOR = 5, 7


def odds(hf, tokens, hooks=(), answers=(ANSWER, DISTRACTOR)):
    handles = [module.register_forward_pre_hook(hook) for module, hook in hooks]
    with torch.no_grad():
        probabilities = hf(torch.tensor([tokens])).logits[0, -1].softmax(-1)
    for handle in handles:
        handle.remove()
    return float(probabilities[answers[0]] / probabilities[answers[1]])


def neurons_of(hf, tokens, layer):
    found = []
    handle = hf.model.layers[layer].mlp.down_proj.register_forward_pre_hook(lambda module, args: found.append(args[0].clone()))
    with torch.no_grad():
        hf(torch.tensor([tokens]))
    handle.remove()
    return found[0]


def with_neurons(hf, layer, values, neurons):
    def hook(module, args):
        hidden = args[0].clone()
        hidden[0, 1, neurons] = values[0, 1, neurons]
        return (hidden,)

    return [(hf.model.layers[layer].mlp.down_proj, hook)]


def with_pattern(hf, tokens, layer, heads):
    """The output projection is given what the heads' patterns in another prompt make of this run's values; a literal attention by hand."""
    before = hf.config._attn_implementation
    hf.set_attn_implementation("eager")
    with torch.no_grad():
        patterns = hf(torch.tensor([tokens]), output_attentions=True).attentions[layer]
    hf.set_attn_implementation(before)
    attention, values = hf.model.layers[layer].self_attn, []
    n_heads, d_head = hf.config.num_attention_heads, hf.config.head_dim

    def keep(module, args, output):
        values.append(output.clone())

    def put(module, args):
        hidden = args[0].clone()
        value = values[-1].unflatten(-1, (-1, d_head)).transpose(1, 2)
        mixed = (patterns @ value.repeat_interleave(n_heads // value.shape[1], 1)).transpose(1, 2)
        by_head = hidden.unflatten(-1, (n_heads, d_head))
        by_head[:, :, heads] = mixed[:, :, heads]
        return (by_head.reshape(hidden.shape),)

    return attention.v_proj, keep, attention.o_proj, put


def odds_with_patterns(hf, tokens, other, layer, heads, answers=(ANSWER, DISTRACTOR)):
    v_proj, keep, o_proj, put = with_pattern(hf, other, layer, heads)
    handles = [v_proj.register_forward_hook(keep), o_proj.register_forward_pre_hook(put)]
    with torch.no_grad():
        probabilities = hf(torch.tensor([tokens])).logits[0, -1].softmax(-1)
    for handle in handles:
        handle.remove()
    return float(probabilities[answers[0]] / probabilities[answers[1]])


@pytest.fixture(scope="module")
def model():
    return tiny_model("llama")


@pytest.fixture(scope="module")
def measured(model):
    pairs = [pw.PromptPair(X_OTHER, X, ANSWER, DISTRACTOR, roles={"profession": 1})]
    pairs.append(pw.PromptPair([3, *X_OTHER[1:]], [3, *X[1:]], ANSWER, DISTRACTOR, roles={"profession": 1}))
    kinds = ("heads", "head_layers", "head_model", "neurons", "neuron_layers", "neuron_model")
    return pw.mediation(model, pairs, components=kinds, neurons=[0, 5, 9])


def test_total(model, measured):
    hf = model.hf
    assert float(measured.total[0]) == pytest.approx(odds(hf, X_OTHER) / odds(hf, X) - 1, rel=1e-3)
    assert float(measured["heads"].clean[0]) == pytest.approx(float(measured.total[0]))


def test_neurons(model, measured):
    hf, base = model.hf, odds(model.hf, X)
    result = measured["neurons"]
    assert result.values.dims == ("pair", "effect", "layer", "neuron")
    for layer in (0, 2):
        here, there = neurons_of(hf, X, layer), neurons_of(hf, X_OTHER, layer)
        for neuron in (0, 5, 9):
            indirect = odds(hf, X, with_neurons(hf, layer, there, [neuron])) / base - 1
            direct = odds(hf, X_OTHER, with_neurons(hf, layer, here, [neuron])) / base - 1
            cell = result.values.sel(pair=0, layer=layer, neuron=neuron)
            assert float(cell.sel(effect="indirect")) == pytest.approx(indirect, abs=1e-3 * max(1, abs(indirect)))
            assert float(cell.sel(effect="direct")) == pytest.approx(direct, abs=1e-3 * max(1, abs(direct)))
        every = list(range(here.shape[-1]))
        whole = odds(hf, X, with_neurons(hf, layer, there, every)) / base - 1
        together = measured["neuron_layers"].values.sel(pair=0, effect="indirect", layer=layer)
        assert float(together) == pytest.approx(whole, abs=1e-3 * max(1, abs(whole)))


def test_heads_by_their_patterns(model, measured):
    hf, base = model.hf, odds(model.hf, X)
    result = measured["heads"]
    assert result.values.dims == ("pair", "effect", "layer", "head")
    for layer, head in [(0, 1), (2, 3), (3, 0)]:
        indirect = odds_with_patterns(hf, X, X_OTHER, layer, [head]) / base - 1
        direct = odds_with_patterns(hf, X_OTHER, X, layer, [head]) / base - 1
        cell = result.values.sel(pair=0, layer=layer, head=head)
        assert float(cell.sel(effect="indirect")) == pytest.approx(indirect, abs=2e-3 * max(1, abs(indirect)))
        assert float(cell.sel(effect="direct")) == pytest.approx(direct, abs=2e-3 * max(1, abs(direct)))
    whole = odds_with_patterns(hf, X, X_OTHER, 1, [0, 1, 2, 3]) / base - 1
    assert float(measured["head_layers"].values.sel(pair=0, effect="indirect", layer=1)) == pytest.approx(
        whole, abs=2e-3 * max(1, abs(whole))
    )


def test_the_mean_is_that_of_examples_and_the_share_is_of_the_mean_total(measured):
    result = measured["heads"].mean()
    np.testing.assert_allclose(result.values, measured["heads"].values.mean("pair"), rtol=1e-5)
    np.testing.assert_allclose(result.recovery, result.values / float(measured.total.mean()), rtol=1e-4, atol=1e-6)
    assert measured["head_model"].values.dims == ("pair", "effect")
    assert measured["neuron_model"].values.dims == ("pair", "effect")
    frame = measured.to_frame()
    assert set(frame["component"]) == {"heads", "head_layers", "head_model", "neurons", "neuron_layers", "neuron_model"}
    assert measured.plot("heads").data
    assert measured.plot("head_layers").data[0].type == "bar"
    assert "mean total effect" in repr(measured)


def test_its_code_measures_it_again(model, measured):
    space = {"hf": model.hf, "tokenizer": None}
    exec(measured["neurons"].code(), space)
    np.testing.assert_allclose(space["result"].values, measured["neurons"].values, rtol=1e-4, atol=1e-5)


def test_a_pair_by_itself_is_a_task_of_one(model):
    pair = pw.PromptPair(X_OTHER, X, ANSWER, DISTRACTOR)
    one, several = (pw.mediation(model, task, components=["head_layers"]) for task in (pair, [pair]))
    np.testing.assert_array_equal(one["head_layers"].values, several["head_layers"].values)
    assert one.total.sizes == {"pair": 1}


def test_what_is_not_known(model, measured):
    pair = pw.PromptPair(X_OTHER, X, ANSWER, DISTRACTOR)
    with pytest.raises(pw.PatchError, match=r"components=.*is not known"):
        pw.mediation(model, [pair], components=["embeddings"])
    with pytest.raises(pw.SiteError, match="no roles"):
        pw.mediation(model, [pair], components=["neurons"])
    with pytest.raises(pw.PatchError, match="'values' was not measured"):
        measured["values"]


def test_gendered_pronouns_on_the_default_model(default_model):
    """Total, indirect and direct effects of all neurons of a layer, of single ones, and of heads, each against its own forwards."""
    hf, task = default_model.hf, pw.tasks.gendered_pronouns(default_model, 2, templates=["The {profession} said that"])
    layers, neurons, heads = [0, 15], [0, 700], range(hf.config.num_attention_heads)
    kinds = ["neuron_layers", "neurons", "heads"]
    measured = pw.mediation(default_model, task, components=kinds, layers=layers, neurons=neurons)
    assert (measured.total > 0).all()
    for number, pair in enumerate(task):
        answers = [default_model.encode(word, special=False)[0] for word in (pair.answer, pair.distractor)]
        there, here = (default_model.encode(prompt) for prompt in (pair.clean, pair.corrupted))
        base = odds(hf, here, answers=answers)
        assert float(measured.total[number]) == pytest.approx(odds(hf, there, answers=answers) / base - 1, rel=1e-3)
        for layer in layers:
            activations = {"indirect": neurons_of(hf, there, layer), "direct": neurons_of(hf, here, layer)}
            for effect, run in (("indirect", here), ("direct", there)):
                every = list(range(hf.config.intermediate_size))
                for name, chosen, place in [("neuron_layers", every, {}), ("neurons", [700], {"neuron": 700})]:
                    hooks = with_neurons(hf, layer, activations[effect], chosen)
                    expected = odds(hf, run, hooks, answers) / base - 1
                    found = measured[name].values.sel(pair=number, effect=effect, layer=layer, **place)
                    assert float(found) == pytest.approx(expected, abs=2e-3 * max(1, abs(expected)))
                head, other = heads[4], there if effect == "indirect" else here
                expected = odds_with_patterns(hf, run, other, layer, [head], answers) / base - 1
                found = measured["heads"].values.sel(pair=number, effect=effect, layer=layer, head=head)
                assert float(found) == pytest.approx(expected, abs=2e-3 * max(1, abs(expected)))


def test_all_heads_or_neurons_together_are_each_of_them_together(model):
    """A whole vector is patched as one; it is what patching each of its parts in one run gives."""
    experiment = pw.Experiment(model, pw.PromptPair(X_OTHER, X, ANSWER, DISTRACTOR))
    for site, options, n in (("mlp_post", "neuron", 64), ("z", "head", 4), ("pattern", "head", 4), ("v", "head", 2)):
        whole = experiment.sweep(site, positions="all", **{f"{options}s": [list(range(n))]})
        for layer in (0, 3):
            each = experiment.patch([pw.Patch(site, layer, **{options: i}) for i in range(n)])
            assert float(whole.values.sel(layer=layer).squeeze()) == pytest.approx(float(each.values), abs=1e-5)
