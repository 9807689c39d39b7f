"""Where vectors come from, against hidden states that transformers gives and against closed forms; and their arithmetic."""

import math

import pytest
import torch
from torch import Tensor

import patchwidget as pw
from patchwidget import SteeringVector
from patchwidget.models.weights_hash import weights_hash
from tests.engine.test_device_map import scattered
from tests.zoo import CLEAN, CORRUPTED, PAIR, tiny_model

POSITIVE = [[54, 12, 77, 31], [33, 20, 5], [9, 8, 7, 6, 5]]
NEGATIVE = [[54, 12, 70, 32], [33, 21, 9], [9, 8, 1, 6, 4]]


@pytest.fixture(scope="module")
def model() -> pw.Model:
    return tiny_model("llama")


def hidden(model: pw.Model, tokens: list[int], layer: int) -> Tensor:
    """The residual stream after a block (not the last one), as transformers gives it: [T, d]."""
    with torch.no_grad():
        return model.hf(torch.tensor([tokens]), output_hidden_states=True).hidden_states[layer + 1][0]


def close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, atol=2e-5, rtol=1e-4)


# ---- from pairs, on a model


def test_several_layers_and_other_sites(model):
    vector = SteeringVector.from_pairs(model, POSITIVE, NEGATIVE, layers=[2, 0])
    assert vector.layers == [0, 2]
    assert close(vector[2], SteeringVector.from_pairs(model, POSITIVE, NEGATIVE, 2)[2])
    entering = SteeringVector.from_pairs(model, POSITIVE, NEGATIVE, 1, site="resid_pre")
    assert close(entering[1], vector[0])
    added = sum(SteeringVector.from_pairs(model, POSITIVE, NEGATIVE, 1, site=site)[1] for site in ("attn_out", "mlp_out"))
    leaving = SteeringVector.from_pairs(model, POSITIVE, NEGATIVE, 1)
    assert close(leaving[1] - entering[1], added)


def test_residual_norms_are_medians_over_tokens(model):
    vector = SteeringVector.from_pairs(model, POSITIVE, NEGATIVE, 1)
    norms = torch.cat([hidden(model, tokens, 1).norm(dim=-1) for tokens in POSITIVE + NEGATIVE])
    assert vector.residual_norms[1] == pytest.approx(float(norms.median()), rel=1e-5)
    assert sorted(vector.residual_norms) == [0, 1, 2, 3]
    assert vector.relative_norm() == pytest.approx(float(vector[1].norm() / norms.median()), rel=1e-5)
    bare = SteeringVector(vector.vectors)
    assert bare.with_norms(model, POSITIVE + NEGATIVE).residual_norms == vector.residual_norms


def test_provenance_names_the_model(model):
    about = SteeringVector.from_pairs(model, POSITIVE, NEGATIVE, 1).provenance
    assert (about["model"], about["model_type"], about["dtype"]) == ("llama", "llama", "float32")
    assert about["positive"] == POSITIVE
    assert len(about["weights"]) == 16
    assert about["date"].endswith("+00:00")
    other = SteeringVector.from_pairs(tiny_model("llama", seed=1), POSITIVE, NEGATIVE, 1).provenance
    assert other["weights"] != about["weights"]


def test_the_hash_is_of_every_parameter_in_any_precision():
    model = tiny_model("llama")
    whole, seen = weights_hash(model.hf), set()
    for weight in model.hf.parameters():
        kept = weight.data.clone()
        weight.data *= 1.01
        seen.add(weights_hash(model.hf))
        weight.data = kept
    assert len(seen | {whole}) == 1 + len(list(model.hf.parameters()))
    half = model.hf.bfloat16()
    assert weights_hash(half) == weights_hash(half.float()) != whole


@pytest.mark.filterwarnings("ignore:.*offloaded to the disk")
def test_a_model_that_is_partly_on_the_disk_has_no_hash(model, tmp_path):
    parts = pw.wrap(scattered("llama", tmp_path, aside=["layers.2"]))
    vector = SteeringVector.from_pairs(parts, POSITIVE, NEGATIVE, 1)
    assert close(vector[1], SteeringVector.from_pairs(model, POSITIVE, NEGATIVE, 1)[1])
    assert vector.provenance["weights"] is None
    known = SteeringVector.from_pairs(model, POSITIVE, NEGATIVE, 1)
    assert close(parts.logits([1, 2, 3], known), model.logits([1, 2, 3], vector))  # and nobody is warned


# ---- from a patch


def test_steering_by_a_patched_cell_is_the_patch():
    model = tiny_model("llama")
    experiment = pw.Experiment(model, pw.PromptPair(CLEAN, CORRUPTED, answer=5, distractor=7), metric="logit_diff")
    vector = SteeringVector.from_patch(experiment, layer=1, pos=-2)
    assert close(vector[1], hidden(model, CLEAN, 1)[-2] - hidden(model, CORRUPTED, 1)[-2])
    last = len(CLEAN) - 2
    steered = model.logits(CORRUPTED, pw.Steer(vector, positions=(last, last + 1)))[-1]
    patched = experiment.patch(pw.Patch("resid_post", layer=1, pos=last))
    assert float(steered[5] - steered[7]) == pytest.approx(float(patched.values), abs=1e-4)
    assert vector.method == "patch"
    assert vector.provenance["clean"] == [CLEAN]


