"""Where vectors come from, against hidden states that transformers gives and against closed forms; and their arithmetic."""

import math

import pytest
import torch
from torch import Tensor

import patchwidget as pw
from patchwidget import SteeringVector
from patchwidget.models.weights_hash import weights_hash
from patchwidget.steering.methods import METHODS
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


# ---- the methods in closed form


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
