"""Errors become sentences on the page, tracebacks in the log, and nothing stops working."""

import pytest

from patchwidget.errors import PatchError
from tests.widget.fakes import FakeExperiment


def test_an_error_of_the_users_is_told_in_its_own_words_and_the_lab_works_on(open_lab, caplog):
    def refuse(site):
        if site == "z":
            raise PatchError("Layer 1 of tiny has no z.", "Choose another site.")

    lab, page = open_lab(FakeExperiment(before_batch=refuse))
    page.hello()
    error = page.over(page.heads(1, 2))
    assert (error["type"], error["message"], error["hint"]) == ("error", "Layer 1 of tiny has no z.", "Choose another site.")
    lab._publisher.drain()
    assert error["view"] == "v2"
    assert page.lab_state["views"] == ["v1"]  # nothing of it was known, so one stands where one stood before
    assert page.lab_state["current"] == "v1"
    assert page.over(page.request("attention", layer=0, head=0, pos=0))["status"] == "done"
    assert lab.wait(timeout=20.0)
    assert lab.status == "done"
    assert caplog.text == ""


def test_any_other_error_is_told_in_a_sentence_and_logged_with_its_traceback(open_lab, caplog):
    def explode(site):
        if site == "resid_pre":
            raise ZeroDivisionError("oh")

    experiment = FakeExperiment(before_batch=explode)
    lab, page = open_lab(experiment)
    page.hello()
    assert lab.wait(timeout=20.0)
    (error,) = [message for message in page.messages if message["type"] == "error"]
    assert "ZeroDivisionError: oh" in error["message"]
    assert "explode" in caplog.text
    assert lab.status == "failed"
    assert experiment.closed == ["resid_pre"]
    experiment.before_batch = lambda site: None
    assert page.over(page.request("sweep"))["status"] == "done"


@pytest.mark.parametrize(
    ("method", "params", "words"),
    [
        ("positions", {"site": "z", "layer": 99}, "Layer 99 does not exist: this model has layers 0 to 1."),
        ("heads", {"site": "z", "pos": 3}, "Position 3 does not exist: these prompts have positions 0 to 2."),
        ("heads", {"site": "resid_pre", "pos": 1}, "resid_pre is not divided into heads"),
        ("heads", {"site": "resid_prey", "pos": 1}, "tiny has no resid_prey"),
        ("neurons", {"layer": -1, "pos": 2}, "Layer -1"),
        ("attention", {"layer": 0, "head": 2, "pos": 2}, "Head 2 does not exist: this model has heads 0 to 1."),
        ("paths", {"layer": 1, "head": 0, "site": "z"}, "Choose q, k or v."),
        ("paths", {"layer": 0, "head": 0, "site": "q"}, "nothing comes before it"),
        ("heads", {"pos": 0}, "'site'"),
        ("heads", {"site": "z", "pos": 0, "parent": {"view": "v77", "row": 0, "col": 0}}, "no view 'v77' any more"),
        ("set", {"site": "mlp_post"}, "All neurons of all layers are too many"),
        ("set", {"metric": "beauty"}, "no metric 'beauty'"),
        ("set", {"pair": 7}, "There is no pair 7"),
        ("show", {"view": "v77"}, "no view 'v77' any more"),
        ("again", {"view": "v1", "pair": 3}, "There is no pair 3"),
        ("select", {"cells": [{"site": "z", "colour": 3}]}, "has no colour"),
        ("select", {"cells": [{"layer": 3}]}, "is no patch"),
        ("dance", {}, "dance"),
    ],
)
def test_what_can_not_be_asked_is_refused_and_changes_nothing(open_lab, method, params, words):
    lab, page = open_lab()
    page.hello()
    lab.wait(timeout=20.0)
    before = page.views
    error = page.over(page.request(method, **params))
    assert (error["type"], error["view"]) == ("error", None)
    assert words in f"{error['message']} {error['hint']}"
    assert list(page.views) == list(before)


def test_garbage_from_the_page_is_answered(open_lab):
    _, page = open_lab()
    page.send(type="dance")
    page.until(lambda: page.messages)
    assert "dance" in page.messages[0]["message"]


def test_an_observer_that_fails_is_logged_and_the_page_hears_on(open_lab, caplog):
    lab, page = open_lab()
    lab.observe(lambda change: 1 / 0, "teach")
    page.hello()
    page.request("teach", on=True)
    assert page.over(page.heads(1, 0))["status"] == "done"
    lab.wait(timeout=20.0)
    assert "ZeroDivisionError" in caplog.text
