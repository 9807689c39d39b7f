"""What a Steer does in one forward, and what it refuses."""

import math
import warnings

import numpy as np
import pytest
import torch

import patchwidget as pw
from patchwidget import PatchError, PromptError, SiteError, Steer, SteeringVector
from patchwidget.engine.edits import moved_along
from patchwidget.steering.steer import span_of
from tests.steering.test_vector import NEGATIVE, POSITIVE
from tests.zoo import tiny_model

PROMPT = [9, 8, 7, 6, 5]


@pytest.fixture(scope="module")
def model() -> pw.Model:
    return tiny_model("llama")


@pytest.fixture(scope="module")
def vector(model) -> SteeringVector:
    return SteeringVector.from_pairs(model, POSITIVE, NEGATIVE, 1)


def leaving(model: pw.Model, steer, layer: int) -> torch.Tensor:
    """The residual stream after a block in a steered forward."""
    seen = []
    handle = model.anatomy.blocks[layer + 1].module.register_forward_pre_hook(lambda _, args: seen.append(args[0][0].clone()))
    model.logits(PROMPT, steer)
    handle.remove()
    return seen[0]


# ---- operators in closed form


def test_add_project_out_and_cap():
    rows, value = torch.tensor([[3.0, 1.0], [-2.0, 5.0]]), torch.tensor([[2.0, 0.0]]).expand(2, 2)

    def moved(operator: str, strength: float) -> list[list[float]]:
        return moved_along(operator, rows, value, torch.tensor([strength]).expand(2)).tolist()

    assert moved("add", 0.5) == [[4, 1], [-1, 5]]
    assert moved("project_out", 1.0) == [[0, 1], [0, 5]]
    assert moved("project_out", 0.5) == [[1.5, 1], [-1, 5]]
    assert moved("project_out", 2.0) == [[-3, 1], [2, 5]]
    assert moved("cap", 1.0) == [[2, 1], [-2, 5]]  # at most 1 x the vector's length
    assert moved("cap", -2.0) == [[-4, 1], [-4, 5]]
    assert moved_along("cap", rows, -value, torch.tensor([0.0, 0.0])).tolist() == [[3, 1], [0, 5]]  # from below, by the negative
    assert moved_along("project_out", rows, 0 * value, torch.ones(2)).tolist() == rows.tolist()


@pytest.mark.parametrize("operator", ["add", "project_out", "cap"])
def test_they_act_at_the_place_and_the_positions_named(model, vector, operator):
    strength = -0.5
    plain, steered = leaving(model, None, 1), leaving(model, Steer(vector, strength, positions=(1, 3), operator=operator), 1)
    expected = plain.clone()
    expected[1:3] = moved_along(operator, plain[1:3], vector[1].expand(2, -1), torch.full((2,), strength))
    assert torch.allclose(steered, expected, atol=1e-5)
    assert not torch.allclose(steered, plain, atol=1e-3)


def test_several_at_once_in_the_order_given(model, vector):
    other = SteeringVector({1: torch.randn(32, generator=torch.Generator().manual_seed(2))})
    added = leaving(model, [vector, Steer(other, 2.0)], 1) - leaving(model, None, 1)
    assert torch.allclose(added, (vector + 2 * other)[1].expand(5, -1), atol=1e-4)
    then_out = leaving(model, [vector, Steer(other, operator="project_out")], 1) @ other[1]
    assert then_out.abs().max() < 1e-3
    out_first = leaving(model, [Steer(other, operator="project_out"), vector], 1) @ other[1]
    assert torch.allclose(out_first, (vector[1] @ other[1]).expand(5), atol=1e-3)


def test_residual_norm_is_a_unit(model, vector):
    added = leaving(model, Steer(vector, 0.25, unit="residual norm"), 1) - leaving(model, None, 1)
    assert torch.allclose(added.norm(dim=-1), torch.tensor(0.25 * vector.residual_norms[1]).expand(5), rtol=1e-4)
    elsewhere = leaving(model, Steer(vector, 0.25, layers=2, unit="residual norm"), 2) - leaving(model, None, 2)
    assert float(elsewhere[0].norm()) == pytest.approx(0.25 * vector.residual_norms[2], rel=1e-4)


