"""Patterns whose source has weight where attention can't look: it stays zero there, in both executors and in estimates, and a warning says so."""

import warnings

import numpy as np
import pytest
import torch

import patchwidget as pw
from tests.zoo import CLEAN, CORRUPTED, telling_pair, tiny_experiment, tiny_model

LENGTH = len(CLEAN)
EVERYWHERE = torch.rand(LENGTH, 4, LENGTH, generator=torch.Generator().manual_seed(0))
SOURCES = [pw.Noise(1.0), pw.Mean([CLEAN, CORRUPTED], per_position=False), 0.3, EVERYWHERE]
SAID = "What is put into pattern has weight on positions that the attention can't look at"


def in_sight(window: int) -> torch.Tensor:
    """[dest_pos, 1, src_pos]"""
    behind = torch.arange(LENGTH)[:, None] - torch.arange(LENGTH)
    return ((behind >= 0) & (behind < window))[:, None].float()


@pytest.mark.parametrize("operator", ["replace", "add"])
@pytest.mark.parametrize("answer_pos", [None, 5])
@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_both_executors_give_one_answer(architecture, answer_pos, operator):
    experiment = tiny_experiment(architecture, answer_pos=answer_pos)
    for source in SOURCES:
        for positions in ([[5], [3, 4]], "all"):
            options = {"positions": positions, "source": source, "operator": operator, "layers": [0, 1, 3]}
            with pytest.warns(UserWarning, match=SAID):
                packed = experiment.sweep("pattern", executor="packed", **options)
            with pytest.warns(UserWarning, match=SAID):
                hooked = experiment.sweep("pattern", executor="hooked", **options)
            np.testing.assert_allclose(packed.values, hooked.values, atol=1e-4 * max(1, float(abs(hooked.values).max())))
            assert packed.ok
            assert hooked.ok


@pytest.mark.parametrize(("architecture", "windows"), [("llama", [99] * 4), ("mistral", [4] * 4), ("gemma2", [4, 99, 4, 99])])
@pytest.mark.parametrize("executor", ["packed", "hooked"])
def test_it_is_as_if_the_source_had_nothing_there(architecture, windows, executor):
    experiment = tiny_experiment(architecture)
    for layer, window in enumerate(windows[:2]):
        for operator in ("replace", "add"):
            options = {"layers": [layer], "positions": [[5, 6], [11]], "operator": operator, "executor": executor}
            with pytest.warns(UserWarning, match=SAID):
                found = experiment.sweep("pattern", source=EVERYWHERE, **options)
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # nothing is left out, so nothing is said
                expected = experiment.sweep("pattern", source=EVERYWHERE * in_sight(window), **options)
            np.testing.assert_allclose(found.values, expected.values, atol=1e-4)


@pytest.mark.parametrize("executor", ["packed", "hooked"])
def test_rows_from_other_positions_and_single_entries(executor):
    model = tiny_model("mistral")
    experiment = pw.Experiment(model, telling_pair(model))
    with pytest.warns(UserWarning, match=SAID):  # the row of position 9 at position 5
        moved = experiment.patch(pw.Patch("pattern", 1, pos=5, source_pos=9), executor=executor)
    row = experiment.runs.recording("clean", "pattern").at("pattern", 1)[9] * in_sight(4)[5]
    by_hand = experiment.patch(pw.Patch("pattern", 1, pos=5, source=row.expand(LENGTH, -1, -1)), executor=executor)
    assert float(moved.values) == pytest.approx(float(by_hand.values), abs=1e-4)
    with pytest.warns(UserWarning, match=SAID):  # outside of the window
        entry = experiment.patch(pw.Patch("pattern", 1, head=0, pos=11, src_pos=2, source=0.5), executor=executor)
    assert float(entry.values) == pytest.approx(entry.corrupted, abs=1e-4)


def test_other_runs_have_no_such_weight():
    experiment = tiny_experiment("gemma2")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for executor in ("packed", "hooked"):
            for source in (None, "zero", pw.Mean([CLEAN, CORRUPTED]), pw.Resample(CLEAN)):
                experiment.sweep("pattern", source=source, executor=executor, positions=[[5], [11]])


@pytest.mark.parametrize(("architecture", "window"), [("llama", 99), ("mistral", 4)])
@pytest.mark.parametrize("method", ["atp", "atp*"])
def test_estimates_leave_it_out_too(architecture, window, method):
    experiment = tiny_experiment(architecture)
    for operator in ("replace", "add"):
        options = {"operator": operator, "method": method}
        found, expected = (experiment.attribute("pattern", source=x, **options) for x in (EVERYWHERE, EVERYWHERE * in_sight(window)))
        np.testing.assert_allclose(found.values, expected.values, atol=1e-4 * max(1, float(abs(expected.values).max())))
