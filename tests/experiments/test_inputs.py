"""The same question in other packages' numbers, and counted from the end, has the same answer; and its code asks it again."""

from inspect import signature

import numpy as np
import pytest
import torch
import xarray as xr

import patchwidget as pw
from patchwidget.experiments.sweeps.spec import make_plan
from tests.zoo import telling_pair, tiny_experiment, tiny_model

SHORT = slice(2, None)


@pytest.fixture(scope="module")
def experiment():
    return tiny_experiment()


def again(result, experiment, **names):
    """What the result's code computes, on this model."""
    scope = {"pw": pw, "hf": experiment.model.hf, "tokenizer": None, **names}
    exec(result.code(), scope)
    return scope["result"]


def same(one, other):
    assert one.values.dims == other.values.dims
    np.testing.assert_allclose(one.values, other.values, atol=1e-5)
    for dim in one.values.dims:
        assert one.values[dim].to_numpy().tolist() == other.values[dim].to_numpy().tolist()


@pytest.mark.parametrize(
    "make", [torch.tensor, np.array, lambda ids: torch.tensor([ids]), lambda ids: [ids], lambda ids: list(np.array(ids))]
)
def test_token_ids_in_whatever_form(experiment, make):
    pair = experiment.prompts[0]
    given = pw.PromptPair(make(pair.clean), make(pair.corrupted), torch.tensor([pair.answer]), np.int64(pair.distractor))
    found = pw.Experiment(experiment.model, given).sweep("resid_pre")
    assert found.values.shape == (4, 12)
    same(found, experiment.sweep("resid_pre"))
    same(again(found, experiment), found)


def test_token_ids_elsewhere(experiment):
    model, ids = experiment.model, experiment.prompts[0].clean
    for form in (np.array(ids), torch.tensor(ids), torch.tensor([ids])):
        resampled = experiment.sweep("z", source=pw.Resample(form))
        same(resampled, experiment.sweep("z", source="clean"))
        same(again(resampled, experiment), resampled)
        assert model.generate(form, max_new_tokens=2).tokens == model.generate(ids, max_new_tokens=2).tokens
        traced = pw.causal_trace(model, form, np.array([3, 4]), samples=np.int64(2), kinds=["hidden"])
        same(traced, pw.causal_trace(model, ids, [3, 4], samples=2, kinds=["hidden"]))
    both = torch.tensor([ids, experiment.prompts[0].corrupted])
    same(experiment.sweep("z", source=pw.Mean(both)), experiment.sweep("z", source=pw.Mean(both.tolist())))
    assert len(model.generate(both, max_new_tokens=1)) == 2
    for form, match in [
        (both, "has 2 rows of token ids"),
        (np.array([1.5]), "has 1.5 among its token ids, which is a float"),
        (np.array(["a"]), "has 'a' among"),
        (np.array(5), "prompt is a int"),
    ]:
        with pytest.raises(pw.PromptError, match=match):
            experiment.sweep("z", source=pw.Resample(form))


def test_a_network_without_tokens_keeps_its_tensors():
    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.out = torch.nn.Embedding(9, 4), torch.nn.Linear(4, 3)

        def forward(self, x):
            return self.out(self.embed(x)).mean(1)

    model = pw.wrap(Network().eval())
    for form in (torch.tensor, np.array):
        pair = pw.PromptPair(form([1, 2]), form([3, 4]), 0, 1)
        each, whole = (pw.Experiment(model, pair).sweep("module:embed", positions=positions) for positions in ("each", "all"))
        assert each.values.shape == (2,)
        assert float(each.recovery.sum()) == pytest.approx(1, abs=1e-4)
        assert float(whole.recovery) == pytest.approx(1, abs=1e-4)
    with pytest.raises(pw.PromptError, match=r"llama takes token ids, and the prompt is a tensor of torch.float32"):
        pw.Experiment(tiny_model(), pw.PromptPair(np.zeros(3, np.float32), np.ones(3, np.float32)))


