"""How many rows travel together is decided in one place, and kept to by all that carries rows."""

from types import ModuleType

import numpy as np
import pytest
import torch

import patchwidget as pw
from patchwidget.engine.executors import packed
from patchwidget.engine.executors.hooked import HookedExecutor
from patchwidget.engine.memory import bytes_per_row, size_of
from patchwidget.engine.paths import frozen_run
from patchwidget.runs import budget
from tests.zoo import CLEAN, telling_pair, tiny_model

ROWS = 20


def rows_of_blocks(monkeypatch: pytest.MonkeyPatch, engine: ModuleType) -> list[int]:
    """Fills with how many rows pass each block that an engine calls."""
    rows: list[int] = []
    call = engine.call_block

    def counting(block, hidden, *rest):
        rows.append(hidden.shape[1])
        return call(block, hidden, *rest)

    monkeypatch.setattr(engine, "call_block", counting)
    return rows


@pytest.mark.parametrize("freeze", ["heads", "all"])
def test_the_first_half_of_path_patching_keeps_max_memory(monkeypatch, freeze):
    rows = rows_of_blocks(monkeypatch, frozen_run)
    model, question = tiny_model("qwen2"), {"senders": "z", "freeze": freeze, "positions": "each"}
    free = pw.Experiment(model, telling_pair(model))
    expected, most = free.paths(pw.Node("q", 2, 1), **question).values, max(rows)
    allowed = size_of(free.runs.recordings.kept.values()) + ROWS * bytes_per_row(model, len(CLEAN))
    tight = pw.Experiment(model, telling_pair(model), max_memory=allowed)
    tight.paths(pw.Node("q", 2, 1), **question)
    rows.clear()
    values = tight.paths(pw.Node("q", 2, 1), **question).values  # by now all is recorded that has to fit beside the rows
    assert tight.runs.rows_at_once([0]) == ROWS
    assert 0 < max(rows) <= ROWS < most
    np.testing.assert_allclose(values, expected, atol=1e-5)


@pytest.mark.parametrize("executor", ["packed", "hooked"])
def test_a_ladder_takes_as_many_rows_as_there_is_memory_for(monkeypatch, executor):
    model, strengths = tiny_model("qwen2"), np.linspace(-2, 2, 9).tolist()
    steer = pw.Steer(pw.SteeringVector({1: torch.ones(model.d_model)}, "resid_post"))
    rows = rows_of_blocks(monkeypatch, packed)
    forward = HookedExecutor._forward

    def counting(self, cells):
        rows.append(len(cells) * len(CLEAN))
        return forward(self, cells)

    monkeypatch.setattr(HookedExecutor, "_forward", counting)
    expected, most = model.ladder(CLEAN, steer, strengths, executor=executor).kl, max(rows)
    rows.clear()
    monkeypatch.setattr(budget, "free_memory", lambda device: 4 * ROWS * bytes_per_row(model, len(CLEAN)))
    kl = model.ladder(CLEAN, steer, strengths, executor=executor).kl
    assert 0 < max(rows) <= ROWS < most
    np.testing.assert_allclose(kl, expected, atol=1e-5)


def test_fewer_rows_can_be_asked_for_but_never_less_than_a_cell():
    model = tiny_model()
    runs = pw.Experiment(model, telling_pair(model)).runs
    assert runs.rows_at_once([0]) > 100
    assert [runs.rows_at_once([0], most) for most in (100, 1)] == [100, len(CLEAN)]
