"""A ladder is one steered forward for each strength, in one pass."""

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

import patchwidget as pw
from patchwidget import ModelError, PatchError, PromptError, Steer, SteeringVector
from patchwidget.engine.executors.packed import PackedExecutor
from tests.engine.test_isolation import traces_of
from tests.zoo import CLEAN, PACKED, tiny_model

STRENGTHS = [-2.0, -0.5, 0.0, 0.3, 1.0, 2.0]


def vector_for(model: pw.Model, site: str = "resid_post", layers=(1,)) -> SteeringVector:
    generator = torch.Generator().manual_seed(1)
    return SteeringVector({layer: 2 * torch.randn(model.d_model, generator=generator) for layer in layers}, site)


def check(model: pw.Model, prompt, steers: list[Steer], ladder, vary: int = 0) -> None:
    """Every number against a steered forward of its own."""
    base = model.logits(prompt)[-1].log_softmax(-1)
    for i, strength in enumerate(ladder.strengths.tolist()):
        old = steers[vary]
        changed = Steer(old.vector, strength, old.layers, old.positions, old.operator, old.unit, old.schedule)
        ours = model.logits(prompt, [*steers[:vary], changed, *steers[vary + 1 :]])[-1].log_softmax(-1)
        expected = ours.exp()[ladder.probabilities["id"].to_numpy()]
        assert ladder.probabilities.to_numpy()[i] == pytest.approx(expected.numpy(), abs=2e-5)
        assert ladder.kl[i] == pytest.approx(float((base.exp() * (base - ours)).sum()), abs=1e-3)
        best = ours.exp().topk(3)
        assert [text for text, _ in ladder.top[i][:3]] == [model.token_text(int(token)) for token in best.indices]
        assert [p for _, p in ladder.top[i][:3]] == pytest.approx(best.values.tolist(), abs=2e-5)
    assert ladder.base_probabilities.to_numpy() == pytest.approx(base.exp()[ladder.base_probabilities["id"].to_numpy()].numpy(), abs=1e-6)


@pytest.mark.parametrize("name", PACKED)
def test_it_equals_one_steered_forward_per_strength(name):
    model = tiny_model(name)
    steer = Steer(vector_for(model))
    ladder = model.ladder(CLEAN, steer, STRENGTHS, tokens=[5, 7])
    assert ladder.info["executor"] == "packed"
    check(model, CLEAN, [steer], ladder)
    assert ladder.kl[2] < 1e-5 < ladder.kl[0]


@pytest.mark.parametrize("name", ["falcon", "mamba"])
def test_models_that_can_not_be_packed_take_forwards(name):
    model = tiny_model(name)
    steer = Steer(vector_for(model))
    ladder = model.ladder(CLEAN, steer, STRENGTHS)
    assert ladder.info["executor"] == "hooked"
    check(model, CLEAN, [steer], ladder)
    with pytest.raises(ModelError, match="can't run"):
        model.ladder(CLEAN, steer, STRENGTHS, executor="packed")


@pytest.mark.parametrize("executor", ["packed", "hooked"])
@pytest.mark.parametrize("operator", ["add", "project_out", "cap"])
@pytest.mark.parametrize("site", ["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"])
def test_every_site_and_operator(site, operator, executor):
    model = tiny_model("llama")
    steer = Steer(vector_for(model, site, layers=(1, 3)), positions=(3, -1), operator=operator)
    check(model, CLEAN, [steer], model.ladder(CLEAN, steer, [-2.0, 0.0, 0.3], executor=executor))


@pytest.mark.parametrize("executor", ["packed", "hooked"])
def test_several_steers_of_which_one_varies(executor):
    model = tiny_model("llama")
    first = vector_for(model)
    second = SteeringVector(
        {2: 2 * torch.randn(32, generator=torch.Generator().manual_seed(5))}, "resid_pre"
    )  # the same place as the first
    third = Steer(first.project_out(SteeringVector({1: second[2]})), 0.7, operator="cap", schedule=lambda i: 1 - i / 20)
    steers = [Steer(first, 0.5), Steer(second, 1.0, operator="project_out"), third, Steer(first, -0.3)]
    for vary in range(4):
        check(model, CLEAN, steers, model.ladder(CLEAN, steers, [-1.0, 0.5, 2.0], vary=vary, executor=executor), vary)


def test_positions_that_the_prompt_does_not_have_change_nothing():
    model = tiny_model("llama")
    ladder = model.ladder(CLEAN, Steer(vector_for(model), positions="generated"), STRENGTHS)
    assert not ladder.kl.any()


def test_it_is_one_walk(monkeypatch):
    walks = []
    original = PackedExecutor._walk
    monkeypatch.setattr(PackedExecutor, "_walk", lambda self, plans: walks.append(len(plans)) or original(self, plans))
    model = tiny_model("llama")
    before = traces_of(model.hf)
    ladder = model.ladder(CLEAN, vector_for(model), np.linspace(-2, 2, 33))
    assert walks == [32]  # strength 0 needs none
    assert traces_of(model.hf) == before
    forwards = []
    handle = model.hf.register_forward_hook(lambda *_: forwards.append(1))
    again = model.ladder(CLEAN, vector_for(model), np.linspace(-2, 2, 33), runs=ladder.info["runs"])
    handle.remove()
    assert len(forwards) == 1  # it is checked anew, and the prompt's run is there already
    assert (again.kl == ladder.kl).all()
    assert again.info["runs"] is ladder.info["runs"]