def test_from_patch_takes_the_mean_over_pairs():
    model = tiny_model("llama")
    pairs = [PAIR, pw.PromptPair([5, 6, 7], [5, 9, 8], answer=1, distractor=2)]
    both = SteeringVector.from_patch(pw.Experiment(model, pairs), layer=0, pos=-1)
    each = [SteeringVector.from_patch(pw.Experiment(model, pair), layer=0, pos=-1) for pair in pairs]
    assert close(both[0], (each[0][0] + each[1][0]) / 2)


def test_from_patch_follows_aligned_positions():
    """Where prompts are of unequal length, a cell holds the activation that corresponds, as its patch does."""
    model = tiny_model("llama")
    clean, corrupted = [9, 5, 40, 7, 8], [9, 5, 50, 51, 7, 8]
    for direction, pos, at in [("denoise", 4, (3, 4)), ("denoise", -1, (4, 5)), ("noise", 3, (3, 4))]:
        experiment = pw.Experiment(model, pw.PromptPair(clean, corrupted, answer=1, distractor=2, align="diff"), direction=direction)
        vector = SteeringVector.from_patch(experiment, layer=1, pos=pos)
        assert close(vector[1], hidden(model, clean, 1)[at[0]] - hidden(model, corrupted, 1)[at[1]])
    experiment = pw.Experiment(model, pw.PromptPair(clean, corrupted, answer=1, distractor=2, align="diff"))
    with pytest.raises(pw.SiteError, match="Position 2 corresponds to none"):
        SteeringVector.from_patch(experiment, layer=1, pos=2)


def test_the_optimal_direction_is_a_vector_like_others(tmp_path):
    experiment = pw.Experiment(tiny_model("llama"), PAIR)
    vector = experiment.optimal_direction(2, 7, steps=5, norm=5.0)
    steered = experiment.model.logits(CORRUPTED, pw.Steer(vector, positions=vector.token_rule))[-1]
    answer, distractor = experiment.pair.answers[0], experiment.pair.distractors[0]
    assert float(steered[answer] - steered[distractor]) == pytest.approx(vector.provenance["curve"][-1], abs=1e-3)
    for name in ("v.safetensors", "v.gguf"):
        vector.save(tmp_path / name)
        back = SteeringVector.load(tmp_path / name)
        assert torch.equal(back[2], vector[2])
        assert (back.site, back.token_rule, back.provenance["curve"]) == (vector.site, vector.token_rule, vector.provenance["curve"])


# ---- arithmetic and numbers


A = SteeringVector({1: torch.tensor([1.0, 2.0, 0.0]), 3: torch.tensor([0.0, 0.0, 2.0])}, residual_norms={1: 2.0, 3: 4.0})
B = SteeringVector({1: torch.tensor([1.0, 0.0, 0.0]), 3: torch.tensor([0.0, 3.0, 4.0])})


def test_arithmetic_is_layer_by_layer():
    assert (A + B)[1].tolist() == [2, 2, 0]
    assert (A - B)[3].tolist() == [0, -3, -2]
    assert (2 * A)[1].tolist() == (A * 2)[1].tolist() == (A / 0.5)[1].tolist() == [2, 4, 0]
    assert (-A)[3].tolist() == [0, 0, -2]
    assert A[1].tolist() == [1, 2, 0]  # operands stay
    assert A.project_out(B)[1].tolist() == [0, 2, 0]
    assert torch.allclose(A.project_out(B)[3], torch.tensor([0, -24 / 25, 2 - 32 / 25]))
    assert A.normalized().norm(1) == pytest.approx(1)
    assert (-(A * 2)).provenance == {"scaled": -2.0}
    assert A.normalized().provenance == {"normalized": True}


def test_numbers():
    assert A.cosine(B, 1) == pytest.approx(1 / math.sqrt(5))
    assert A.cosine(B, 3) == pytest.approx(0.8)
    assert A.norm(1) == pytest.approx(math.sqrt(5))
    assert A.relative_norm(3) == pytest.approx(0.5)
    assert math.isnan(A.cosine(0 * B, 1))
    assert SteeringVector({0: torch.tensor([[3.0, 4.0], [0.0, 1.0]])}).norm() == 5


def test_top_tokens_are_those_whose_unembedding_points_the_same_way(model):
    with torch.no_grad():
        unembedding = model.anatomy.head.weight
        direction = unembedding[17]
        logits = unembedding @ (direction / direction.pow(2).mean().sqrt())  # the final norm's weights are 1
    vector = SteeringVector({1: direction})
    best = vector.top_tokens(model, 3)
    assert [text for text, _ in best] == [str(int(token)) for token in logits.topk(3).indices]
    assert best[0][1] == pytest.approx(float(logits.max()), rel=1e-3)
    assert [text for text, _ in (0.001 * vector).top_tokens(model, 3)] == [text for text, _ in best]


def test_vectors_from_elsewhere():
    class Foreign:  # as steering_vectors.SteeringVector
        layer_activations, layer_type = {2: torch.ones(3)}, "self_attn"

    class Control:  # as repeng.ControlVector
        model_type, directions = "llama", {2: torch.ones(3).numpy()}

    assert SteeringVector.of(Foreign()).site == "attn_out"
    assert SteeringVector.of(Control())[2].tolist() == [1, 1, 1]
    assert SteeringVector.of({2: torch.ones(3, dtype=torch.float16)})[2].dtype == torch.float32
    assert SteeringVector.of(A) is A


def test_the_package_steering_vectors_itself():
    package = pytest.importorskip("steering_vectors")
    vector = SteeringVector.of(package.SteeringVector({2: torch.ones(3)}, "mlp"))
    assert (vector.site, vector.layers) == ("mlp_out", [2])
