"""Out of memory in mid-sweep: halve, go on, same numbers."""

import numpy as np
import pytest
import torch

import patchwidget as pw
from patchwidget.engine.packed import PackedExecutor
from tests.zoo import tiny_experiment


def test_a_walk_that_does_not_fit_is_halved(monkeypatch):
    experiment = tiny_experiment()
    expected = experiment.sweep("resid_pre").values.to_numpy()
    walk, sizes = PackedExecutor._walk, []

    def tight(self, plans):
        sizes.append(len(plans))
        if len(plans) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return walk(self, plans)

    monkeypatch.setattr(PackedExecutor, "_walk", tight)
    result = experiment.sweep("resid_pre")
    assert max(sizes) > 5
    np.testing.assert_allclose(result.values, expected, atol=1e-5)


def test_one_cell_that_does_not_fit_is_an_error(monkeypatch):
    def full(self, plans):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(PackedExecutor, "_walk", full)
    with pytest.raises(pw.PatchError, match="does not fit into memory"):
        tiny_experiment().sweep("resid_pre")
