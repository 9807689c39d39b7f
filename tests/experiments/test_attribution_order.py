"""Estimates as the order in which exact cells are computed."""

import numpy as np
import pytest

import patchwidget as pw
from patchwidget.experiments.results.data import ESTIMATE, EXACT, NOT_MEASURABLE
from tests.zoo import CLEAN, telling_pair, tiny_experiment, tiny_model


def test_the_first_exact_cells_are_those_with_the_largest_estimates():
    experiment = tiny_experiment()
    expected, estimate = experiment.sweep("z"), experiment.attribute("z")
    sweep = experiment.start("z", order="attribution")
    assert sweep.done == 0
    batches = iter(sweep)
    first = next(batches)
    assert first.state == ESTIMATE
    assert sweep.done == 0
    assert (sweep.result.state == ESTIMATE).all()
    np.testing.assert_allclose(sweep.result.values, estimate.values, atol=1e-6)
    seen: list[np.ndarray] = []
    for batch in batches:
        assert batch.state == EXACT
        seen.append(batch.index)
        partial = sweep.result
        exact = partial.state.ravel() == EXACT
        assert exact.sum() == sweep.done
        np.testing.assert_allclose(partial.values.to_numpy().ravel()[~exact], estimate.values.to_numpy().ravel()[~exact], atol=1e-6)
    size = np.abs(estimate.effect.to_numpy().ravel())
    order = np.argsort(-size, kind="stable")
    early = np.concatenate(seen)[:32]
    assert set(early) == set(order[:32])
    assert size[early].min() >= np.delete(size, early).max()
    done = sweep.result
    assert (done.state == EXACT).all()
    assert done.ok
    assert len(done.checks) == 4
    np.testing.assert_allclose(done.values, expected.values, atol=1e-5)
    assert "order='attribution'" in done.code()


@pytest.mark.parametrize("executor", ["packed", "hooked"])
def test_in_order_with_several_pairs_and_after_a_cancel(executor):
    model = tiny_model("mistral")
    pairs = [telling_pair(model), telling_pair(model, CLEAN[:7], [*CLEAN[:3], 44, *CLEAN[4:7]])]
    experiment = pw.Experiment(model, pairs)
    expected = experiment.sweep("mlp_out", executor=executor)
    sweep = experiment.start("mlp_out", order="attribution", executor=executor)
    batches = iter(sweep)
    next(batches)
    next(batches)
    sweep.close()
    partial = sweep.result
    assert {ESTIMATE, EXACT, NOT_MEASURABLE} == set(np.unique(partial.state))
    exact = partial.state == EXACT
    np.testing.assert_allclose(partial.values.to_numpy()[exact], expected.values.to_numpy()[exact], atol=1e-5)
    whole = experiment.sweep("mlp_out", order="attribution", executor=executor)
    np.testing.assert_allclose(whole.values, expected.values, atol=1e-5)
