"""The IOI recipe: head scores against weights and attention written out, and the paths it is built on."""

import numpy as np
import pytest
import torch
import xarray as xr

import patchwidget as pw
from patchwidget.experiments.presets.head_roles import copy_scores
from tests.engine.executors.test_hooked_families import family_experiment
from tests.engine.paths.path_oracle import Oracle
from tests.zoo import tiny_model

ROLES = {"IO": 1, "S1": 3, "S2": 6, "END": -1}


def ioi_like(model, n=2):
    """Pairs of random tokens with the roles of the task: the first name, the second name, and the second one again."""
    pairs = []
    for k in range(n):
        clean = [3 + k, 20 + k, 5, 40 + k, 6, 7, 40 + k, 8, 9]
        corrupted = [3 + k, 60 + k, 5, 70 + k, 6, 7, 80 + k, 8, 9]
        pairs.append(pw.PromptPair(clean, corrupted, 20 + k, 40 + k, roles=ROLES))
    return pairs


def test_copy_scores_are_those_of_the_weights():
    """The circuit written out with GPT-2's own weights: norm, value, output, norm, unembedding."""
    model = tiny_model("gpt2")
    hf = model.hf
    places = [(list(pair.clean), 1) for pair in ioi_like(model, 8)]
    copied, against = copy_scores(model, places, among=10)
    expected = np.zeros((2, 4, 4))
    with torch.no_grad():
        for tokens, position in places:
            name = hf(torch.tensor([tokens]), output_hidden_states=True).hidden_states[1][0, position]
            for layer, block in enumerate(hf.transformer.h):
                value = (block.ln_1(name) @ block.attn.c_attn.weight + block.attn.c_attn.bias)[64:].reshape(4, 8)
                for head in range(4):
                    written = value[head] @ block.attn.c_proj.weight[8 * head : 8 * head + 8]
                    for i, sign in enumerate((1, -1)):
                        logits = hf.lm_head(hf.transformer.ln_f(sign * written))
                        expected[i, layer, head] += tokens[position] in logits.topk(10).indices
    np.testing.assert_allclose([copied, against], expected / len(places), atol=1e-6)
    assert 0 < copied.mean() < 1


def test_attention_scores_are_those_of_the_model():
    model = tiny_model("llama")
    pairs = ioi_like(model)
    roles = pw.head_roles(model, pairs, length=6, samples=2)
    model.hf.set_attn_implementation("eager")
    with torch.no_grad():
        patterns = [torch.stack(model.hf(torch.tensor([pair.clean]), output_attentions=True).attentions)[:, 0] for pair in pairs]
        repeated = [
            torch.stack(model.hf(torch.tensor([pair.clean]), output_attentions=True).attentions)[:, 0]
            for pair in pw.tasks.induction(model, 2, length=6)
        ]
    mean = torch.stack(patterns).mean(0)
    np.testing.assert_allclose(roles["attention_to_io"], mean[:, :, 8, 1], atol=1e-5)
    np.testing.assert_allclose(roles["attention_to_s"], mean[:, :, 8, 3] + mean[:, :, 8, 6], atol=1e-5)
    np.testing.assert_allclose(roles["s_inhibition"], mean[:, :, 8, 6], atol=1e-5)
    mean = torch.stack(repeated).mean(0)
    for name, back in (("induction", 5), ("duplicate_token", 6), ("previous_token", 1)):
        expected = sum(mean[:, :, i, i - back] for i in range(6, 11)) / 5
        np.testing.assert_allclose(roles[name], expected, atol=1e-5)
    np.testing.assert_allclose(roles["name_mover"], roles["attention_to_io"] * roles["copy_score"])


class Literal:
    """The paper's loop: for each head and prompt one forward in which all other heads are held, and one that is given what arrives."""

    def __init__(self, model, pairs):
        experiments = [pw.Experiment(model, pair, direction="noise") for pair in pairs]
        self.oracles = [Oracle(experiment) for experiment in experiments]
        self.clean, self.corrupted = (np.mean([e.runs.value_of(run) for e in experiments]) for run in ("clean", "corrupted"))

    def effect(self, head, receivers):
        """The share of the answer that is lost on the way from a head to these receivers [(site, layer, head)], of all pairs."""
        values = []
        for oracle in self.oracles:
            places = [(*receiver, range(len(oracle.base_tokens))) for receiver in receivers]
            values.append(oracle.receive(oracle.at_receivers(oracle.send("z", *head), "heads"), places))
        return (self.clean - np.mean(values)) / (self.clean - self.corrupted)

    def strongest(self, effects, most, threshold, sign=1):
        chosen = sorted(effects, key=lambda head: -sign * effects[head])[:most]
        return [head for head in chosen if sign * effects[head] >= threshold]


