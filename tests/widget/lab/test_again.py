"""Measuring again: what has been measured is there until it is measured anew, and again where it is not."""

import numpy as np
import pytest

from patchwidget.errors import PatchError
from patchwidget.experiments.results.data import ESTIMATE, EXACT, NOT_MEASURABLE
from patchwidget.widget.lab.experiment_pool import Setting
from patchwidget.widget.lab.grid_questions import canonical
from patchwidget.widget.lab.tasks import Work
from patchwidget.widget.lab.views import Axis, GridView
from tests.widget.fakes import FakeExperiment, Gate

OLD, NEW = np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(6, dtype=np.float32).reshape(2, 3) + 10


@pytest.fixture
def measured(open_lab):
    """A lab whose main grid is measured and asked for again: other numbers come, one cell at a time."""
    gate = Gate("resid_pre")
    experiment = FakeExperiment(grids={"resid_pre": OLD}, before_batch=gate)
    lab, page = open_lab(experiment)
    page.hello()
    gate.let(6)
    assert lab.wait(timeout=20.0)
    for _ in range(6):
        gate.arrive()
    experiment.grids["resid_pre"] = NEW
    yield lab, page, gate
    gate.open()


def run(page, gate, cells):
    """Measure again, as far as so many cells."""
    again = page.request("sweep")
    gate.let(cells)
    for _ in range(cells + 1):
        gate.arrive()
    page.lab._publisher.drain()
    return again


def test_cells_stay_until_each_is_measured_anew(measured):
    lab, page, gate = measured
    run(page, gate, 2)
    grid = page.main
    assert (grid["status"], grid["done"], grid["state"].tolist()) == ("running", 2, [EXACT] * 6)
    assert grid["values"].tolist() == [10, 11, 2, 3, 4, 5]
    assert [check["name"] for check in grid["checks"]] == ["identity"]
    assert lab.result.complete
    assert lab.result.values.values.tolist() == OLD.tolist()
    gate.open()
    lab.wait(timeout=20.0)
    assert page.main["values"].tolist() == lab.result.values.values.ravel().tolist() == NEW.ravel().tolist()


def test_cancelled_all_is_as_it_was(measured):
    lab, page, gate = measured
    before = page.main
    again = run(page, gate, 3)
    page.cancel(again)
    gate.let()
    over = page.over(again)
    assert (over["status"], over["open"]["status"]) == ("cancelled", "done")
    lab.wait(timeout=20.0)
    assert (lab.status, lab.result.complete) == ("done", True)
    for grid in (over["open"], page.main):
        for name in ("values", "recovery", "state", "checks", "done", "total", "clean", "corrupted", "noise_floor"):
            np.testing.assert_equal(grid[name], before[name])
    page.over(page.request("show", view="v1"))
    assert page.main["status"] == "done"


def test_cancelled_twice_all_is_as_it_was(measured):
    lab, page, gate = measured
    run(page, gate, 1)
    again = page.request("sweep")
    page.cancel(again)
    gate.let()
    assert page.over(again)["open"]["status"] == "done"
    lab.wait(timeout=20.0)
    assert page.main["values"].tolist() == OLD.ravel().tolist()


def test_another_question_cancels_it_alike(measured):
    lab, page, gate = measured
    run(page, gate, 3)
    other = page.request("set", site="mlp_out")
    gate.let()
    page.over(other)
    lab.wait(timeout=20.0)
    assert (page.views["v1"]["status"], page.views["v1"]["values"].tolist()) == ("done", OLD.ravel().tolist())


def test_where_it_fails_the_values_are_there_and_the_error_is_told(measured):
    lab, page, _ = measured

    def refuse(site):
        raise PatchError("There is not enough memory.", "Use a shorter prompt.")

    lab.experiment.before_batch = refuse
    error = page.over(page.request("sweep"))
    assert error["message"] == "There is not enough memory."
    lab.wait(timeout=20.0)
    assert lab.status == "failed"
    shown = page.over(page.request("show", view="v1"))["open"]
    assert (shown["values"].tolist(), shown["done"]) == (OLD.ravel().tolist(), 6)


def test_one_that_was_stopped_keeps_the_cells_of_both_times(open_lab):
    gate = Gate("resid_pre")
    experiment = FakeExperiment(grids={"resid_pre": OLD}, before_batch=gate)
    lab, page = open_lab(experiment)
    page.hello()
    for cells, numbers in ((4, NEW), (1, NEW)):
        if cells == 1:
            again = page.request("sweep")
        gate.let(cells)
        for _ in range(cells + 1):
            gate.arrive()
        page.cancel("v1")
        gate.let()
        lab.wait(timeout=20.0)
        experiment.grids["resid_pre"] = numbers
    assert page.over(again)["status"] == "cancelled"
    assert (page.main["status"], page.main["done"]) == ("cancelled", 4)
    assert page.main["state"].tolist() == [EXACT] * 4 + [0, 0]
    assert page.main["values"][:4].tolist() == [10, 1, 2, 3]


def test_an_estimate_does_not_take_the_place_of_an_exact_cell(open_lab):
    gate = Gate("resid_pre")
    lab, page = open_lab(FakeExperiment(before_batch=gate, estimates=True, tokens=tuple(f"t{i}" for i in range(40))))
    page.hello()
    gate.let(80)
    assert lab.wait(timeout=20.0)
    for _ in range(80):
        gate.arrive()
    run(page, gate, 1)
    assert set(page.main["state"].tolist()) == {EXACT}
    assert page.main["values"].tolist() == list(range(80))
    gate.open()
    lab.wait(timeout=20.0)


def grid_of(*states):
    """A grid of one row that knows its cells so, and the values 1, 2, ..."""
    question = canonical("set", {}, Setting(0, "resid_pre", "logit_diff", "denoise"))
    words = {"id": "v1", "title": "t", "crumb": "c", "explain": "e"}
    places = np.arange(len(states))
    axes = {"rows": Axis("layer", 1), "cols": Axis("pos", len(states))}
    grid = GridView(question=question, steps=[], patch=None, work=[Work(lambda **_: None, places)], **words, **axes)
    grid.state[:], grid.values[:] = states, places + 1
    return grid


@pytest.mark.parametrize("final", [EXACT, NOT_MEASURABLE])
def test_only_what_is_final_is_kept(final):
    grid, news = grid_of(0, 0, 0), grid_of(final, ESTIMATE, 0)
    news.keep(grid_of(final, ESTIMATE, 0))
    assert news.state.tolist() == [final, ESTIMATE, 0]
    shown = type("Result", (), {"state": np.full(3, ESTIMATE), "values": np.full(3, 9.0), "recovery": np.full(3, 9.0), "complete": False})
    shown.clean = shown.corrupted = shown.noise_floor = shown.reason = None
    shown.checks = []
    assert news.absorb(shown, np.arange(3)).tolist() == [1, 2]
    assert news.state.tolist() == [final, ESTIMATE, ESTIMATE]
    assert not grid.known
