"""A lab and its page, without a notebook between them."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from patchwidget.errors import PatchError
from patchwidget.widget import kernel
from patchwidget.widget import lab as lab_module
from tests.widget.fakes import CLEAN, CORRUPTED, FakeExperiment, FakeModel


class Gate:
    """Blocks an experiment before each batch until it is let through, and writes down what ran."""

    def __init__(self, *sites):
        self.sites, self.permits, self.entries, self.reached = sites, threading.Semaphore(0), [], threading.Semaphore(0)

    def __call__(self, site):
        if site in self.sites:
            self.reached.release()
            assert self.permits.acquire(timeout=20.0)
        self.entries.append(site)

    def arrive(self):
        """Wait until the worker stands before a batch."""
        assert self.reached.acquire(timeout=20.0)

    def let(self, n=1):
        self.permits.release(n)

    def open(self):
        self.permits.release(10_000)


def test_the_sweep_begins_when_the_lab_is_shown(open_lab):
    experiment = FakeExperiment()
    ran = []
    experiment.before_batch = ran.append
    lab, _ = open_lab(experiment)
    assert lab._worker.wait(lab, timeout=20.0)
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
    grid = page.views["main"]
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
    told = [message for message in page.messages if message["type"] == "hello"]
    assert told[-1]["baselines"]["clean_top"][0] == [" Mary", 0.91]


def test_a_click_in_mid_sweep_is_answered_before_the_sweep_goes_on(open_lab):
    gate = Gate("resid_pre")
    lab, page = open_lab(FakeExperiment(before_batch=gate))
    page.hello()
    gate.arrive()
    click = page.request("heads", layer=1, pos=2)
    gate.let()
    assert page.over(click)["status"] == "done"
    assert page.views["main"]["status"] != "done"
    assert lab.status == "running"
    assert lab.selection == {"layer": 1, "pos": 2}
    gate.open()
    assert lab.wait(timeout=20.0)
    assert gate.entries == ["baselines", "resid_pre"] + ["z"] * 4 + ["resid_pre"] * 5
    heads = page.views["heads"]
    assert heads["parent"] == {"view": page.views["main"]["id"], "row": 1, "col": 2}
    assert heads["marked"] == {"row": 1, "col": None}
    assert heads["title"] == "Heads at ' to' (2)"
    assert page.views["main"]["status"] == "done"


def test_a_head_shows_its_attention_in_both_runs(open_lab):
    lab, page = open_lab()
    page.hello()
    page.over(page.request("heads", layer=0, pos=2))
    shown = page.over(page.request("attention", layer=1, head=0, pos=2))["open"]
    assert shown["clean"].tolist() == [0, 0, 1]
    assert shown["corrupted"].tolist() == [1, 0, 0]
    assert (shown["tokens"][1], shown["tokens_clean"][1]) == (" Mary", " John")
    assert shown["parent"] == {"view": page.views["heads"]["id"], "row": 1, "col": 0}
    assert lab.wait(timeout=20.0)
    assert lab.selection == {"layer": 1, "head": 0, "pos": 2}


def test_new_heads_take_the_attention_row_of_the_old_ones_with_them(open_lab):
    lab, page = open_lab()
    page.hello()
    page.over(page.request("heads", layer=0, pos=2))
    page.over(page.request("attention", layer=1, head=0, pos=2))
    page.over(page.request("heads", layer=0, pos=1))
    lab.wait(timeout=20.0)
    page.hello()
    lab._publisher.drain()
    assert list(page.views) == ["main", "heads"]


def test_cancel_in_mid_sweep_keeps_the_cells_done(open_lab):
    gate = Gate("resid_pre")
    experiment = FakeExperiment(before_batch=gate)
    lab, page = open_lab(experiment)
    page.hello()
    gate.let(3)
    for _ in range(4):
        gate.arrive()
    page.cancel(lab._session.main.id)
    gate.let()
    assert lab.wait(timeout=20.0)
    grid = page.views["main"]
    assert grid["status"] == lab.status == "cancelled"
    assert grid["state"].tolist() == [1, 1, 1, 0, 0, 0]
    assert np.isnan(grid["values"][3:]).all()
    assert lab.result.state.ravel().tolist() == [1, 1, 1, 0, 0, 0]
    assert experiment.closed == ["resid_pre"]
    assert gate.entries.count("resid_pre") == 4


def test_after_a_cancel_the_sweep_can_be_run_again(open_lab):
    gate = Gate("resid_pre")
    lab, page = open_lab(FakeExperiment(before_batch=gate))
    page.hello()
    gate.arrive()
    page.cancel(lab._session.main.id)
    again = page.request("sweep")
    gate.open()
    assert page.over(again)["status"] == "done"
    assert page.views["main"]["request"] == again
    assert lab.wait(timeout=20.0)
    assert lab.status == "done"
    assert lab.result.complete


def test_cancelling_what_is_over_or_unknown_says_nothing(open_lab):
    lab, page = open_lab()
    page.hello()
    lab.wait(timeout=20.0)
    before = len(page.messages)
    page.cancel("p-77")
    page.cancel(lab._session.main.id)
    lab._publisher.drain()
    assert len(page.messages) == before


def test_the_newest_of_a_kind_wins_and_every_request_is_answered(open_lab):
    gate = Gate("resid_pre", "z")
    experiment = FakeExperiment(before_batch=gate)
    lab, page = open_lab(experiment)
    page.hello()
    gate.arrive()
    clicks = [page.request("heads", layer=1, pos=n % 3) for n in range(5)]
    gate.open()
    assert [page.over(click)["status"] for click in clicks] == ["cancelled"] * 4 + ["done"]
    assert lab.wait(timeout=20.0)
    assert gate.entries.count("z") == 4
    assert page.views["heads"]["request"] == clicks[-1]


def test_the_end_of_the_old_view_comes_before_the_new_one_opens(open_lab):
    gate = Gate("resid_pre", "z")
    lab, page = open_lab(FakeExperiment(before_batch=gate))
    page.hello()
    gate.arrive()
    first, second = page.request("heads", layer=0, pos=0), page.request("heads", layer=0, pos=1)
    gate.open()
    page.over(second)
    opened = [message["id"] for message in page.messages if "open" in message and message["id"]]
    assert opened.index(second) > max(n for n, name in enumerate(opened) if name == first)
    lab.wait(timeout=20.0)


def test_a_running_older_job_of_the_kind_is_stopped(open_lab):
    gate = Gate("z")
    experiment = FakeExperiment(before_batch=gate)
    lab, page = open_lab(experiment)
    page.hello()
    old = page.request("heads", layer=0, pos=0)
    gate.let()
    gate.arrive()
    gate.arrive()
    new = page.request("heads", layer=0, pos=1)
    gate.open()
    assert page.over(old)["status"] == "cancelled"
    assert page.over(old)["open"]["state"].tolist() == [1, 0, 0, 0]
    assert page.over(new)["status"] == "done"
    assert lab.wait(timeout=20.0)
    assert gate.entries.count("z") == 2 + 4
    assert experiment.closed.count("z") == 2


def test_a_storm_of_clicks_and_cancels_ends_in_peace(open_lab):
    lab, page = open_lab()
    page.hello()
    clicks = []
    for n in range(300):
        clicks.append(page.request("heads", layer=n % 2, pos=n % 3))
        page.cancel(clicks[-1] if n % 2 else "nothing")
    last = page.request("heads", layer=1, pos=2)
    assert page.over(last)["status"] == "done"
    assert lab.wait(timeout=20.0)
    answered = [message["id"] for message in page.messages if message["type"] == "result"]
    assert sorted(name for name in answered if name) == sorted([*clicks, last])
    assert page.views["heads"]["request"] == last
    assert page.views["main"]["status"] == "done"
    assert lab._worker._thread is None


def test_an_error_of_the_users_is_told_in_its_own_words_and_the_lab_works_on(open_lab, caplog):
    def refuse(site):
        if site == "z":
            raise PatchError("Layer 1 of tiny has no z.", "Choose another site.")

    lab, page = open_lab(FakeExperiment(before_batch=refuse))
    page.hello()
    error = page.over(page.request("heads", layer=1, pos=2))
    assert (error["type"], error["message"], error["hint"]) == ("error", "Layer 1 of tiny has no z.", "Choose another site.")
    assert error["view"] == page.views["heads"]["id"]
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
    error = page.messages[-1]
    assert error["type"] == "error"
    assert "ZeroDivisionError: oh" in error["message"]
    assert "explode" in caplog.text
    assert lab.status == "failed"
    assert experiment.closed == ["resid_pre"]
    experiment.before_batch = lambda site: None
    assert page.over(page.request("sweep"))["status"] == "done"


@pytest.mark.parametrize(
    ("method", "params", "words"),
    [
        ("heads", {"layer": 99, "pos": 2}, "Layer 99 does not exist: this model has layers 0 to 1."),
        ("heads", {"layer": 0, "pos": 3}, "Position 3 does not exist: these prompts have positions 0 to 2."),
        ("heads", {"layer": -1, "pos": 2}, "Layer -1"),
        ("attention", {"layer": 0, "head": 2, "pos": 2}, "Head 2 does not exist: this model has heads 0 to 1."),
        ("heads", {"layer": 0}, "'pos'"),
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
    assert words in error["message"]
    assert list(page.views) == list(before)


def test_garbage_from_the_page_is_answered(open_lab):
    _, page = open_lab()
    page.send(type="dance")
    page.until(lambda: page.messages)
    assert "dance" in page.messages[0]["message"]


def test_two_labs_on_one_model_take_turns(open_lab):
    gate, model = Gate("resid_pre"), FakeModel()
    first, one = open_lab(FakeExperiment(model, before_batch=gate))
    second, two = open_lab(FakeExperiment(model, before_batch=gate, tokens=("A", " John")))
    assert first._worker is second._worker
    one.hello()
    gate.arrive()
    two.hello()
    click = two.request("heads", layer=0, pos=0)
    gate.let()
    assert two.over(click)["status"] == "done"
    assert first.status == "running"
    gate.open()
    assert first.wait(timeout=20.0)
    assert second.wait(timeout=20.0)
    # the click of the second goes before the sweep of the first, whose sweep goes before the second's
    assert [entry for entry in gate.entries if entry != "baselines"] == ["resid_pre"] + ["z"] * 4 + ["resid_pre"] * (5 + 4)
    assert one.views["main"]["status"] == two.views["main"]["status"] == "done"


def test_a_snapshot_rebuilds_everything(open_lab):
    lab, page = open_lab()
    page.hello()
    page.over(page.request("heads", layer=0, pos=2))
    page.over(page.request("attention", layer=1, head=0, pos=2))
    lab.wait(timeout=20.0)
    built = page.views
    page.hello()
    lab._publisher.drain()
    assert page.messages[-1]["type"] == "hello"
    np.testing.assert_equal(page.views, built)


def test_a_snapshot_in_mid_sweep_holds_what_was_told_so_far(open_lab):
    gate = Gate("resid_pre")
    lab, page = open_lab(FakeExperiment(before_batch=gate))
    page.hello()
    gate.let(4)
    for _ in range(5):
        gate.arrive()
    lab._publisher.drain()
    built = page.views
    page.hello()
    lab._publisher.drain()
    assert page.messages[-1]["views"][0]["state"].tolist() == [1, 1, 1, 1, 0, 0]
    np.testing.assert_equal(page.views["main"]["values"], built["main"]["values"])
    gate.open()
    lab.wait(timeout=20.0)
    assert page.views["main"]["state"].tolist() == [1] * 6


def test_a_page_that_has_everything_is_not_told_it_again(open_lab):
    lab, page = open_lab()
    page.hello()
    lab.wait(timeout=20.0)
    page.hello(known=len(page.messages))
    lab._publisher.drain()
    assert page.messages[-1]["type"] == "result"
    page.hello(known=len(page.messages) - 1)
    lab._publisher.drain()
    assert page.messages[-1]["type"] == "hello"


def test_the_traits_can_be_observed_and_are_not_the_pages(open_lab):
    lab, page = open_lab()
    seen = {"status": [], "result": [], "selection": []}
    for name, values in seen.items():
        lab.observe(lambda change, values=values: values.append((change["new"], threading.current_thread())), name)
    page.hello()
    page.over(page.request("heads", layer=1, pos=0))
    assert lab.wait(timeout=20.0)
    assert [status for status, _ in seen["status"]][-1] == "done"
    assert seen["result"][-1][0].complete
    assert lab.result is seen["result"][-1][0]
    assert [value for value, _ in seen["selection"]] == [{"layer": 1, "pos": 0}]
    assert {thread for values in seen.values() for _, thread in values} == {lab._publisher._thread}
    assert not set(seen) & set(lab.keys)


def test_an_observer_may_use_the_lab(open_lab):
    lab, page = open_lab()
    waited = []
    lab.observe(lambda change: waited.append(lab.wait(timeout=20.0)), "selection")
    page.hello()
    page.over(page.request("heads", layer=1, pos=0))
    assert lab.wait(timeout=20.0)
    assert waited == [True]


def test_an_observer_that_fails_is_logged_and_the_page_hears_on(open_lab, caplog):
    lab, page = open_lab()
    lab.observe(lambda change: 1 / 0, "selection")
    page.hello()
    assert page.over(page.request("heads", layer=1, pos=0))["status"] == "done"
    lab.wait(timeout=20.0)
    assert "ZeroDivisionError" in caplog.text


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
    hello = {"content": {"data": {"method": "custom", "content": {"v": 1, "type": "hello", "page": "p"}}}, "buffers": []}
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
    kernel.answer_where_asked(plain)
    assert vars(plain) == {}


@pytest.mark.parametrize(
    ("features", "waits"), [(["kernel subshells", "debugger"], None), (["debugger"], kernel.WAITS), (None, kernel.WAITS)]
)
def test_a_kernel_without_subshells_says_that_clicks_wait(monkeypatch, features, waits):
    shell = None if features is None else SimpleNamespace(kernel=SimpleNamespace(kernel_info={"supported_features": features}))
    monkeypatch.setattr(kernel, "get_ipython", lambda: shell)
    assert kernel.waits_for_cells() == waits


def test_after_close_nothing_runs_and_nothing_is_sent(open_lab):
    gate = Gate("resid_pre")
    experiment = FakeExperiment(before_batch=gate)
    lab, page = open_lab(experiment)
    page.hello()
    gate.arrive()
    lab.close()
    sent = len(page.comm.sent)
    gate.open()
    assert lab._worker.wait(lab, timeout=20.0)
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


def test_a_site_with_three_dimensions_is_refused(open_lab):
    with pytest.raises(PatchError, match=r"layer, pos, head.*Choose one of resid_pre"):
        open_lab(site="z")


def test_without_its_front_end_importing_works_and_making_a_lab_says_what_to_do():
    class Unbuilt(lab_module.PatchLab):
        _esm = lab_module._bundled("nothing-here.js")

    with pytest.raises(PatchError, match=r"has not been built.*npm run build.*restart the kernel"):
        Unbuilt(FakeExperiment())
