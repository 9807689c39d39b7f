"""Cells selected together: in the page and from Python, their joint effect and the synergy."""

import numpy as np
import pytest

import patchwidget as pw
from patchwidget.errors import SiteError
from tests.widget.fakes import FakeExperiment, Gate

TWO = [{"site": "resid_pre", "layer": 1, "pos": 1}, {"site": "z", "layer": 2, "pos": 4, "head": 1}]


def selections(page):
    return [message["selection"] for message in page.messages if message["type"] == "selection"]


def test_the_joint_effect_and_its_parts_are_those_of_the_experiment(shown, small):
    lab, page = shown
    page.request("select", cells=TWO)
    lab.wait(timeout=60.0)
    found = selections(page)[-1]
    experiment = pw.Experiment(*small)
    joint, *parts = (experiment.patch(patches) for patches in ([pw.Patch(**c) for c in TWO], *(pw.Patch(**c) for c in TWO)))
    assert found["status"] == "done"
    assert found["joint"]["value"] == pytest.approx(float(joint.values), abs=1e-5)
    assert found["joint"]["recovery"] == pytest.approx(float(joint.recovery), abs=1e-5)
    for told, part in zip(found["parts"], parts, strict=True):
        assert told["recovery"] == pytest.approx(float(part.recovery), abs=1e-5)
    assert found["synergy"] == pytest.approx(float(joint.recovery) - sum(float(part.recovery) for part in parts), abs=1e-5)
    assert found["explain"]
    assert lab.selection == TWO


def test_when_noising_the_effect_is_what_is_lost(shown):
    lab, page = shown
    lab.direction = "noise"
    lab.selection = TWO
    lab.wait(timeout=60.0)
    found = selections(page)[-1]
    assert found["joint"]["effect"] == pytest.approx(1 - found["joint"]["recovery"])
    assert found["synergy"] == pytest.approx(found["joint"]["effect"] - sum(part["effect"] for part in found["parts"]))


def test_it_is_measured_again_in_another_setting(shown):
    lab, page = shown
    lab.selection = TWO
    lab.wait(timeout=60.0)
    first = selections(page)[-1]
    lab.metric = "prob_diff"
    lab.wait(timeout=60.0)
    second = selections(page)[-1]
    assert second["cells"] == first["cells"]
    assert second["joint"]["value"] != first["joint"]["value"]
    count = len(selections(page))
    lab.site = "mlp_out"  # the same experiment
    lab.wait(timeout=60.0)
    assert len(selections(page)) == count


def test_patches_may_be_assigned(shown):
    lab, page = shown
    lab.selection = [pw.Patch("z", layer=2, head=1), {"site": "mlp_out", "layer": np.int64(0), "pos": 3}]
    assert lab.selection == [{"site": "z", "layer": 2, "head": 1}, {"site": "mlp_out", "layer": 0, "pos": 3}]
    lab.wait(timeout=60.0)
    assert selections(page)[-1]["cells"] == lab.selection
    lab.selection = []
    lab.wait(timeout=60.0)
    assert (selections(page)[-1]["status"], selections(page)[-1]["cells"]) == ("none", [])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([{"site": "z", "colour": 1}], "no colour"),
        ([3], "is no patch"),
        (["z"], "is no patch"),
        ([pw.Patch("z", layer=1, source="zero")], "no source"),
    ],
)
def test_what_is_no_cell_is_refused_in_the_users_cell(shown, value, words):
    lab, _ = shown
    with pytest.raises(SiteError, match=words):
        lab.selection = value
    assert lab.selection == []


def test_a_cell_that_does_not_exist_says_so_and_nothing_else_stops(shown):
    lab, page = shown
    page.request("select", cells=[{"site": "z", "layer": 77}])
    lab.wait(timeout=60.0)
    found = selections(page)[-1]
    assert found["status"] == "failed"
    assert "Layer 77 does not exist" in found["message"]
    assert page.over(page.heads(1, 1))["status"] == "done"


def test_what_a_grid_shows_is_not_measured_again(open_lab):
    ran = []
    lab, page = open_lab(FakeExperiment(before_batch=ran.append))
    page.hello()
    lab.wait(timeout=20.0)
    page.request("select", cells=[{"site": "resid_pre", "layer": 1, "pos": 1}, {"site": "resid_pre", "layer": 1, "pos": 2}])
    lab.wait(timeout=20.0)
    assert ran.count("patch") == 1  # the two together
    assert [part["value"] for part in selections(page)[-1]["parts"]] == [4, 5]


def test_a_thousand_selections_end_with_the_last(open_lab):
    gate = Gate("patch")
    lab, page = open_lab(FakeExperiment(before_batch=gate))
    page.hello()
    lab.wait(timeout=20.0)
    gate.let(1)
    for n in range(1000):
        page.request("select", cells=[{"site": "z", "layer": n % 2, "pos": n % 3}])
    gate.open()
    assert lab.wait(timeout=60.0)
    assert selections(page)[-1]["status"] == "done"
    assert lab.selection == [{"site": "z", "layer": 1, "pos": 0}]
    assert len(selections(page)) < 300  # most are joined
    assert gate.entries.count("patch") <= 3