def test_the_recipe_is_the_papers_loop():
    model = tiny_model("llama", seed=2)  # in which every step finds something
    pairs, most, threshold = ioi_like(model), 3, 0.001
    found, literal = pw.find_movers(model, pairs, most=most, threshold=threshold), Literal(model, pairs)
    heads = [(layer, head) for layer in range(4) for head in range(4)]
    receivers = [("resid_post", 3, None)]
    for result, part, site in [
        (found.to_logits, found.name_movers, "q"),
        (found.to_queries, found.s_inhibition, "v_per_head"),
        (found.to_values, found.early, None),
    ]:
        effects = {head: literal.effect(head, receivers) for head in heads}
        np.testing.assert_allclose(result.mean().effect.to_numpy().ravel(), list(effects.values()), atol=1e-4)
        assert part == literal.strongest(effects, most, threshold)
        if site == "q":
            assert found.negative_movers == literal.strongest(effects, most, threshold, -1)
        receivers = [(site, *head) for head in part if head[0] > 0]


def test_on_the_default_model(default_model):
    """What is found in the notebook by hand; some heads of each step and their scores against forwards by hand."""
    pairs = pw.tasks.ioi(default_model, 1, corruption="ABC")
    found, literal = pw.find_movers(default_model, pairs), Literal(default_model, pairs)
    assert found.name_movers[0] == (23, 3)
    assert (20, 0) in found.s_inhibition
    receivers = [("resid_post", 29, None)]
    for result, part, site in [
        (found.to_logits, found.name_movers, "q"),
        (found.to_queries, found.s_inhibition, "v_per_head"),
        (found.to_values, found.early, None),
    ]:
        assert result.ok, result.checks
        for layer, head in [part[0], (11, 5)]:
            expected = literal.effect((layer, head), receivers)
            assert float(result.mean().effect.sel(layer=layer, head=head)) == pytest.approx(expected, abs=1e-3)
        receivers = [(site, *head) for head in part if head[0] > 0]

    hf, before = default_model.hf, default_model.hf.config._attn_implementation
    hf.set_attn_implementation("eager")
    to_io = []
    for experiment in (oracle.experiment for oracle in literal.oracles):
        with torch.no_grad():
            patterns = hf(torch.tensor([experiment.pair.clean]), output_attentions=True).attentions
        end, io = (experiment.pair.roles[role][0][0] for role in ("END", "IO"))
        to_io.append(torch.stack([pattern[0, :, end, io] for pattern in patterns]))
    hf.set_attn_implementation(before)
    np.testing.assert_allclose(found.roles["attention_to_io"], torch.stack(to_io).mean(0), atol=1e-4)


def test_a_model_whose_attention_can_not_be_read():
    model = family_experiment("bloom").model
    with pytest.raises(pw.ModelError, match="attention of bloom can't be intercepted, so its patterns can't be read"):
        pw.head_roles(model, ioi_like(model))


def test_the_recipe_goes_back_from_the_logits():
    model = tiny_model("llama")
    pairs = ioi_like(model)
    found = pw.find_movers(model, pairs, most=2, threshold=0.001)
    experiment = pw.Experiment(model, pairs, direction="noise")
    direct = experiment.paths(pw.Node("resid_post"))
    np.testing.assert_allclose(found.to_logits.values, direct.values, atol=1e-5)
    effect = direct.mean().effect.to_numpy()
    best = np.unravel_index(np.argsort(-effect.ravel())[0], effect.shape)
    assert found.name_movers[0] == tuple(int(i) for i in best)
    worst = np.unravel_index(np.argmin(effect), effect.shape)
    assert found.negative_movers[0] == tuple(int(i) for i in worst)
    receivers = [pw.Node("q", *head) for head in found.name_movers if head[0] > 0]
    queries = experiment.paths(receivers)
    np.testing.assert_allclose(found.to_queries.values, queries.values, atol=1e-5)
    frame = found.to_frame()
    assert len(frame) == sum(map(len, (found.name_movers, found.negative_movers, found.s_inhibition, found.early)))
    assert {"part", "layer", "head", "effect", "name_mover", "induction"} <= set(frame.columns)
    assert "name movers" in [trace.name for trace in found.plot().data]
    with pytest.raises(pw.PatchError, match="No head carries 10000% of the answer"):
        pw.find_movers(model, pairs, threshold=100)
    with pytest.raises(pw.PromptError, match="The prompts lack the roles END"):
        pw.head_roles(model, [pw.PromptPair(pairs[0].clean, pairs[0].corrupted, 1, 2, roles={"IO": 1, "S1": 3, "S2": 6})])


def test_a_pair_by_itself_is_a_task_of_one():
    model = tiny_model("llama")
    (pair,) = ioi_like(model, 1)
    xr.testing.assert_identical(pw.head_roles(model, pair), pw.head_roles(model, [pair]))
    found, several = (pw.find_movers(model, task, most=1, threshold=0.001) for task in (pair, [pair]))
    assert found.name_movers == several.name_movers
    np.testing.assert_allclose(found.to_frame()["effect"], several.to_frame()["effect"], atol=1e-5)


def test_what_is_missing_is_told_before_anything_is_run(monkeypatch):
    monkeypatch.setattr(pw.Experiment, "paths", lambda *args, **options: pytest.fail("paths were run"))
    model = tiny_model("llama")
    with pytest.raises(pw.PromptError, match="lack the roles END, IO, S1, S2"):
        pw.find_movers(model, pw.PromptPair([1, 2, 3], [1, 4, 3], 5, 7))
    for task in (pw.find_movers, pw.head_roles):
        with pytest.raises(pw.PromptError, match="The list of pairs is empty"):
            task(model, [])
