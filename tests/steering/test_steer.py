"""What a Steer does in one forward, and what it refuses."""

import numpy as np
import pytest
import torch

import patchwidget as pw
from patchwidget import PatchError, Steer, SteeringVector
from patchwidget.engine.edits import moved_along
from patchwidget.steering.steer import span_of
from tests.steering.test_vector import NEGATIVE, POSITIVE

PROMPT = [9, 8, 7, 6, 5]


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


# ---- numbers of other packages


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


def test_a_span_has_two_ends():
    with pytest.raises(PatchError, match=r"positions=\(1, 2, 3\) is not known"):
        span_of((1, 2, 3), 5)


def test_vectors_can_be_summed(vector):
    total = sum([vector, vector, vector])
    torch.testing.assert_close(total[vector.layers[0]], 3 * vector[vector.layers[0]])
    with pytest.raises(TypeError):
        1 + vector
