"""A lab and its page, without a notebook between them."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from patchwidget.errors import PatchError
from patchwidget.widget.hosts import jupyter
from patchwidget.widget.lab import widget as lab_module
from tests.widget.fakes import CLEAN, CORRUPTED, FakeExperiment, FakeModel, Gate


def test_the_sweep_begins_when_the_lab_is_shown(open_lab):
    experiment = FakeExperiment()
    ran = []
    experiment.before_batch = ran.append
    lab, _ = open_lab(experiment)
    assert lab._worker.wait(lab._asker, timeout=20.0)
    assert ran == []
    assert lab.status == "queued"
    data, _ = lab._repr_mimebundle_()
    assert lab.wait(timeout=20.0)
    assert ran == ["baselines"] + ["resid_pre"] * 6
    assert lab.status == "done"
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"] == "PatchLab(tiny, resid_pre, logit_diff, denoise)"
    assert "PatchLab(tiny" in data["text/html"]


def test_showing_it_twice_measures_once(open_lab):
    experiment = FakeExperiment()
    ran = []
    experiment.before_batch = ran.append
    lab, page = open_lab(experiment)
    lab._repr_mimebundle_()
    page.hello()
    lab._repr_mimebundle_()
    assert lab.wait(timeout=20.0)
    assert ran.count("resid_pre") == 6


def test_the_first_hello_begins_it_too_and_the_grid_fills(open_lab):
    _, page = open_lab(FakeExperiment(grids={"resid_pre": np.array([[CORRUPTED, CLEAN, 0], [1, 2, 3]], np.float32)}))
    page.hello()
    page.until(lambda: any(message["type"] == "result" for message in page.messages))
    grid = page.main
    assert grid["status"] == "done"
    assert (grid["done"], grid["total"], grid["seconds_left"]) == (6, 6, 0)
    assert grid["values"].tolist() == [CORRUPTED, CLEAN, 0, 1, 2, 3]
    assert grid["recovery"][:2].tolist() == [0, 1]
    assert grid["state"].tolist() == [1] * 6
    assert grid["checks"][0]["name"] == "identity"
    assert [message["seq"] for message in page.messages] == list(range(1, len(page.messages) + 1))


def test_baselines_are_told_as_soon_as_they_are_known(open_lab):
    gate = Gate("baselines")
    lab, page = open_lab(FakeExperiment(before_batch=gate))
    page.hello()
    gate.arrive()
    page.until(lambda: page.messages)
    assert page.messages[0]["baselines"] is None
    gate.open()
    lab.wait(timeout=20.0)
    told = [message for message in page.messages if message["type"] == "lab"]
    assert told[-1]["baselines"]["clean_top"][0] == [" Mary", 0.91]


def test_the_traits_can_be_observed_and_are_not_the_pages(open_lab):
    lab, page = open_lab()
    seen = {"status": [], "result": [], "selection": [], "site": []}
    for name, values in seen.items():
        lab.observe(lambda change, values=values: values.append((change["new"], threading.current_thread())), name)
    page.hello()
    page.request("select", cells=[{"site": "z", "layer": 1}])
    page.over(page.request("set", site="mlp_out"))
    assert lab.wait(timeout=20.0)
    assert [status for status, _ in seen["status"]][-1] == "done"
    assert seen["result"][-1][0].complete
    assert lab.result is seen["result"][-1][0]
    assert [value for value, _ in seen["selection"]] == [[{"site": "z", "layer": 1}]]
    assert [value for value, _ in seen["site"]] == ["mlp_out"]
    assert {thread for values in seen.values() for _, thread in values} == {lab._publisher._thread}
    assert not set(seen) & set(lab.keys)


def test_an_observer_may_use_the_lab(open_lab):
    lab, page = open_lab()
    waited = []
    lab.observe(lambda change: waited.append(lab.wait(timeout=20.0)), "teach")
    page.hello()
    page.request("teach", on=True)
    assert lab.wait(timeout=20.0)
    assert waited == [True]


def test_all_that_is_published_leaves_through_the_publisher(open_lab):
    lab, page = open_lab()
    page.hello()
    lab.tooltip = "a trait, set in a cell"
    lab.wait(timeout=20.0)
    kind, *others = page.comm.sent
    assert kind[0] == "comm_open"
    assert {thread for _, _, _, thread in others} == {"patchwidget-publisher"}
    assert any(data.get("state") == {"tooltip": "a trait, set in a cell"} for _, data, _, _ in others)


def test_only_messages_that_named_a_subshell_give_the_context_to_publish_in(open_lab):
    lab, _ = open_lab()
    hello = {"content": {"data": {"method": "custom", "content": {"v": 2, "type": "hello", "page": "p"}}}, "buffers": []}
    lab._handle_msg({**hello, "header": {"subshell_id": None}})
    assert lab._publisher._context is None
    lab._handle_msg({**hello, "header": {"subshell_id": "s1"}})
    named = lab._publisher._context
    assert named is not None
    lab._handle_msg({**hello, "header": {"subshell_id": None}})
    assert lab._publisher._context is named


def test_the_page_decides_which_shell_answers(open_lab):
    lab, _ = open_lab()
    assert lab.comm._reply_subshell_for({"content": {"id": "p-1"}}, "s1") == "s1"


def test_a_comm_that_does_not_route_is_left_alone():
    plain = SimpleNamespace()
    jupyter.answer_where_asked(plain)
    assert vars(plain) == {}


@pytest.mark.parametrize(
    ("features", "waits"), [(["kernel subshells", "debugger"], None), (["debugger"], jupyter.WAITS), (None, jupyter.WAITS)]
)
def test_a_kernel_without_subshells_says_that_clicks_wait(monkeypatch, features, waits):
    shell = None if features is None else SimpleNamespace(kernel=SimpleNamespace(kernel_info={"supported_features": features}))
    monkeypatch.setattr(jupyter, "get_ipython", lambda: shell)
    assert jupyter.waits_for_cells() == waits


def test_after_close_nothing_runs_and_nothing_is_sent(open_lab):
    gate = Gate("resid_pre")
    experiment = FakeExperiment(before_batch=gate)
    lab, page = open_lab(experiment)
    page.hello()
    gate.arrive()
    lab.close()
    sent = len(page.comm.sent)
    gate.open()
    assert lab._worker.wait(lab._asker, timeout=20.0)
    assert lab.status == "closed"
    assert experiment.closed == ["resid_pre"]
    assert gate.entries.count("resid_pre") == 1
    assert len(page.comm.sent) == sent
    assert page.comm.sent[-1][0] == "comm_close"
    assert not lab._publisher._thread.is_alive()
    lab.close()


def test_an_option_that_there_is_not_is_a_type_error():
    with pytest.raises(TypeError, match="no option 'sight'; it takes site, metric, direction"):
        lab_module.PatchLab(FakeExperiment(), sight="resid_pre")


def test_options_of_every_widget_are_taken(open_lab):
    lab, _ = open_lab(tooltip="hover")
    assert lab.tooltip == "hover"


def test_a_model_alone_is_not_enough():
    class Unbuilt(lab_module.PatchLab):
        _esm = "export default {\n}"

    with pytest.raises(TypeError, match="a model and a pair of prompts, or an Experiment; it got FakeModel alone"):
        Unbuilt(FakeModel())
    with pytest.raises(TypeError, match="brings its own metric"):
        Unbuilt(FakeExperiment(), direction="noise")


def test_without_its_front_end_importing_works_and_making_a_lab_says_what_to_do():
    class Unbuilt(lab_module.PatchLab):
        _esm = lab_module.bundled("nothing-here.js")

    with pytest.raises(PatchError, match=r"has not been built.*npm run build.*restart the kernel"):
        Unbuilt(FakeExperiment())