def test_layers(model, vector):
    both = leaving(model, Steer(vector, layers=[0, 2]), 2)
    assert torch.allclose(both, leaving(model, [Steer(vector, layers=0), Steer(vector, layers=2)], 2), atol=1e-5)
    of_its_own = SteeringVector.from_pairs(model, POSITIVE, NEGATIVE, layers=[0, 2])
    assert torch.allclose(leaving(model, Steer(of_its_own, layers=0), 0), leaving(model, Steer({0: of_its_own[0]}), 0))


def test_a_plain_dictionary_and_a_vector_are_steers(model, vector):
    expected = model.logits(PROMPT, Steer(vector))
    for steer in (vector, [vector], {1: vector[1]}, Steer({1: vector[1]}), [Steer(vector, 0.5), Steer(vector, 0.5)]):
        assert torch.allclose(model.logits(PROMPT, steer), expected, atol=1e-4)
    assert not torch.allclose(model.logits(PROMPT), expected, atol=1e-2)


def test_logits_are_the_models_own_without_steering(model):
    with torch.no_grad():
        expected = model.hf(torch.tensor([PROMPT])).logits[0]
    assert torch.allclose(model.logits(PROMPT), expected, atol=1e-5)
    several = model.logits([PROMPT, [1, 2]])
    assert [list(found.shape) for found in several] == [[5, 99], [2, 99]]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("prompt", (0, 7)),
        ("first 3", (0, 3)),
        (3, (0, 3)),
        ((2, 5), (2, 5)),
        ((2, 50), (2, 50)),
        (slice(2, 5), (2, 5)),
        (range(2, 5), (2, 5)),
        ((-3, -1), (4, 6)),
        ((None, -2), (0, 5)),
        ((-50, 2), (0, 2)),
    ],
)
def test_position_rules(rule, expected):
    assert span_of(rule, 7) == expected
    assert span_of("generated", 7)[0] == span_of((7, None), 7)[0] == 7
    assert span_of("all", 7) == span_of((0, None), 7)


# ---- what is refused


@pytest.mark.parametrize("strength", [math.inf, -math.inf, math.nan])
def test_a_strength_that_is_not_finite(vector, strength):
    with pytest.raises(PatchError, match="The strength is"):
        Steer(vector, strength)


@pytest.mark.parametrize("options", [{"operator": "times"}, {"unit": "metres"}, {"positions": "last"}, {"positions": range(0, 9, 2)}])
def test_a_word_that_is_not_known(vector, options):
    with pytest.raises(PatchError, match=str(next(iter(options)))):
        Steer(vector, **options)


@pytest.mark.parametrize("positions", [0, -1, (3, 3), (5, 2), "first 0"])
def test_no_position(model, vector, positions):
    with pytest.raises(PatchError, match="holds no position"):
        model.logits(PROMPT, Steer(vector, positions=positions))


def test_a_vector_of_another_width(model, default_model):
    wide = SteeringVector({1: torch.ones(576)}, provenance={"model": "SmolLM2"})
    for use in (model.generate, model.logits, lambda prompt, steer: model.ladder(prompt, steer, [1.0])):
        with pytest.raises(PatchError, match="has width 576, and the residual stream of llama has 32") as error:
            use(PROMPT, wide)
        assert "SmolLM2" in error.value.hint
    with pytest.raises(PatchError, match="different models"):
        wide + SteeringVector({1: torch.ones(32)})


def test_a_vector_of_another_model_of_that_width_warns_and_names_both(model, vector):
    other = tiny_model("llama", seed=1)
    weights = vector.provenance["weights"]
    with pytest.warns(UserWarning, match=rf"made on llama \(weights {weights}\), and is applied to llama \(weights (?!{weights})"):
        other.logits(PROMPT, vector)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.logits(PROMPT, vector)


