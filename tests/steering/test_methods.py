"""The ways to make a vector from examples: against arithmetic written out here."""

import math

import pytest
import torch
from torch import Tensor

import patchwidget as pw
from patchwidget import SteeringVector
from patchwidget.steering.methods import METHODS
from tests.steering.test_vector import NEGATIVE, POSITIVE, close, hidden
from tests.zoo import tiny_model


@pytest.fixture(scope="module")
def model() -> pw.Model:
    return tiny_model("llama")


@pytest.mark.parametrize(
    ("rule", "pick"),
    [
        (None, lambda h: h[-1]),
        ("last", lambda h: h[-1]),
        ("mean", lambda h: h.mean(0)),
        ((1, 3), lambda h: h[1:3].mean(0)),
        ((-2, None), lambda h: h[-2:].mean(0)),
    ],
)
def test_mean_diff_under_each_token_rule(model, rule, pick):
    vector = SteeringVector.from_pairs(model, POSITIVE, NEGATIVE[:2], 1, token_rule=rule)
    means = [torch.stack([pick(hidden(model, tokens, 1)) for tokens in side]).mean(0) for side in (POSITIVE, NEGATIVE[:2])]
    assert close(vector[1], means[0] - means[1])
    assert vector.token_rule == (rule or "last")
    assert (vector.site, vector.method, vector.layers) == ("resid_post", "mean_diff", [1])


def test_the_rule_all_takes_each_token_as_an_example(model):
    vector = SteeringVector.from_pairs(model, POSITIVE, NEGATIVE, 1, token_rule="all")
    means = [torch.cat([hidden(model, tokens, 1) for tokens in side]).mean(0) for side in (POSITIVE, NEGATIVE)]
    assert close(vector[1], means[0] - means[1])


def test_caa_reads_the_answer_token_wherever_it_is(model):
    positive, negative = [[1, 2, 3, 40, 9], [7, 40]], [[1, 2, 3, 50, 9], [7, 50]]
    vector = SteeringVector.from_pairs(model, positive, negative, 2, method="caa")
    places = [-2, -1]
    sides = [[hidden(model, tokens, 2)[place] for tokens, place in zip(side, places, strict=True)] for side in (positive, negative)]
    assert close(vector[2], torch.stack(sides[0]).mean(0) - torch.stack(sides[1]).mean(0))
    assert vector.token_rule == "answer"


def test_actadd_keeps_positions(model):
    vector = SteeringVector.from_pairs(model, POSITIVE[:1], NEGATIVE[:1], 0, method="actadd")
    assert close(vector[0], hidden(model, POSITIVE[0], 0) - hidden(model, NEGATIVE[0], 0))
    assert vector[0].shape == (4, 32)
    assert not vector[0][:2].any()  # equal so far
    prompt = [3, 4, 5, 6, 7, 8]
    steered, expected = model.logits(prompt, vector), _logits_with(model, prompt, 0, vector[0])
    assert close(steered, expected)


def test_actadd_pads_the_shorter_prompt_with_spaces(default_model):
    vector = SteeringVector.from_pairs(default_model, ["I talk about weddings constantly"], ["I do not"], layer=3, method="actadd")
    space = default_model.encode(" ", special=False)
    tokens = [default_model.encode(text) for text in ("I talk about weddings constantly", "I do not")]
    padded = tokens[1] + space * (len(tokens[0]) - len(tokens[1]))
    expected = hidden(default_model, tokens[0], 3) - hidden(default_model, padded, 3)
    assert torch.allclose(vector[3], expected, atol=2e-3)
    assert vector[3].shape[0] == len(tokens[0]) > len(tokens[1])


def test_pca_of_differences_along_one_line():
    line, sizes = torch.tensor([3.0, 0.0, 4.0, 0.0]).double() / 5, torch.tensor([1.0, 2.0, -0.5, 3.0]).double()
    base = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)).double()
    found = METHODS["pca"].direction(base + sizes[:, None] * line, base)
    assert torch.allclose(found, line * math.sqrt(float((sizes**2).mean())))
    assert torch.allclose(METHODS["pca"].direction(base, base + sizes[:, None] * line), -found)  # its sign is the mean's


def test_pca_is_the_leading_eigenvector_of_the_second_moment_not_of_the_covariance():
    differences = torch.tensor([[10.0, 1.0], [10.0, -1.0], [10.0, 3.0], [10.0, -3.0]]).double()
    found = METHODS["pca"].direction(differences, torch.zeros(4, 2).double())
    assert torch.allclose(found, torch.tensor([10.0, 0.0]).double())  # centred, it would be the second axis
    _, directions = torch.linalg.eigh(differences.T @ differences)
    assert abs(directions[:, -1] @ found) == pytest.approx(10.0)


def test_a_probes_normal_between_mirrored_clouds():
    towards = torch.tensor([0.0, 2.0, 0.0, 1.5]).double()
    aside = torch.tensor([[1.0, 0, 0, 0], [-1.0, 0, 0, 0], [0, 0, 2.0, 0], [0, 0, -2.0, 0]]).double()
    found = METHODS["logistic"].direction(aside + towards, aside - towards)
    assert torch.allclose(found, 2 * towards, atol=1e-3)


def test_a_probe_follows_what_tells_apart_and_the_mean_does_not():
    """A large shared spread along one axis that also moved a little: the mean difference points there, the probe at what separates."""
    noise = torch.linspace(-30, 30, 20).double()
    positive = torch.stack([noise + 4, torch.ones(20).double()], 1)
    negative = torch.stack([noise, -torch.ones(20).double()], 1)
    mean, probe = (METHODS[name].direction(positive, negative) for name in ("mean_diff", "logistic"))
    assert torch.allclose(mean, torch.tensor([4.0, 2.0]).double())
    assert abs(probe[1] / probe[0]) > 1 > abs(mean[1] / mean[0])


@pytest.mark.parametrize("method", ["pca", "logistic"])
def test_the_other_methods_on_a_model(model, method):
    vector = SteeringVector.from_pairs(model, POSITIVE, NEGATIVE, 1, method=method)
    sides = [torch.stack([hidden(model, tokens, 1)[-1] for tokens in side]).double() for side in (POSITIVE, NEGATIVE)]
    assert torch.allclose(vector[1].double(), METHODS[method].direction(*sides), atol=1e-3)


def _logits_with(model: pw.Model, prompt: list[int], layer: int, rows: Tensor) -> Tensor:
    def add(module, args, output):
        output = output.clone() if isinstance(output, Tensor) else output
        target = output if isinstance(output, Tensor) else output[0]
        target[0, : len(rows)] += rows
        return output

    handle = model.anatomy.blocks[layer].module.register_forward_hook(add)
    with torch.no_grad():
        logits = model.hf(torch.tensor([prompt])).logits[0]
    handle.remove()
    return logits
