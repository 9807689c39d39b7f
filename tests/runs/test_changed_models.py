"""A model that changes between two questions: the second answer is the changed model's."""

import numpy as np
import pytest
from torch import nn

import patchwidget as pw
from tests.zoo import telling_pair, tiny_module


def knock_out_a_head(hf: nn.Module) -> None:
    hf.model.layers[0].self_attn.o_proj.weight.data[:, :8] = 0


def change_an_embedding(hf: nn.Module) -> None:
    """Of the first token, which is the same in both prompts and before all that a patch can change."""
    hf.model.embed_tokens.weight.data[54] *= 2


def change_the_unembedding(hf: nn.Module) -> None:
    hf.lm_head.weight.data *= 1.5


def add_a_hook(hf: nn.Module) -> None:
    def mark(module: nn.Module, args: tuple) -> tuple:
        hidden = args[0].clone()
        hidden[:, 1] = 1.0
        return (hidden, *args[1:])

    hf.model.layers[2].register_forward_pre_hook(mark)


def put_in_another_module(hf: nn.Module) -> None:
    hf.model.layers[1].mlp = nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 32))


def turn_faster(hf: nn.Module) -> None:
    """Rotary angles reach the blocks as arguments."""
    hf.model.rotary_emb.inv_freq.mul_(1.5)


def attend_otherwise(hf: nn.Module) -> None:
    """Each of them is one function on the CPU; the scale is what differs."""
    hf.set_attn_implementation("eager")
    hf.model.layers[3].self_attn.scaling *= 1.5