@pytest.mark.parametrize("layer", [-5, 4, 99])
def test_a_layer_out_of_range(model, vector, layer):
    with pytest.raises(SiteError, match=f"Layer {layer} does not exist: llama has layers 0 to 3"):
        SteeringVector.from_pairs(model, POSITIVE, NEGATIVE, layer)
    with pytest.raises(SiteError, match=f"Layer {layer} does not exist"):
        model.logits(PROMPT, Steer(vector, layers=layer))


def test_a_layer_that_the_vector_lacks(model):
    two = SteeringVector({0: torch.ones(32), 2: torch.ones(32)})
    with pytest.raises(SiteError, match="has no layer 1"):
        model.logits(PROMPT, Steer(two, layers=1))
    with pytest.raises(SiteError, match="several layers"):
        two.norm()


@pytest.mark.parametrize(("positive", "negative"), [([], NEGATIVE), (POSITIVE, [])])
def test_an_empty_list_of_examples(model, positive, negative):
    with pytest.raises(PromptError, match="examples is empty"):
        SteeringVector.from_pairs(model, positive, negative, 1)


def test_identical_examples(model):
    for negative in (POSITIVE, POSITIVE[::-1]):
        with pytest.raises(PromptError, match="are the same"):
            SteeringVector.from_pairs(model, POSITIVE, negative, 1)
    with pytest.raises(PromptError, match="Pair 1 has the same"):
        SteeringVector.from_pairs(model, POSITIVE, [NEGATIVE[0], POSITIVE[1], NEGATIVE[2]], 1, method="pca")
    with pytest.raises(PromptError, match="same activations at layer 1"):  # the tokens read are at the beginning, where nothing differs
        SteeringVector.from_pairs(model, POSITIVE[:1], NEGATIVE[:1], 1, token_rule=(0, 2))


def test_pairs_that_are_none(model):
    with pytest.raises(PromptError, match="3 positive and 2 negative"):
        SteeringVector.from_pairs(model, POSITIVE, NEGATIVE[:2], 1, method="caa")
    with pytest.raises(PromptError, match="actadd takes one pair"):
        SteeringVector.from_pairs(model, POSITIVE, NEGATIVE, 1, method="actadd")
    with pytest.raises(PromptError, match="a space is not one token"):
        SteeringVector.from_pairs(model, POSITIVE[:1], NEGATIVE[1:2], 1, method="actadd")
    with pytest.raises(PromptError, match="token by token"):
        SteeringVector.from_pairs(model, POSITIVE[:2], NEGATIVE[2:0:-1], 1, method="pca", token_rule="all")


def test_questions_that_make_no_vector(model):
    for options, message in [
        ({"layer": 1, "method": "magic"}, "no method 'magic'"),
        ({"layer": 1, "token_rule": "first"}, "no token rule 'first'"),
        ({"layer": 1, "method": "caa", "token_rule": "last"}, "defined with the token rule"),
        ({"layer": 1, "token_rule": (7, 9)}, "holds no token"),
        ({"layer": 1, "layers": [1]}, "either `layer` or `layers`"),
        ({}, "either `layer` or `layers`"),
        ({"layer": 1, "site": "z"}, "can't live at 'z'"),
    ]:
        with pytest.raises(PatchError, match=message):
            SteeringVector.from_pairs(model, POSITIVE, NEGATIVE, **options)


def test_numbers_that_are_not_finite():
    for bad in (math.nan, math.inf):
        with pytest.raises(PatchError, match="not finite"):
            SteeringVector({1: torch.tensor([1.0, bad])})
    broken = tiny_model("llama")
    broken.anatomy  # noqa: B018 - found while it is whole
    broken.hf.model.layers[1].mlp.down_proj.weight.data[0, 0] = math.nan
    with pytest.raises(PatchError, match="layer 1 are not finite"):
        SteeringVector.from_pairs(broken, POSITIVE, NEGATIVE, 1)


