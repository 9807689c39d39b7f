"""Statistics over pairs: against scipy and statsmodels, under a true null, and where there is an effect."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import stats
from statsmodels.stats.multitest import multipletests

import patchwidget as pw
from patchwidget.experiments.results.data import EXACT
from patchwidget.experiments.results.result import PatchResult
from patchwidget.experiments.results.statistics import bootstrap_interval, corrected, sign_flip_p
from tests.zoo import CLEAN, CORRUPTED, telling_pair, tiny_model


def planted(changes: np.ndarray, gap: float = 2.0) -> PatchResult:
    """A result whose patches changed a metric, that was 1 in each corrupted run, by this much: [pairs, ...]."""
    dims = ("pair", "layer", "pos")[: changes.ndim]
    corrupted = xr.DataArray(np.ones(len(changes)), dims="pair")
    state = np.full(changes.shape, EXACT, np.uint8)
    values = xr.DataArray(
        (1 + changes).astype(np.float32), dims=dims, coords={dim: range(n) for dim, n in zip(dims, changes.shape, strict=True)}
    )
    return PatchResult(values, corrupted + gap, corrupted, state, [], 1e-6, {"direction": "denoise", "metric": "logit_diff"})


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_p_values_are_those_of_scipy(alternative):
    x = np.random.default_rng(3).normal(0.4, 1, (9, 5))
    p, exact = sign_flip_p(x, alternative=alternative)
    assert exact
    expected = stats.permutation_test((x,), np.mean, permutation_type="samples", n_resamples=10_000, alternative=alternative)
    np.testing.assert_allclose(p, expected.pvalue, atol=1e-12)


def test_a_random_choice_of_flips_comes_near_all_of_them():
    x = np.random.default_rng(4).normal(0.5, 1, (12, 6))
    every, exact = sign_flip_p(x, resamples=4096)
    some, also_exact = sign_flip_p(x, resamples=4000)
    assert exact
    assert not also_exact
    np.testing.assert_allclose(some, every, atol=0.03)
    assert some.min() >= 1 / 4001


def test_the_null_of_one_pair_with_a_missing_cell():
    x = np.array([[1.0, np.nan, 0.0], [2.0, 5.0, 0.0], [3.0, np.nan, 0.0]])
    p, _ = sign_flip_p(x)
    np.testing.assert_allclose(p, [2 / 8, np.nan, 1.0])


def test_intervals_are_those_of_scipy():
    x = np.random.default_rng(5).normal(1, 1, (20, 3))
    low, high = bootstrap_interval(x, 0.9, seed=1)
    options = {"confidence_level": 0.9, "n_resamples": 2000, "rng": np.random.default_rng(1), "axis": 0}
    expected = stats.bootstrap((x,), np.mean, **options).confidence_interval
    np.testing.assert_allclose([low, high], [expected.low, expected.high], rtol=1e-6)
    constant = np.full((5, 1), 3.0)
    assert [float(edge[0]) for edge in bootstrap_interval(constant)] == [3.0, 3.0]


@pytest.mark.parametrize("method", ["fdr_bh", "fdr_by", "holm", "bonferroni"])
def test_corrections_are_those_of_statsmodels(method):
    p = np.array([0.001, np.nan, 0.01, 0.02, 0.9])
    expected = multipletests(p[np.isfinite(p)], method=method)[1]
    np.testing.assert_allclose(corrected(p, method)[np.isfinite(p)], expected)
    assert np.isnan(corrected(p, method)[1])


def test_nothing_is_found_where_nothing_is():
    """Under a true null a false discovery is any discovery: in 200 grids of 40 cells it happens in no more than alpha of them."""
    random, n_pairs, n_grids = np.random.default_rng(0), 16, 200
    shared = random.normal(0, 1, (n_grids, n_pairs, 1))  # cells of one grid are measured on the same prompts
    grids = 0.6 * shared + random.standard_t(4, (n_grids, n_pairs, 40))
    p, _ = sign_flip_p(np.concatenate(grids, axis=1), resamples=2000)  # the same flips for all of them
    for method in ("fdr_bh", "fdr_by", "bonferroni"):  # Holm's first step is Bonferroni's
        false = sum(bool((corrected(of_grid, method) <= 0.05).any()) for of_grid in p.reshape(n_grids, 40))
        assert false / n_grids <= 0.05, method
    assert 0.03 < (p <= 0.05).mean() < 0.07  # without the correction, as often as alpha says
    for grid in grids[:3]:  # and asked as one asks
        assert not planted(grid.reshape(n_pairs, 4, 10)).significant(resamples=2000).any()


def test_an_effect_that_is_there_is_found():
    random = np.random.default_rng(1)
    changes = random.normal(0, 1, (32, 6, 10))
    changes[:, 2, 3:6] += 1.2
    found = planted(changes).significant()
    assert found.attrs == {"alpha": 0.05, "method": "fdr_bh"}
    assert found.dims == ("layer", "pos")
    assert found.sel(layer=2, pos=[3, 4, 5]).all()
    assert int(found.sum()) <= 4
    changes = -changes
    assert not planted(changes).significant(alternative="greater").any()
    assert planted(changes).significant(alternative="less").sel(layer=2, pos=4)


def test_statistics_of_known_numbers():
    changes = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [2.0, 0.0]])
    table = planted(changes, gap=4.0).statistics()
    assert float(table["mean"][0]) == pytest.approx(2)
    assert float(table["sem"][0]) == pytest.approx(stats.sem(changes[:, 0]), abs=1e-6)
    assert float(table["recovery"][0]) == pytest.approx(0.5)
    assert float(table["p"][0]) == pytest.approx(2 / 16)
    assert float(table["low"][0]) < 2 < float(table["high"][0])
    assert float(table["p"][1]) == 1.0
    assert table["n"].to_numpy().tolist() == [4, 4]
    assert table.attrs["every_flip"]


def test_one_pair_has_no_p_value_and_says_so():
    model = tiny_model()
    for pairs in (telling_pair(model), [telling_pair(model)]):
        result = pw.Experiment(model, pairs).sweep("resid_pre")
        with pytest.raises(pw.PatchError, match=r"one pair only.*no p-value"):
            result.significant()
        table = result.statistics()
        assert "one pair only" in table.attrs["reason"]
        assert table["p"].isnull().all()
        assert table["sem"].isnull().all()
        assert not table["mean"].isnull().any()


def test_too_few_pairs_are_warned_of():
    result = planted(np.random.default_rng(0).normal(3, 0.1, (4, 3, 3)))
    with pytest.warns(UserWarning, match=r"4 pairs give p-values of 0\.12 at the least; .* so no cell can be significant at 0\.05"):
        assert not result.significant().any()


@pytest.mark.parametrize(("method", "needed"), [("fdr_bh", 63), ("fdr_by", None), ("holm", None), ("bonferroni", None)])
def test_what_one_cell_can_reach_is_told(method, needed):
    """Six pairs: an effect that is alone among 100 cells can't be found, whatever its size."""
    changes = np.random.default_rng(0).normal(0, 1, (6, 10, 10))
    changes[:, 4, 4] += 50
    then = f"it takes {needed} such cells" if needed else "no cell can be significant"
    with pytest.warns(UserWarning, match=rf"6 pairs .* 0\.031 at the least; corrected for 100 cells \({method}\) .* so {then}"):
        assert not planted(changes).significant(method=method).any()
    for k in (needed, needed - 1) if needed else (100,):
        p = np.array([2 / 64] * k + [1.0] * (100 - k))
        assert (corrected(p, method)[0] <= 0.05) == (k == needed)