CHANGES = [knock_out_a_head, change_an_embedding, change_the_unembedding, add_a_hook, put_in_another_module, turn_faster, attend_otherwise]
QUESTIONS = {
    "sweep": lambda exp: exp.sweep("resid_mid").values.to_numpy(),
    "hooked": lambda exp: exp.sweep("z", executor="hooked").values.to_numpy(),
    "in order": lambda exp: exp.sweep("mlp_out", order="attribution").values.to_numpy(),
    "estimates": lambda exp: exp.attribute("attn_out").values.to_numpy(),
    "patch": lambda exp: exp.patch(pw.Patch("resid_pre", 3, pos=7)).values.to_numpy(),
    "search": lambda exp: exp.search(40).cells["effect"].to_numpy(float),
    "attention": lambda exp: exp.attention(3, 1).clean,
    "direction": lambda exp: exp.optimal_direction(1, 7, steps=2)[1].numpy(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("question", QUESTIONS)
def test_the_answer_is_that_of_the_model_as_it_is(change, question):
    ask, hf = QUESTIONS[question], tiny_module("llama")
    model = pw.wrap(hf)
    pair = telling_pair(model)
    exp = pw.Experiment(model, pair)
    before = ask(exp)
    change(hf)
    anew = ask(pw.Experiment(pw.wrap(hf), pair))
    after = ask(exp)
    if not (change is change_the_unembedding and question in ("search", "attention", "direction")):  # these have no unit, or no unembedding
        assert before.shape != anew.shape or np.abs(before - anew).max() > 1e-3, "a change that changes nothing tests nothing"
    np.testing.assert_allclose(after, anew, rtol=1e-4, atol=1e-5)


def test_a_list_of_pairs_notices_it_too():
    hf = tiny_module("llama")
    model = pw.wrap(hf)
    pairs = [telling_pair(model), telling_pair(model, [9, 3, 5, 8], [9, 4, 5, 8])]
    exp = pw.Experiment(model, pairs)
    exp.sweep("z")
    hf.model.embed_tokens.weight.data[3] += 1  # a token of the second pair alone
    np.testing.assert_allclose(exp.sweep("z").values, pw.Experiment(model, pairs).sweep("z").values, atol=1e-5)
    hf.lm_head.weight.data[pairs[1].answer] += 1  # and of its answer
    after, anew = exp.sweep("z"), pw.Experiment(model, pairs).sweep("z")
    np.testing.assert_allclose(after.values, anew.values, atol=1e-5)
    np.testing.assert_allclose(after.clean, anew.clean, atol=1e-5)


def test_a_metric_that_hardly_moves_hides_no_change():
    hf = tiny_module("llama")
    model = pw.wrap(hf)
    exp = pw.Experiment(model, telling_pair(model), "rank")
    exp.sweep("z")
    hf.model.layers[1].mlp.down_proj.weight.data *= 1.02
    np.testing.assert_array_equal(exp.sweep("z").values, pw.Experiment(model, exp.prompts[0], "rank").sweep("z").values)


def test_a_window_that_has_changed():
    hf = tiny_module("mistral")
    model = pw.wrap(hf)
    exp = pw.Experiment(model, telling_pair(model))
    exp.sweep("z")
    hf.config.sliding_window = 7
    for layer in hf.model.layers:
        layer.self_attn.sliding_window = 7
    np.testing.assert_allclose(exp.sweep("z").values, pw.Experiment(model, exp.prompts[0]).sweep("z").values, atol=1e-5)


def test_recordings_of_an_unchanged_model_are_kept(monkeypatch):
    from patchwidget.runs import recordings

    exp = pw.Experiment(model := pw.wrap(tiny_module("llama")), telling_pair(model))
    exp.sweep("z")
    monkeypatch.setattr(recordings, "record_together", None)  # would fail
    assert exp.sweep("z").ok


def test_weights_changed_in_mid_sweep_are_told():
    hf = tiny_module("llama")
    model = pw.wrap(hf)
    exp = pw.Experiment(model, [telling_pair(model), telling_pair(model, [9, 3, 5, 8], [9, 4, 5, 8])])
    vars(exp.runs.recordings)["pairs_at_once"] = 1
    sweep = exp.start("z")
    batches = iter(sweep)
    next(batches)
    exp.runs.recording("clean", pair=1)
    knock_out_a_head(hf)
    list(batches)
    assert sweep.done == sweep.total


# ---- hooks of the user's


def test_a_hook_by_position_is_hooked_and_said():
    hf = tiny_module("llama")
    add_a_hook(hf)
    model = pw.wrap(hf)
    exp = pw.Experiment(model, telling_pair(model))
    result = exp.sweep("z")
    assert result.info["executor"] == "hooked"
    assert "a forward hook of yours on model.layers.2" in result.info["why_hooked"]
    assert result.ok
    with pytest.raises(pw.ModelError, match=r"forward hook of yours on model\.layers\.2"):
        exp.sweep("z", executor="packed")
    with pytest.raises(pw.ModelError, match=r"forward hook of yours on model\.layers\.2"):
        exp.paths(pw.Node("q", 3, 0))


def test_a_hook_that_needs_a_longer_prompt_than_the_model_is_probed_with():
    hf, seen = tiny_module("llama"), []
    hf.model.layers[2].register_forward_pre_hook(lambda _, args: seen.append(args[0][:, 9]))
    exp = pw.Experiment(model := pw.wrap(hf), telling_pair(model))
    assert exp.sweep("resid_mid").ok
    assert seen
    hf.model.layers[2].register_forward_pre_hook(lambda _, args: args[0][:, 1000])
    with pytest.raises(pw.ModelError, match=r"A forward hook of yours, on model\.layers\.2, fails"):
        _ = pw.wrap(hf).anatomy


def test_hooks_that_belong_to_the_network_stay_packed():
    hf = tiny_module("llama")
    nn.utils.spectral_norm(hf.model.layers[1].mlp.down_proj)
    hf.model.embed_tokens.register_forward_hook(lambda _, __, output: output.requires_grad_())  # of no block
    getattr(hf, "activation_checkpointing_enable", hf.gradient_checkpointing_enable)()  # its name before transformers 5
    hf.eval()
    exp = pw.Experiment(model := pw.wrap(hf), telling_pair(model))
    result = exp.sweep("z")
    assert result.ok
    assert result.info["executor"] == "packed"


# ---- what fails on the packed executor


def test_a_failed_proof_falls_back_to_the_hooked_executor(monkeypatch):
    from patchwidget.engine.executors.packed import PackedExecutor

    attend = PackedExecutor._attend
    monkeypatch.setattr(PackedExecutor, "_attend", lambda self, *args, **kw: (2 * attend(self, *args, **kw)[0], None))
    exp = pw.Experiment(model := pw.wrap(tiny_module("llama")), telling_pair(model))
    exact = pw.Experiment(model, exp.prompts[0]).sweep("z", executor="hooked")
    for ask in ({}, {"order": "attribution"}):
        result = exp.sweep("z", **ask)
        np.testing.assert_allclose(result.values, exact.values, atol=1e-5)
        assert result.ok
        assert result.info["executor"] == "hooked"
        assert "its proof fails there (identity patch" in result.info["why_hooked"]
    found = exp.search(60)
    assert found.ok
    with pytest.warns(UserWarning, match="can't be relied on: identity patch"):
        insisted = exp.sweep("z", executor="packed")
    assert not insisted.ok
