"""Site, metric, direction and pair: from the page's menus and from Python."""

import pytest

import patchwidget as pw
from patchwidget.errors import PatchError
from tests.widget.conftest import BareLab
from tests.widget.fakes import FakeExperiment, FakeModel, Gate
from tests.widget.page import Page


def test_the_menus_say_what_there_is_and_why_something_is_not(open_lab):
    lab, page = open_lab(FakeExperiment(FakeModel(lacks=("resid_mid",))))
    page.hello()
    lab.wait(timeout=20.0)
    told = page.lab_state
    reasons = {site["name"]: site["reason"] for site in told["sites"]}
    assert reasons["resid_pre"] is None
    assert reasons["resid_mid"] == "tiny has no resid_mid."
    assert "choose neurons" in reasons["mlp_post"]
    assert next(metric for metric in told["metrics"] if metric["name"] == "logit_diff")["label"] == "logit difference"
    assert [direction["name"] for direction in told["directions"]] == ["denoise", "noise"]
    assert (told["pair"], told["site"], told["metric"], told["direction"]) == (0, "resid_pre", "logit_diff", "denoise")


def test_another_site_opens_another_main_grid_and_the_first_is_shown_again_without_computing(open_lab):
    ran = []
    lab, page = open_lab(FakeExperiment(before_batch=ran.append))
    page.hello()
    lab.wait(timeout=20.0)
    heads = page.over(page.request("set", site="z"))["open"]
    assert heads["parent"] is None
    assert heads["title"] == "Recovery by layer and head"
    assert (heads["rows"]["axis"], heads["cols"]["axis"]) == ("layer", "head")
    lab.wait(timeout=20.0)
    assert (lab.site, page.lab_state["site"], lab.result.values.dims) == ("z", "z", ("layer", "head"))
    before = len(ran)
    back = page.over(page.request("set", site="resid_pre"))
    assert (back["view"], back["status"]) == ("v1", "done")
    lab.wait(timeout=20.0)
    assert len(ran) == before
    assert lab.result.values.dims == ("layer", "pos")
    assert page.lab_state["current"] == "v1"


def test_a_setting_that_is_left_in_mid_sweep_is_cancelled_and_measured_again_on_return(open_lab):
    gate = Gate("resid_pre")
    lab, page = open_lab(FakeExperiment(before_batch=gate))
    page.hello()
    gate.let(2)
    for _ in range(3):
        gate.arrive()
    other = page.request("set", site="mlp_out")
    gate.open()
    assert page.over(other)["status"] == "done"
    lab.wait(timeout=20.0)
    left = page.views["v1"]
    assert (left["status"], left["done"]) == ("cancelled", 2)
    again = page.over(page.request("set", site="resid_pre"))
    assert (again["view"], again["status"], again["open"]["done"]) == ("v1", "done", 6)


def test_what_is_left_before_anything_of_it_is_known_leaves_no_trace(open_lab):
    gate = Gate("resid_pre", "mlp_out")
    lab, page = open_lab(FakeExperiment(before_batch=gate))
    page.hello()
    gate.arrive()
    for n in range(20):
        page.request("set", site=("mlp_out", "attn_out")[n % 2])
    last = page.request("set", site="resid_post")
    gate.open()
    assert page.over(last)["status"] == "done"
    lab.wait(timeout=20.0)
    assert [view["site"] for view in page.views.values()] == ["resid_post"]
    assert gate.entries.count("attn_out") == 0


def test_from_python_the_traits_do_the_same(open_lab):
    lab, page = open_lab()
    page.hello()
    lab.wait(timeout=20.0)
    first = lab.experiment
    lab.direction = "noise"
    assert lab.wait(timeout=20.0)
    assert (page.main["direction"], page.main["status"], lab.status) == ("noise", "done", "done")
    assert lab.experiment is not first
    assert lab.experiment.direction == "noise"
    lab.direction = "denoise"
    lab.teach = True
    lab.wait(timeout=20.0)
    assert lab.experiment is first
    assert page.lab_state["teach"] is True
    with pytest.raises(PatchError, match="resid_prey") as refused:
        lab.site = "resid_prey"
    assert refused.traceback[-1].name == "_set_from_python"
    assert refused.value.__cause__ is None
    assert lab.site == "resid_pre"
    assert page.lab_state["site"] == "resid_pre"


def test_set_before_it_is_shown_it_only_begins_there(open_lab):
    ran = []
    lab, page = open_lab(FakeExperiment(before_batch=ran.append))
    lab.site = "mlp_out"
    assert lab._worker.wait(lab._asker, timeout=20.0)
    assert ran == []
    page.hello()
    lab.wait(timeout=20.0)
    assert {entry for entry in ran if entry != "baselines"} == {"mlp_out"}
    assert [view["site"] for view in page.views.values()] == ["mlp_out"]


def test_estimates_come_first_and_exact_cells_take_their_place(open_lab):
    gate = Gate("resid_pre")
    lab, page = open_lab(FakeExperiment(before_batch=gate, estimates=True, tokens=tuple(f"t{i}" for i in range(40))))
    page.hello()
    gate.let(1)
    for _ in range(2):
        gate.arrive()
    lab._publisher.drain()
    grid = page.main
    assert set(grid["state"].tolist()) == {1, 2}
    assert grid["state"].tolist().count(1) == grid["done"] == 1
    assert grid["values"][1] == 0.5  # half, as estimated
    gate.open()
    lab.wait(timeout=20.0)
    assert set(page.main["state"].tolist()) == {1}
    assert page.main["values"][1] == 1


def test_a_metric_that_can_not_be_estimated_is_exact_from_the_start(open_lab):
    def refuse(site):
        if site == "estimate":
            raise PatchError("The metric rank has no gradient.", "Leave order out.")

    lab, page = open_lab(FakeExperiment(before_batch=refuse, estimates=True, tokens=tuple(f"t{i}" for i in range(40))))
    page.hello()
    lab.wait(timeout=20.0)
    assert lab.status == "done"
    assert set(page.main["state"].tolist()) == {1}
    assert not [message for message in page.messages if message["type"] == "error"]


def test_a_list_of_pairs_is_a_menu(open_lab, small):
    model, pair = small
    other = pw.PromptPair("When Mary and John went to the store", "When Mary and Tom went to the store", answer=" John", distractor=" Tom")
    lab = BareLab(model, [pair, other])
    page = Page(lab)
    page.hello()
    lab.wait(timeout=60.0)
    assert [pair["label"] for pair in page.lab_state["pairs"]] == [pair.clean, other.clean]
    shown = page.over(page.request("set", pair=1))["open"]
    assert shown["pair"] == 1
    assert shown["cols"]["labels"][1] == " Mary"
    assert lab.experiment.pair.answer_text == " John"
    lab.close()


def test_a_function_is_a_metric_like_any_other(open_lab, small):
    model, pair = small

    def first_logit(logits):
        return logits[:, 0]

    lab = BareLab(model, pair)
    lab.wait(timeout=60.0)
    lab.metric = first_logit
    assert lab.wait(timeout=60.0)
    assert lab.metric == "first_logit"
    assert lab.result.info["metric"] == "first_logit"
    lab.metric = "logit_diff"
    assert lab.wait(timeout=60.0)
    assert lab.result.info["metric"] == "logit_diff"
    lab.close()