def test_too_few_resamples_are_warned_of():
    result = planted(np.random.default_rng(0).normal(3, 0.1, (20, 2)))
    with pytest.warns(UserWarning, match=r"0\.1 at the least.* Take more resamples"):
        result.significant(resamples=9)


@pytest.mark.filterwarnings("ignore:8 pairs give p-values")
def test_metrics_that_are_not_numbers_stay_out():
    changes = np.random.default_rng(2).normal(2, 0.1, (8, 2, 2))
    changes[:, 0, 0] = np.nan
    changes[:3, 0, 1] = np.nan
    result = planted(changes)
    table = result.statistics()
    assert table["n"].to_numpy().tolist() == [[0, 5], [8, 8]]
    assert np.isnan(table["p"][0, 0])
    assert float(table["recovery"][0, 1]) == pytest.approx(1, abs=0.1)
    assert result.significant().to_numpy().tolist() == [[False, False], [True, True]]


def test_what_is_not_known():
    result = planted(np.ones((8, 2)))
    with pytest.raises(pw.PatchError, match="no correction 'top5'"):
        result.significant(method="top5")
    with pytest.raises(pw.PatchError, match=r"alpha=5 is no level"):
        result.significant(alpha=5)
    with pytest.raises(pw.PatchError, match="alternative='both' is not known"):
        result.significant(alternative="both")
    for resamples in (0, -3):
        for asked in (result.significant, result.statistics):
            with pytest.raises(pw.PatchError, match=f"resamples={resamples} is too few"):
                asked(resamples=resamples)
    for confidence in (95, 0, 1.0, float("nan")):
        with pytest.raises(pw.PatchError, match=r"confidence=.* is not possible"):
            result.statistics(confidence=confidence)


