"""Hierarchical search finds what matters, keeps to its budget, and says what it left out and how wrong the estimate is."""

import numpy as np
import pandas as pd
import pytest

import patchwidget as pw
from tests.engine.executors.test_hooked_families import family_experiment
from tests.zoo import CLEAN, PAIR, telling_pair, tiny_experiment, tiny_model


def exact(experiment: pw.Experiment, row) -> float:
    """The effect of one row's patch, computed by itself."""
    part = {name: None if pd.isna(row[name]) else int(row[name]) for name in ("pos", "head", "neuron")}
    return float(experiment.patch(pw.Patch(row["site"], int(row["layer"]), **part)).mean().effect)


def test_with_a_budget_for_everything_nothing_that_matters_is_missed():
    experiment = tiny_experiment()
    result = experiment.search(budget=8000, threshold=0.1)
    assert list(dict.fromkeys(result.cells["level"])) == ["layers", "positions", "heads", "neurons"]
    wholes = {site: experiment.sweep(site, positions="all").effect for site in ("attn_out", "mlp_out")}
    layers = result.found[result.found["level"] == "layers"]
    true = {(site, layer) for site, effect in wholes.items() for layer in range(4) if abs(float(effect[layer])) >= 0.1}
    assert {(row["site"], row["layer"]) for _, row in layers.iterrows()} <= true
    # positions: of what the estimate let through, and of parts that matter only
    for _, row in result.cells[result.cells["level"] == "positions"].iterrows():
        assert (row["site"], row["layer"]) in true
    for _, row in result.found.groupby("level").head(3).iterrows():
        assert row["effect"] == pytest.approx(exact(experiment, row), abs=1e-4)
    heads = result.cells[result.cells["level"] == "heads"]
    parents = result.found[(result.found["level"] == "positions") & (result.found["site"] == "attn_out")]
    assert {(r["layer"], r["pos"]) for _, r in heads.iterrows()} <= {(r["layer"], r["pos"]) for _, r in parents.iterrows()}
    assert set(heads["site"]) == {"z"}
    assert set(result.cells[result.cells["level"] == "neurons"]["site"]) == {"mlp_post"}
    assert (result.levels["stopped_by"] != "budget").all()
    assert (result.levels["largest_left"].fillna(0) < 0.1).all()


def test_the_budget_is_kept_and_what_is_left_is_told():
    experiment = tiny_experiment()
    result = experiment.search(budget=60)
    assert result.spent == len(result.cells) <= 60
    levels = result.levels.set_index("level")
    assert (levels["looked_at"] + levels["not_looked_at"] == levels["candidates"]).all()
    assert (levels["stopped_by"] == "budget").any()
    assert "budget spent" in repr(result)
    assert "spot checks" in repr(result)
    # the largest estimates were looked at: none that is left is larger than any that was chosen for its size
    for level, row in levels.iterrows():
        chosen = result.cells[(result.cells["level"] == level) & ~result.cells["spot"]]
        if len(chosen) and row["not_looked_at"]:
            assert row["largest_left"] <= chosen["estimate"].abs().min() + 1e-6


def test_the_errors_are_those_of_the_estimate_on_the_exact_cells():
    experiment = tiny_experiment("gpt2")
    result = experiment.search(budget=100)
    for _, row in result.levels.iterrows():
        cells = result.cells[result.cells["level"] == row["level"]]
        error = (cells["estimate"] - cells["effect"]).to_numpy(float)
        assert row["error"] == pytest.approx(np.sqrt((error**2).mean()))
        assert row["largest_error"] == pytest.approx(np.abs(error).max())
        spots = error[cells["spot"].to_numpy(bool)]
        if len(spots):
            assert row["spot_error"] == pytest.approx(np.sqrt((spots**2).mean()))
    estimate = experiment.attribute("attn_out", positions="all").effect
    for _, row in result.cells[(result.cells["level"] == "layers") & (result.cells["site"] == "attn_out")].iterrows():
        assert row["estimate"] == pytest.approx(float(estimate.sel(layer=row["layer"])), abs=1e-5)


def test_it_stops_where_the_estimate_says_nothing_is_left():
    experiment = tiny_experiment()
    result = experiment.search(budget=1000, threshold=50.0)
    assert result.found.empty
    assert result.spent <= 25
    assert list(result.levels["candidates"]) == [8, 0, 0, 0]
    assert "nothing to look at" in repr(result)
    assert len(result.to_frame()) == result.spent


def test_same_seed_same_search():
    first, again = (tiny_experiment().search(budget=40, seed=3).to_frame() for _ in range(2))
    assert first.equals(again)


def test_several_pairs_share_the_budget():
    model = tiny_model("mistral")
    experiment = pw.Experiment(model, [telling_pair(model), telling_pair(model, CLEAN[:7], [*CLEAN[:3], 44, *CLEAN[4:7]])])
    result = experiment.search(budget=61)
    assert result.spent == 2 * len(result.cells) <= 61
    for _, row in result.found.groupby("level").head(2).iterrows():
        assert row["effect"] == pytest.approx(exact(experiment, row), abs=1e-4)


@pytest.mark.parametrize("family", ["bloom", "mamba", "falcon"])
def test_models_that_lack_some_sites(family):
    result = family_experiment(family).search(budget=40)
    assert result.spent <= 40
    assert set(result.levels["level"]) == {"layers", "positions", "heads", "neurons"}


def test_bad_searches():
    experiment = tiny_experiment()
    with pytest.raises(pw.PatchError, match="A budget of 0 cells"):
        experiment.search(budget=0)
    with pytest.raises(pw.PatchError, match="everything would matter"):
        experiment.search(threshold=0)
    with pytest.raises(pw.PatchError, match="nothing to search for"):
        pw.Experiment(tiny_model(), pw.PromptPair(CLEAN, answer=5), "logit").search()
    with pytest.raises(pw.MetricError, match="has no gradient"):
        pw.Experiment(tiny_model(), PAIR, "rank").search()