def test_shapes_and_things_that_are_no_vectors():
    for vectors, message in [
        ({}, "at least one layer"),
        ({1: torch.ones(3), 2: torch.ones(4)}, "shapes"),
        ({1: torch.tensor(1.0)}, "shapes"),
    ]:
        with pytest.raises(PatchError, match=message):
            SteeringVector(vectors)
    for thing in (3, "v.gguf", None):
        with pytest.raises(PatchError, match="A steering vector was expected"):
            Steer(thing)
    with pytest.raises(SiteError, match="can't live at 'pattern'"):
        SteeringVector({1: torch.ones(3)}, "pattern")
    zero = SteeringVector({1: torch.zeros(3)})
    for use in (zero.normalized, lambda: SteeringVector({1: torch.ones(3)}).project_out(zero)):
        with pytest.raises(PatchError, match="zero vector"):
            use()
    with pytest.raises(PatchError, match="does not know the residual stream's norm"):
        zero.relative_norm()


def test_from_patch_refuses_cells_that_are_none(model):
    experiment = pw.Experiment(model, pw.PromptPair([5, 6, 7], [5, 9, 7], answer=1, distractor=2))
    with pytest.raises(SiteError, match="Position 3 does not exist"):
        SteeringVector.from_patch(experiment, layer=1, pos=3)
    with pytest.raises(SiteError, match="Layer 4 does not exist"):
        SteeringVector.from_patch(experiment, layer=4, pos=1)
    with pytest.raises(PromptError, match="have the same resid_post"):
        SteeringVector.from_patch(experiment, layer=1, pos=0)


def test_numbers_of_other_packages_and_layers_from_the_end(model):
    ours = SteeringVector({2: torch.ones(32)})
    theirs = SteeringVector({np.int64(2): np.ones(32)}, residual_norms={np.int64(2): np.float32(1.5)})
    assert repr(theirs.residual_norms) == "{2: 1.5}"
    assert torch.equal(ours[2], theirs[2])
    expected = model.logits(PROMPT, Steer(ours, 2.0, layers=[3, 1], positions=(2, 5)))
    for steer in (
        Steer(theirs, np.float32(2), layers=np.array([3, 1]), positions=(np.int64(2), 5)),
        Steer(theirs, torch.tensor(2.0), layers=[-1, -3], positions=(np.int64(2), torch.tensor(5))),
    ):
        torch.testing.assert_close(model.logits(np.array(PROMPT), steer), expected)
    assert SteeringVector.from_pairs(model, POSITIVE, NEGATIVE, -1).layers == [3]
    several = SteeringVector.from_pairs(model, [torch.tensor(ids) for ids in POSITIVE], NEGATIVE, layers=np.array([-1, 0]))
    assert several.layers == [0, 3]
    torch.testing.assert_close(several[3], SteeringVector.from_pairs(model, POSITIVE, NEGATIVE, 3)[3])
    with pytest.raises(PatchError, match="There is a layer -1, and a vector knows no model"):
        SteeringVector({-1: torch.ones(32)})


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"strength": np.array("2")}, "The strength is '2'"),
        ({"strength": np.array([1, 2])}, r"The strength is \[1, 2\]"),
        ({"layers": np.array([0.5])}, r"layers=\[0.5\] are no numbers"),
        ({"positions": np.array([[1]])}, r"positions=\[\[1\]\] is not known"),
    ],
)
def test_what_is_no_number(vector, options, match):
    with pytest.raises(PatchError, match=match):
        Steer(vector, **options)


def test_a_span_has_two_ends():
    with pytest.raises(PatchError, match=r"positions=\(1, 2, 3\) is not known"):
        span_of((1, 2, 3), 5)


def test_vectors_can_be_summed(vector):
    total = sum([vector, vector, vector])
    torch.testing.assert_close(total[vector.layers[0]], 3 * vector[vector.layers[0]])
    with pytest.raises(TypeError):
        1 + vector
