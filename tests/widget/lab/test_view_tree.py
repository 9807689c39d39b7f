"""The tree of views: what leads where, what is shown again, what is kept, what is compared."""

import numpy as np
import pytest

from patchwidget.widget.lab import view_tree
from patchwidget.widget.lab.view_tree import Tree
from tests.widget.fakes import FakeExperiment, FakeModel, Gate

WAYS = {
    "heads": {"site": "z", "pos": 2},
    "positions": {"site": "q", "layer": 1},
    "parts": {"layer": 1, "head": 0},
    "entries": {"layer": 1, "head": 0},
    "neurons": {"layer": 1, "pos": 2},
    "paths": {"layer": 1, "head": 0, "site": "k_per_head"},
    "attention": {"layer": 1, "head": 0, "pos": None},
}


@pytest.fixture
def shown(open_lab):
    lab, page = open_lab()
    page.hello()
    lab.wait(timeout=20.0)
    return lab, page


@pytest.mark.parametrize("method", list(WAYS))
def test_each_question_is_answered_once_and_then_shown_again(shown, method):
    lab, page = shown
    first = page.over(page.request(method, **WAYS[method], parent={"view": "v1", "row": 1, "col": 2}))
    assert first["status"] == "done"
    assert first["open"]["title"]
    assert first["open"]["crumb"]
    assert first["open"]["explain"].endswith(".")
    assert first["open"]["parent"] == {"view": "v1", "row": 1, "col": 2}
    again = page.over(page.request(method, **WAYS[method]))
    assert again["view"] == first["view"]
    lab.wait(timeout=20.0)
    assert page.lab_state["views"] == ["v1", first["view"]]
    assert page.lab_state["current"] == first["view"]


def test_the_shapes_of_the_grids(shown):
    _, page = shown
    shapes = {}
    for method, params in WAYS.items():
        if method != "attention":
            view = page.over(page.request(method, **params))["open"]
            shapes[method] = (view["rows"]["axis"], view["rows"]["size"], view["cols"]["axis"], view["cols"]["size"], view["patch"])
            assert len(view["state"]) == view["rows"]["size"] * view["cols"]["size"]
    assert shapes == {
        "heads": ("layer", 2, "head", 2, {"site": "z", "pos": 2}),
        "positions": ("head", 2, "pos", 3, {"site": "q", "layer": 1}),
        "parts": ("site", 5, "pos", 3, {"layer": 1, "head": 0}),
        "entries": ("dest_pos", 3, "src_pos", 3, {"site": "pattern", "layer": 1, "head": 0}),
        "neurons": ("layer", 1, "neuron", 4, {"site": "mlp_post", "layer": 1, "pos": 2}),
        "paths": ("layer", 1, "sender", 3, None),
    }


def test_heads_by_token_are_the_right_way_round(open_lab):
    grid = np.arange(6, dtype=np.float32).reshape(1, 3, 2)  # layer, pos, head
    _, page = open_lab(FakeExperiment(grids={"z": grid}))
    page.hello()
    view = page.over(page.request("positions", site="z", layer=1))["open"]
    assert view["values"].reshape(2, 3).tolist() == grid[0].T.tolist()


def test_steps_lead_on(shown):
    """Each step that a view offers at a cell can be asked there, as far as steps lead."""
    lab, page = shown
    asked, seen = [("v1", 0)], set()
    while asked:
        name, depth = asked.pop()
        view = page.views[name]
        rows, cols = view.get("rows"), view.get("cols")
        for step in view["steps"]:
            if step["method"] == "steer":
                continue  # leads out of the tree
            cell = {}
            for axis, place in ((rows, "row"), (cols, "col")):
                if axis:
                    values = axis["values"] or list(range(axis["size"]))
                    allowed = (step["only"] or {}).get(axis["axis"], values)
                    cell[place] = values.index(allowed[-1])
                    cell[axis["axis"]] = allowed[-1]
            params = step["params"] | {param: cell[axis] for param, axis in step["takes"].items()}
            if (name, step["method"]) in seen or (step["method"] == "paths" and params["layer"] == 0):
                continue  # nothing comes before the first layer
            seen.add((name, step["method"]))
            over = page.over(page.request(step["method"], **params, parent={"view": name, "row": cell.get("row"), "col": cell.get("col")}))
            assert over["type"] == "result", (view["title"], step, over)
            if depth < 2:
                asked.append((over["view"], depth + 1))
    assert {method for _, method in seen} == set(WAYS)
    lab.wait(timeout=20.0)


def test_a_step_that_the_model_lacks_says_why(open_lab):
    lab, page = open_lab(FakeExperiment(FakeModel(lacks=("mlp_post",))))
    page.hello()
    lab.wait(timeout=20.0)
    reasons = {step["method"]: step["reason"] for step in page.main["steps"]}
    assert reasons["neurons"] == "tiny has no mlp_post."
    assert reasons["heads"] is None


def test_going_back_computes_nothing(open_lab):
    ran = []
    lab, page = open_lab(FakeExperiment(before_batch=ran.append))
    page.hello()
    heads = page.over(page.heads(1, 2))["view"]
    lab.wait(timeout=20.0)
    before = len(ran)
    shown = page.over(page.request("show", view="v1"))
    assert (shown["view"], shown["status"], shown["open"]["done"]) == ("v1", "done", 6)
    lab.wait(timeout=20.0)
    assert page.lab_state["current"] == "v1"
    assert page.over(page.request("show", view=heads))["open"]["values"].tolist() == [0, 1, 2, 3]
    assert len(ran) == before


