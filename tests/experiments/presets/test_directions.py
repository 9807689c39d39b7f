"""Both directions of one grid, and what is said of them."""

import numpy as np
import pytest

import patchwidget as pw
from tests.zoo import telling_pair, tiny_experiment, tiny_model


def test_it_is_two_sweeps():
    model = tiny_model()
    both = pw.both_directions(model, telling_pair(model), "resid_pre")
    np.testing.assert_allclose(both.sufficient.values, tiny_experiment().sweep("resid_pre").values, atol=1e-5)
    np.testing.assert_allclose(both.necessary.values, tiny_experiment(direction="noise").sweep("resid_pre").values, atol=1e-5)
    frame = both.to_frame()
    assert list(frame.columns) == ["layer", "pos", "sufficient (denoise)", "necessary (noise)"]
    assert len(both.plot().data) == 2


@pytest.mark.parametrize("threshold", [0.3, 0.9])
def test_the_words_count_the_cells(threshold):
    model = tiny_model()
    both = pw.both_directions(model, telling_pair(model), "resid_pre")
    one, other = (result.effect.to_numpy() for result in (both.sufficient, both.necessary))
    text = both.reading(threshold)
    assert f"Of {one.size} cells, at {threshold:.0%}" in text
    for count, words in [
        (((one > threshold) & (other > threshold)).sum(), "suffice and are needed"),
        (((one > threshold) & (other <= threshold)).sum(), "suffice but are not needed"),
        (((one <= threshold) & (other > threshold)).sum(), "are needed but do not suffice"),
    ]:
        assert f"- {count} {words}" in text


def test_nothing_that_strong_is_said():
    model = tiny_model()
    both = pw.both_directions(model, telling_pair(model), "z", positions="all", layers=[0])
    assert "No single cell moves the answer so far" in both.reading(100)
