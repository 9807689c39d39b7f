"""A lab of several pairs while they are being measured."""

import numpy as np
import xarray as xr

from patchwidget.experiments.results.result import PatchResult
from patchwidget.widget.lab.pair_means import mean_so_far
from tests.widget.lab.test_sets import assert_shows


def partial(known):
    """Three cells of four pairs, of which the first `known` are in; the second pair lacks the last cell."""
    values = np.arange(12, dtype=np.float32).reshape(4, 3) ** 1.5
    values[1, 2] = np.nan
    state = np.ones((4, 3), np.uint8)
    state[1, 2] = 3
    values[known:], state[known:] = np.nan, 0
    clean, corrupted = (xr.DataArray(numbers, dims="pair") for numbers in ([9.0, 8.0, 7.0, 6.0], [1.0, 2.0, 1.0, 2.0]))
    return PatchResult(xr.DataArray(values, dims=("pair", "pos")), clean, corrupted, state, [], 1e-6)


def test_while_pairs_are_coming_the_mean_is_of_those_done_and_an_estimate():
    found = mean_so_far(partial(2))
    values, clean, corrupted = (x.to_numpy() for x in (partial(2).values, partial(2).clean, partial(2).corrupted))
    np.testing.assert_array_equal(found.state, [2, 2, 2])
    expected = [(values[:2, i] - corrupted[:2]).mean() / (clean[:2] - corrupted[:2]).mean() for i in (0, 1)]
    np.testing.assert_allclose(found.recovery[:2], expected, rtol=1e-5)
    np.testing.assert_allclose(found.recovery[2], (values[0, 2] - 1) / 8, rtol=1e-5)  # of the pair that has it
    np.testing.assert_array_equal(mean_so_far(partial(4)).state, [1, 1, 1])
    np.testing.assert_array_equal(mean_so_far(partial(0)).state, [0, 0, 0])


def test_the_cells_of_a_mean_arrive_as_estimates_and_the_bar_grows_with_the_pairs(open_set, small, long_pairs):
    lab, page = open_set(small[0], long_pairs)
    news = [m for m in page.messages if m["type"] == "progress" and "cells" in m]
    assert {int(state) for message in news for state in message["cells"]["state"]} <= {1, 2}
    done = [message["done"] for message in news]
    assert done == sorted(done)
    assert any(0 < n < page.main["total"] for n in done)
    estimated = [message for message in news if (message["cells"]["state"] == 2).any()]
    assert estimated
    assert max(message["done"] for message in estimated) < page.main["total"]
    assert_shows(page.main, lab.result.mean())


def test_which_pair_is_being_recorded_is_told_before_any_cell_is_known(open_set, small, pairs):
    _, page = open_set(small[0], pairs)
    told = [message for message in page.messages if message["type"] == "progress"]
    recorded = [message["recorded"] for message in told if "recorded" in message]
    assert recorded == list(range(13))
    assert recorded == [message["recorded"] for message in told[:13]]
    assert page.main["recorded"] == 12


def test_of_one_pair_no_recording_is_told(open_set, small):
    _, page = open_set(*small)
    assert not any("recorded" in message for message in page.messages)
    assert page.main["recorded"] is None
