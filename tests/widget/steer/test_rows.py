"""The rows of a steering panel: made, changed, and several at once."""

import numpy as np
import pytest
import torch

import patchwidget as pw
from patchwidget.widget.steer.rows import round_up
from tests.widget.steer.page import PROMPT, BarePanel


def test_a_vector_from_two_boxes_has_every_layer_and_a_row(shown, model):
    panel, page = shown
    page.ask("make", positive="John went\n\nTom went", negative="Mary went\nAnn went", method="mean_diff", layer=2)
    assert [source["about"] for source in page.panel["vectors"]] == [
        "mean_diff, resid_post, layer 1",
        "mean_diff, resid_post, layers 0 to 2",
    ]
    row = page.rows[1]
    assert (row["layer"], row["layers"], row["on"]) == (2, [0, 1, 2], True)
    assert page.panel["current"] == row["id"]
    made = pw.SteeringVector.from_pairs(model, ["John went", "Tom went"], ["Mary went", "Ann went"], layer=2)
    assert torch.allclose(panel.steers[1].vector[2], made[2])
    assert page.ladder(row["id"])["key"] == row["ladder"]
    page.ask("row", row=row["id"], layer=0)
    assert panel.steers[1].layers == 0


def test_several_rows_work_together_and_each_has_its_ladder(shown, model):
    panel, page = shown
    page.ask("add", vector=page.panel["vectors"][0]["id"])
    first, second = page.rows
    page.ask("row", row=second["id"], layer=2, strength=2.0)
    first, second = page.rows
    told = page.ladder(first["id"])
    assert told["key"] == first["ladder"]
    place = int(np.argmin(np.abs(told["strengths"] - first["strength"])))
    expected = model.logits(PROMPT, panel.steers)[-1].softmax(-1)[told["ids"]].numpy()
    assert told["probabilities"].reshape(len(told["strengths"]), -1)[place] == pytest.approx(expected, abs=1e-5)
    page.ask("row", row=second["id"], on=False)
    assert len(panel.steers) == 1
    assert page.rows[1]["ladder"] is None
    page.ask("remove", row=first["id"])
    assert [row["id"] for row in page.rows] == [second["id"]]
    assert panel.steers == []


def test_another_unit_keeps_the_effect(shown, model):
    panel, page = shown
    before = model.logits(PROMPT, panel.steers)[-1]
    page.ask("row", row="r2", unit="residual norm")
    row = page.rows[0]
    assert row["unit"] == "residual norm"
    assert row["norm"] == 1.0
    assert row["limit"] == 2.0
    assert torch.allclose(model.logits(PROMPT, panel.steers)[-1], before, atol=0.02)


def test_a_vector_without_norms_learns_them_from_the_prompt(open_panel, model):
    panel, page = open_panel(model, PROMPT, {1: torch.ones(16)})
    page.hello()
    assert panel.wait(timeout=60.0)
    (row,) = page.rows
    assert row["norm"] == pytest.approx(panel.steers[0].vector.relative_norm(1))
    assert row["limit"] == round_up(2 / row["norm"] * 0.999)


def test_what_was_given_stays_as_it_was_given(open_panel, model, vector):
    steer = pw.Steer(vector, -0.5, layers=2, positions=(1, 4), unit="residual norm")
    panel, page = open_panel(model, PROMPT, {"kind": steer, "plain": vector})
    page.hello()
    assert panel.wait(timeout=60.0)
    first, second = page.rows
    assert (first["positions"], first["layer"], first["strength"]) == ("own", 2, -0.5)
    assert (second["positions"], second["layer"], second["strength"]) == ("all", 1, 1.0)
    assert [source["name"] for source in page.panel["vectors"]] == ["kind", "plain"]
    assert panel.steers[0].positions == (1, 4)
    assert torch.equal(model.logits(PROMPT, panel.steers[0])[-1], model.logits(PROMPT, steer)[-1])


def test_a_panel_without_a_vector_begins_with_the_plain_text(open_panel, model):
    panel, page = open_panel(model, PROMPT)
    page.hello()
    assert panel.wait(timeout=60.0)
    assert page.rows == []
    assert page.text("base")[0] == page.text("steered")[0]
    page.ask("make", positive="John went", negative="Mary went", method="caa", layer=1)
    assert len(page.rows) == 1


def test_from_a_cell(open_lab, small):
    model, pair = small
    experiment = pw.Experiment(model, pair)
    panel = BarePanel.from_cell(experiment, layer=1, pos=3, max_new_tokens=4)
    assert panel.wait(timeout=60.0)
    expected = pw.SteeringVector.from_patch(experiment, layer=1, pos=3)
    assert torch.equal(panel.steers[0].vector[1], expected[1])
    assert "pw.SteeringVector.from_patch(exp, layer=1, pos=3, site='resid_post')" in panel.code()
    panel.close()