def test_a_view_that_is_still_filling_is_shown_as_it_is(open_lab):
    gate = Gate("resid_pre")
    lab, page = open_lab(FakeExperiment(before_batch=gate))
    page.hello()
    gate.let(2)
    for _ in range(3):
        gate.arrive()
    shown = page.over(page.request("show", view="v1"))
    assert (shown["status"], shown["open"]["done"]) == ("running", 2)
    gate.open()
    lab.wait(timeout=20.0)
    assert page.main["status"] == "done"


def test_fetching_goes_nowhere(shown):
    lab, page = shown
    page.over(page.heads(1, 2))
    page.over(page.request("fetch", view="v1"))
    lab.wait(timeout=20.0)
    assert page.lab_state["current"] == "v2"


def test_the_same_question_under_another_setting_stands_beside_it(shown):
    lab, page = shown
    heads = page.over(page.heads(1, 2))["open"]
    page.request("pin", view=heads["id"])
    other = page.over(page.request("again", view=heads["id"], direction="noise"))["open"]
    lab.wait(timeout=20.0)
    assert (other["direction"], heads["direction"]) == ("noise", "denoise")
    assert other["parent"] == heads["parent"]
    assert (other["rows"], other["cols"]) == (heads["rows"], heads["cols"])
    assert page.lab_state["pinned"] == heads["id"]
    assert page.lab_state["direction"] == "denoise"  # of the main grid that both belong to
    child = page.over(page.request("parts", layer=1, head=0, parent={"view": other["id"], "row": 1, "col": 0}))["open"]
    assert child["direction"] == "noise"


def test_the_pinned_view_goes_on_being_measured(open_lab):
    gate = Gate("z")
    lab, page = open_lab(FakeExperiment(before_batch=gate))
    page.hello()
    first = page.heads(1, 2)
    gate.let(1)
    gate.arrive()
    gate.arrive()
    page.request("pin", view="v2")
    second = page.heads(1, 1)
    gate.open()
    assert page.over(second)["status"] == page.over(first)["status"] == "done"
    lab.wait(timeout=20.0)


def test_one_that_is_pinned_no_more_is_measured_only_where_one_stands(open_lab):
    gate = Gate("resid_pre", "mlp_out")
    lab, page = open_lab(FakeExperiment(before_batch=gate))
    page.hello()
    gate.let(1)
    for _ in range(2):
        gate.arrive()
    page.request("pin", view="v1")
    other = page.request("set", site="mlp_out")
    page.over(page.request("show", view="v2"))
    page.request("pin", view=None)
    gate.open()
    assert page.over(other)["status"] == "done"
    lab.wait(timeout=20.0)
    assert page.views["v1"]["status"] == "cancelled"


def test_a_page_hears_of_a_view_that_goes(open_lab):
    """Also where one stays: the newest question's answer is there already."""
    gate = Gate("z")
    lab, page = open_lab(FakeExperiment(before_batch=gate))
    page.hello()
    page.heads(1, 2)
    gate.arrive()
    page.over(page.request("show", view="v1"))
    back = page.request("set", site="resid_pre")
    gate.open()
    page.over(back)
    lab.wait(timeout=20.0)
    assert page.lab_state["views"] == ["v1"]
    assert page.lab_state["ways"] == [[{"view": "v1", "row": 1, "col": 2}]]


def test_only_the_latest_views_are_kept(open_lab, monkeypatch):
    monkeypatch.setattr(view_tree, "VIEWS_KEPT", 4)
    lab, page = open_lab(FakeExperiment(tokens=tuple("abcdefgh")))
    page.hello()
    page.over(page.heads(1, 0))
    page.request("pin", view="v2")
    for pos in range(1, 8):
        page.over(page.heads(1, pos))
    lab.wait(timeout=20.0)
    assert page.lab_state["views"] == ["v1", "v2", "v8", "v9"]  # the main grid they hang on, the pinned one, and the latest
    page.hello()
    lab._publisher.drain()
    assert [view["id"] for view in page.messages[-1]["views"]] == page.lab_state["views"]
    error = page.over(page.request("show", view="v3"))
    assert "only the latest are kept" in error["message"]


def test_a_view_too_large_goes_with_its_bytes(shown, monkeypatch):
    lab, _ = shown
    views = Tree()
    for view in lab._session._tree:
        views.add(view)
    monkeypatch.setattr(view_tree, "BYTES_KEPT", 10)
    views.trim(set())
    assert list(views) == []


def test_two_pages_of_one_lab_hear_the_same(shown):
    """All messages go to every page; what one asks is answered for both."""
    lab, page = shown
    page.send(type="hello", page="q")
    page.send(type="request", id="q-1", method="heads", params={"site": "z", "pos": 1})
    page.over(page.heads(1, 1))
    lab.wait(timeout=20.0)
    answered = [message["id"] for message in page.messages if message["type"] == "result"]
    assert {"q-1", "p-1"} <= set(answered)
    assert page.lab_state["views"] == ["v1", "v2"]