def pairs_of(model, n: int) -> list[pw.PromptPair]:
    torch.manual_seed(0)
    pairs = []
    for _ in range(n):
        shift = torch.randint(0, 90, (1,)).item()
        clean, corrupted = ([(token + shift) % 99 for token in tokens] for tokens in (CLEAN, CORRUPTED))
        pairs.append(telling_pair(model, clean, corrupted))
    return pairs


def test_a_placebo_moves_as_far_and_elsewhere():
    model = tiny_model()
    experiment = pw.Experiment(model, pairs_of(model, 6))
    from patchwidget.experiments.sweeps.sources import values_of

    for site in ("resid_pre", "z"):
        own, other, moved = (values_of(experiment.runs, 1, source)[0](site, 2) for source in ("corrupted", "clean", pw.Placebo(3)))
        torch.testing.assert_close((moved - own).norm(dim=-1), (other - own).norm(dim=-1), rtol=1e-4, atol=1e-5)
        assert float((moved - other).abs().max()) > 0.1
        torch.testing.assert_close(moved, values_of(experiment.runs, 1, pw.Placebo(3))[0](site, 2))
    result, placebo = (experiment.sweep("resid_pre", source=source) for source in (None, pw.Placebo(3)))
    assert float(abs(placebo.recovery.sel(pos=slice(0, 3))).max()) == 0.0
    against = result.statistics(placebo=placebo)
    np.testing.assert_allclose(against["mean"], (result.values - placebo.values).mean("pair"), atol=1e-4)
    with pytest.raises(pw.PatchError, match="The placebo has axes"):
        result.significant(placebo=experiment.sweep("z", positions="all"))
    with pytest.raises(pw.SiteError, match="no attention"):
        experiment.sweep("pattern", source=pw.Placebo())


def test_a_placebo_of_something_else_is_refused():
    model = tiny_model()
    pairs = pairs_of(model, 6)
    experiment = pw.Experiment(model, pairs)

    def placebo(of=experiment, site="resid_pre", **options):
        return of.sweep(site, source=pw.Placebo(), **{"layers": [0, 1], **options})

    result = experiment.sweep("resid_pre", layers=[0, 1])
    assert result.statistics(placebo=placebo()).sizes["layer"] == 2
    for other, match in [
        (placebo(layers=[1, 2]), "of other cells: its labels differ along layer"),
        (placebo(layers=[2, 3]), "of other cells"),
        (placebo(site="resid_post"), "it has site 'resid_post' and not 'resid_pre'"),
        (placebo(pw.Experiment(model, pairs, "prob")), "metric 'prob' and not 'logit_diff'"),
        (placebo(pw.Experiment(model, pairs, direction="noise")), "direction 'noise' and not 'denoise'"),
        (placebo(pw.Experiment(tiny_model("gpt2"), pairs)), "model 'gpt2' and not 'llama'"),
        (placebo(pw.Experiment(model, pairs[::-1])), "other prompt pairs"),
        (placebo(pw.Experiment(model, [replace(pair, answer=3) for pair in pairs])), "other prompt pairs"),
        (placebo(window=2), "patches 2 layers at once, and the result 1"),
    ]:
        for asked in (result.statistics, result.significant):
            with pytest.raises(pw.PatchError, match=match):
                asked(placebo=other)
    together = [experiment.sweep("z", positions=[at], source=source) for at, source in [(4, None), (5, pw.Placebo())]]
    with pytest.raises(pw.PatchError, match="it has positions"):
        together[0].significant(placebo=together[1])


def test_the_mean_of_pairs_that_lack_a_cell_is_measured_against_their_own_gap():
    changes = np.array([[1.0, 1.0], [4.0, np.nan]])
    result = planted(changes)
    result.clean[:] = [3.0, 9.0]  # gaps 2 and 8
    mean = result.mean()
    np.testing.assert_allclose(mean.recovery, [5 / 10, 1 / 2])
    np.testing.assert_allclose(result.statistics()["recovery"], mean.recovery)