@pytest.mark.parametrize(
    ("given", "means"),
    [
        ({"layers": np.arange(2)}, {"layers": [0, 1]}),
        ({"layers": iter(range(2))}, {"layers": [0, 1]}),
        ({"layers": 2}, {"layers": [2]}),
        ({"layers": [-1, 0]}, {"layers": [3, 0]}),
        ({"layers": [np.array([0, -1])], "positions": "all"}, {"layers": [[0, 3]], "positions": "all"}),
        ({"positions": np.array([4, 5])}, {"positions": [4, 5]}),
        ({"positions": list(np.array([4, 5]))}, {"positions": [4, 5]}),
        ({"positions": torch.tensor([[4], [5]])}, {"positions": [[4], [5]]}),
        ({"positions": xr.DataArray([4, 5], dims="pos")}, {"positions": [4, 5]}),
        ({"positions": 4}, {"positions": [4]}),
        ({"positions": [-1, 7]}, {"positions": [7, 11]}),
        ({"positions": [[-1], [-2, 10]]}, {"positions": [[11], [10]]}),
        ({"heads": [-1]}, {"heads": [3]}),
        ({"heads": np.array([[1, 1, -3]])}, {"heads": [[1]]}),
        ({"window": np.int64(2)}, {"window": 2}),
        ({"source": np.zeros(8, np.float32)}, {"source": torch.zeros(8)}),
        ({"source": np.float32(0)}, {"source": 0.0}),
    ],
)
def test_a_sweep(experiment, given, means):
    found = experiment.sweep("z", **given)
    same(found, experiment.sweep("z", **means))
    source = means.get("source")
    same(again(found, experiment, source=source), found)
    assert "array(" not in found.code()
    assert "tensor(" not in found.code()


def test_patches_and_nodes(experiment):
    value = float(experiment.sweep("z").values.sel(layer=3, pos=10, head=1))
    for patch in (
        pw.Patch("z", np.int64(3), np.int64(10), np.int64(1)),
        pw.Patch("z", torch.tensor(3), torch.tensor([10]), np.array([1])),
        pw.Patch("z", -1, -2, -3),
        pw.Patch("z", -1, -2, -3, source_pos=-2),
    ):
        assert float(experiment.patch(patch).values) == pytest.approx(value, abs=1e-5)
    assert float(again(experiment.patch(patch), experiment).values) == pytest.approx(value, abs=1e-5)
    entry = experiment.patch(pw.Patch("pattern", -1, -1, -1, src_pos=-2)).values
    assert float(entry) == pytest.approx(float(experiment.patch(pw.Patch("pattern", 3, 11, 3, src_pos=10)).values), abs=1e-6)
    neuron = experiment.patch(pw.Patch("mlp_post", 1, neuron=-1)).values
    assert float(neuron) == pytest.approx(float(experiment.patch(pw.Patch("mlp_post", 1, neuron=63)).values), abs=1e-6)
    receiver = pw.Node("q", 2, 1, pos=[11])
    for node in (pw.Node("q", np.int64(2), torch.tensor(1), np.array([11])), pw.Node("q", -2, -3, -1)):
        paths = experiment.paths(node)
        same(paths, experiment.paths(receiver))
        same(again(paths, experiment), paths)
    same(experiment.paths(receiver, positions=np.array([[-5]])), experiment.paths(receiver, positions=[[7]]))


def test_other_places_where_positions_are_named(experiment):
    model, pair = experiment.model, experiment.prompts[0]
    measured = pw.Experiment(model, pair, answer_pos=np.int64(-2))
    assert measured.runs.value_of("clean") == pw.Experiment(model, pair, answer_pos=10).runs.value_of("clean")
    assert "answer_pos=-2" in measured.sweep("z", layers=[0], positions="all").code()
    with pytest.raises(pw.PromptError, match="answer_pos=-13 does not exist"):
        pw.Experiment(model, pair, answer_pos=-13)
    np.testing.assert_array_equal(experiment.attention(-1, -1, -1).clean, experiment.attention(3, 3, 11).clean)
    ours, theirs = experiment.optimal_direction(-1, -1, steps=1), experiment.optimal_direction(3, 11, steps=1)
    assert torch.equal(ours[3], theirs[3])