def test_where_the_packed_executor_does_not_prove_itself_plain_forwards_are_taken():
    model = tiny_model("diffllama")  # its attention mixes heads behind what the packed executor sees
    steer = Steer(vector_for(model))
    with pytest.warns(UserWarning, match=r"not right for diffllama.*steered forward.*Plain forwards were taken instead"):
        ladder = model.ladder(CLEAN, steer, STRENGTHS)
    assert ladder.info["executor"] == "hooked"
    assert ladder.ok
    check(model, CLEAN, [steer], ladder)
    with pytest.warns(UserWarning, match="Use executor='hooked'"):
        insisted = model.ladder(CLEAN, steer, STRENGTHS, executor="packed")
    assert insisted.info["executor"] == "packed"
    assert not insisted.ok
    assert "FAILED: steered" in repr(insisted)


def test_a_model_that_has_changed_is_recorded_anew():
    model = tiny_model("llama")
    steer = Steer(vector_for(model))
    first = model.ladder(CLEAN, steer, STRENGTHS)
    assert [check.name for check in first.checks] == ["unsteered", "steered", "hooks fired"]
    assert first.ok
    model.hf.model.layers[0].self_attn.o_proj.weight.data[:, :8] = 0
    again = model.ladder(CLEAN, steer, STRENGTHS, runs=first.info["runs"])
    assert again.info["executor"] == "packed"
    check(model, CLEAN, [steer], again)


@pytest.mark.parametrize("executor", ["auto", "packed", "hooked"])
def test_a_strength_that_is_too_great_is_told(executor):
    model = tiny_model("llama")
    with pytest.raises(ModelError, match=r"logits are (not finite|all the same) at strength 1e\+38.*Lower the strength"):
        model.ladder(CLEAN, Steer(vector_for(model)), [1.0, 1e38], executor=executor)


def test_what_it_shows(default_model):
    vector = SteeringVector.from_pairs(default_model, ["I love it, it is wonderful"], ["I hate it, it is terrible"], 15)
    ladder = default_model.ladder("I think the film was very", vector, [-2, 0, 2], tokens=[" good", " bad"])
    frame = ladder.to_frame()
    assert list(frame.columns) == ["strength", "kl", "likeliest", "p(' good')", "p(' bad')"]
    assert ladder.probabilities.sel(token=" good").to_numpy().tolist() == frame["p(' good')"].tolist()
    alone = default_model.ladder("I think the film was very", vector, [2], tokens=" good", runs=ladder.info["runs"])
    assert alone.probabilities.to_numpy()[0] == pytest.approx([frame["p(' good')"].iloc[-1]], abs=1e-5)
    ratio = np.log(frame["p(' good')"] / frame["p(' bad')"])
    assert ratio.is_monotonic_increasing
    figure = ladder.plot()
    assert isinstance(figure, go.Figure)
    assert [trace.name for trace in figure.data] == ["' good'", "' bad'", "KL"]
    assert list(figure.data[0].y) == frame["p(' good')"].tolist()
    assert "3 strengths from -2 to 2" in repr(ladder)
    check(default_model, "I think the film was very", [Steer(vector)], ladder)


def test_what_is_refused():
    model = tiny_model("llama")
    vector = vector_for(model)
    for strengths in ([], [1.0, float("inf")], [float("nan")]):
        with pytest.raises(PatchError, match="The strengths are"):
            model.ladder(CLEAN, vector, strengths)
    with pytest.raises(PatchError, match="executor='fast' is not known"):
        model.ladder(CLEAN, vector, [1.0], executor="fast")
    with pytest.raises(PatchError, match="vary=1, and there are 1 steers"):
        model.ladder(CLEAN, vector, [1.0], vary=1)
    with pytest.raises(PatchError, match="there are 0 steers"):
        model.ladder(CLEAN, None, [1.0])
    with pytest.raises(PromptError, match="A ladder is of one prompt"):
        model.ladder(torch.tensor([CLEAN, CLEAN]), vector, [1.0])
    for options in ({"k": 0}, {"tokens": 0}):
        with pytest.raises(PatchError, match="can't be followed"):
            model.ladder(CLEAN, vector, [1.0], **options)
    with pytest.raises(PromptError, match="Token 99 does not exist"):
        model.ladder(CLEAN, vector, [1.0], tokens=[99])


def test_a_number_of_tokens_follows_all_that_are_among_so_many_likeliest():
    model = tiny_model("llama")
    ladder = model.ladder(CLEAN, Steer(vector_for(model)), STRENGTHS, tokens=3)
    texts = {text for top in [*ladder.top, ladder.base_top] for text, _ in top[:3]}
    assert {model.token_text(int(token)) for token in ladder.probabilities["id"].to_numpy()} == texts
    highest = np.maximum(ladder.probabilities.to_numpy().max(0), ladder.base_probabilities.to_numpy())
    assert (np.diff(highest) <= 0).all()


def test_numbers_of_other_packages():
    model = tiny_model("llama")
    vector = vector_for(model)
    ours = model.ladder([9, 8, 7], vector, [0.0, 1.0], tokens=[5, 7])
    theirs = model.ladder(torch.tensor([[9, 8, 7]]), vector, np.linspace(0, 1, 2), tokens=np.array([5, 7]))
    assert theirs.probabilities.equals(ours.probabilities)
    assert theirs.probabilities["id"].to_numpy().tolist() == [5, 7]
