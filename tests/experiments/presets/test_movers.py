"""The IOI recipe: head scores against weights and attention written out, and the paths it is built on."""

import numpy as np
import pytest
import torch

import patchwidget as pw
from patchwidget.experiments.presets.head_roles import copy_scores
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