def test_from_the_end_of_each_prompt_where_they_are_of_unequal_length():
    model = tiny_model()
    pair = telling_pair(model)
    shorter = pw.PromptPair(pair.clean[SHORT], pair.corrupted[SHORT], pair.answer, pair.distractor)
    several = pw.Experiment(model, [pair, shorter])
    together, apart = several.sweep("resid_pre", positions=[-1]), several.sweep("resid_pre", positions=[[-1], [-12]])
    assert apart.values["pos"].to_numpy().tolist() == [-1, -12]
    for i, length in enumerate((12, 10)):
        alone = pw.Experiment(model, several.prompts[i]).sweep("resid_pre").values.sel(pos=length - 1)
        np.testing.assert_allclose(together.values.sel(pair=i), alone, atol=1e-4)
        np.testing.assert_allclose(apart.values.sel(pair=i, pos=-1), alone, atol=1e-4)
    assert apart.values.sel(pair=0, pos=-12).notnull().all()
    assert apart.values.sel(pair=1, pos=-12).isnull().all()  # it has no such position
    with pytest.raises(pw.SiteError, match="Position -12 does not exist in every pair"):
        several.sweep("resid_pre", positions=[-12])
    with pytest.raises(pw.SiteError, match="Position -1 is another one in each pair"):
        several.optimal_direction(0, -1)


def test_what_is_no_number(experiment):
    for options, match in [
        ({"layers": np.array([1.5])}, "Layer 1.5 is no whole number"),
        ({"layers": [-5]}, "Layer -5 does not exist: llama has layers 0 to 3"),
        ({"layers": np.array(["1"])}, "Layer '1' is no whole number"),
        ({"heads": [-5]}, "Head -5 does not exist"),
        ({"positions": [4, "x"]}, "no roles"),
    ]:
        with pytest.raises(pw.SiteError, match=match):
            experiment.sweep("z", **options)
    with pytest.raises(pw.PatchError, match=r"window=1.5 can't be used"):
        make_plan(experiment.model, "z", [12], window=1.5)
    with pytest.raises(pw.SiteError, match="Neuron 99 does not exist"):
        experiment.sweep("module:model.layers.0.mlp", positions="all", neurons=[99])
    last = experiment.sweep("module:model.layers.0.mlp", positions="all", neurons=[-1])
    np.testing.assert_allclose(last.values, experiment.sweep("module:model.layers.0.mlp", positions="all", neurons=[31]).values, atol=1e-6)


def test_what_an_experiment_is_made_of(experiment):
    model, pair = experiment.model, experiment.prompts[0]
    row = {"clean": pair.clean, "corrupted": pair.corrupted, "answer": pair.answer, "distractor": pair.distractor}
    assert not pw.Experiment(model, row).runs.several
    assert pw.Experiment(model, [row, row]).sweep("z", positions="all", layers=[0]).values.sizes["pair"] == 2
    for given, match in [
        (("text a", "text b"), "Item 0 is a str: 'text a'"),
        ([("text a", "text b")], "Item 0 is a tuple"),
        ([], "list of pairs is empty"),
        ([row, {**row, "answer": 99}], "Pair 1: The answer is token 99"),
        ([row, {**row, "answer": float("nan")}], "Pair 1: The metric logit_diff needs an answer, and the pair has none"),
        ({**row, "clean": torch.tensor([True, False])}, "has True among its token ids, which is a bool"),
    ]:
        with pytest.raises((pw.PromptError, pw.MetricError), match=match):
            pw.Experiment(model, given)
    with pytest.raises(pw.PromptError, match="has True among its token ids"):
        model.logits(torch.tensor([True, False]))
    with pytest.raises(pw.PatchError, match=r"^source='xxx+\.\.\.xxx+' is not known"):
        experiment.sweep("resid_pre", source="x" * 500)


def test_sizes_of_memory(experiment):
    for given, size in [(2.5e9, 2_500_000_000), (np.float64(1e9), 10**9), ("2GB", 2 * 10**9)]:
        assert pw.Experiment(experiment.model, experiment.prompts[0], max_memory=given).runs.budget.size == size
    for given in (float("nan"), float("inf"), "lots", -1.0):
        with pytest.raises(pw.PatchError, match="is not a size"):
            pw.Experiment(experiment.model, experiment.prompts[0], max_memory=given)


def test_the_code_keeps_the_names_of_metrics(experiment):
    asked = pw.Experiment(experiment.model, experiment.prompts[0], {"first": "logit", "second": "prob"})
    result = asked.sweep("z", layers=[0], positions="all")
    assert again(result, experiment).metrics == result.metrics == ["first", "second"]


def test_options_are_named_in_signatures(experiment):
    for method in (experiment.start, experiment.attribute, experiment.sweep):
        assert {"positions", "layers", "heads", "neurons", "window", "operator", "source"} <= set(signature(method).parameters)
