"""The optimal direction does what its curve says, and more than any other vector of its length that one can think of."""

import numpy as np
import pytest
import torch

import patchwidget as pw
from tests.engine.executors.test_hooked_families import family_experiment
from tests.engine.test_isolation import traces_of
from tests.zoo import CLEAN, CORRUPTED, PAIR, telling_pair, tiny_experiment, tiny_model, tiny_module


def added(experiment: pw.Experiment, layer: int, pos: int, vector: torch.Tensor) -> float:
    return float(experiment.patch(pw.Patch("resid_pre", layer, pos=pos, source=vector, operator="add")).mean().values)


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_the_curve_climbs_to_what_the_vector_does(direction):
    experiment = tiny_experiment("llama", direction=direction)
    before = traces_of(experiment.model.hf)
    vector = experiment.optimal_direction(2, 7, steps=20, norm=5.0)
    assert traces_of(experiment.model.hf) == before
    assert isinstance(vector, pw.SteeringVector)
    assert (vector.site, vector.layers, vector.token_rule, vector.method) == ("resid_pre", [2], (7, 8), "optimal")
    assert vector.norm() == pytest.approx(5.0, rel=1e-5)
    towards = 1 if direction == "denoise" else -1
    curve = np.array(vector.provenance["curve"])
    assert curve[0] == pytest.approx(experiment.runs.value_of(experiment.runs.base), abs=1e-4)
    assert (np.diff(towards * curve) >= 0).all()
    assert curve[-1] == pytest.approx(added(experiment, 2, 7, vector[2]), abs=1e-3)
    torch.manual_seed(0)
    rivals = [torch.randn(32) for _ in range(100)]
    rivals.append(
        experiment.runs.recording(experiment.runs.source).resid[2][7] - experiment.runs.recording(experiment.runs.base).resid[2][7]
    )
    best_rival = max(towards * added(experiment, 2, 7, 5.0 * rival / rival.norm()) for rival in rivals)
    assert towards * curve[-1] > best_rival
    assert towards * (curve[-1] - curve[0]) > 1.2 * towards * (curve[1] - curve[0])  # more than the first gradient


def test_of_a_small_norm_it_is_the_gradient():
    experiment = tiny_experiment()
    vector = experiment.optimal_direction(1, 9, norm=1e-2)
    basis = torch.eye(32) * 1e-2
    slope = torch.tensor([added(experiment, 1, 9, step) - added(experiment, 1, 9, -step) for step in basis])
    assert float(torch.cosine_similarity(vector[1], slope, dim=0)) > 0.99


def test_the_norm_is_that_of_the_patch_unless_told():
    experiment = tiny_experiment()
    difference = experiment.runs.recording("clean").resid[1][7] - experiment.runs.recording("corrupted").resid[1][7]
    vector = experiment.optimal_direction(1, 7, steps=3)
    assert vector.norm() == pytest.approx(float(difference.norm()), rel=1e-4)
    assert vector.provenance["norm"] == pytest.approx(vector.norm(), rel=1e-4)
    assert vector.provenance["clean"] == [CLEAN]
    assert vector.provenance["corrupted"] == [CORRUPTED]
    assert vector.relative_norm() > 0
    assert len(vector.provenance["curve"]) == vector.provenance["steps"] + 1 == 4


def test_several_pairs_half_precision_saving_and_models_without_interception(tmp_path):
    model = tiny_model("mistral")
    several = pw.Experiment(model, [telling_pair(model), telling_pair(model, CLEAN[:8], [*CLEAN[:3], 44, *CLEAN[4:8]])])
    vector = several.optimal_direction(1, 5, steps=5, norm=3.0)
    assert vector.provenance["curve"][-1] == pytest.approx(added(several, 1, 5, vector[1]), abs=1e-3)
    vector.save(tmp_path / "best.safetensors")
    assert pw.SteeringVector.load(tmp_path / "best.safetensors").provenance["curve"] == vector.provenance["curve"]
    half = pw.Experiment(pw.wrap(tiny_module("llama").bfloat16()), PAIR)
    curve = half.optimal_direction(1, 7, steps=4, norm=3.0).provenance["curve"]
    assert curve[-1] > curve[0]
    bloom = family_experiment("bloom").optimal_direction(1, 7, steps=4, norm=3.0).provenance["curve"]
    assert bloom[-1] > bloom[0]


def test_bad_questions():
    experiment = tiny_experiment()
    for arguments, options, error, match in [
        ((9, 7), {}, pw.SiteError, "Layer 9 does not exist"),
        ((1, 12), {}, pw.SiteError, "Position 12 does not exist"),
        ((1, 2), {}, pw.PatchError, "same activation at layer 1, position 2"),
        ((1, 7), {"norm": 0.0}, pw.PatchError, "leaves no direction"),
        ((1, 7), {"steps": 0}, pw.PatchError, "steps=0 is too few"),
    ]:
        with pytest.raises(error, match=match):
            experiment.optimal_direction(*arguments, **options)
    early = pw.Experiment(experiment.model, PAIR, answer_pos=8)
    with pytest.raises(pw.MetricError, match="no gradient at layer 1, position 10"):
        early.optimal_direction(1, 10, norm=1.0)
    with pytest.raises(pw.MetricError, match="no gradient"):
        pw.Experiment(experiment.model, PAIR, "rank").optimal_direction(1, 7)
