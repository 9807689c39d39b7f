"""What can't be steered with, or made a vector of, says so."""

import math
import warnings

import numpy as np
import pytest
import torch

import patchwidget as pw
from patchwidget import PatchError, PromptError, SiteError, Steer, SteeringVector
from tests.steering.test_vector import NEGATIVE, POSITIVE
from tests.zoo import tiny_model

PROMPT = [9, 8, 7, 6, 5]


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
