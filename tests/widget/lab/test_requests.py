"""What the page asks: what goes first, what is cancelled, what a snapshot holds."""

import numpy as np

from tests.widget.fakes import FakeExperiment, FakeModel, Gate


def test_a_click_in_mid_sweep_is_answered_before_the_sweep_goes_on(open_lab):
    gate = Gate("resid_pre")
    lab, page = open_lab(FakeExperiment(before_batch=gate))
    page.hello()
    gate.arrive()
    click = page.heads(1, 2)
    gate.let()
    assert page.over(click)["status"] == "done"
    assert page.main["status"] != "done"
    lab._publisher.drain()  # traits follow in its thread
    assert lab.status == "running"
    gate.open()
    assert lab.wait(timeout=20.0)
    assert gate.entries == ["baselines", "resid_pre"] + ["z"] * 4 + ["resid_pre"] * 5
    heads = page.view("heads")
    assert heads["parent"] == {"view": page.main["id"], "row": 1, "col": 2}
    assert heads["title"] == "Heads at ' to' (2)"
    assert page.main["status"] == "done"


def test_a_head_shows_its_attention_in_both_runs(open_lab):
    _, page = open_lab()
    page.hello()
    page.over(page.heads(0, 2))
    shown = page.over(page.request("attention", layer=1, head=0, pos=2, parent={"view": "v2", "row": 1, "col": 0}))["open"]
    assert shown["clean"].tolist() == [0, 0, 1]
    assert shown["corrupted"].tolist() == [1, 0, 0]
    assert (shown["tokens"][1], shown["tokens_clean"][1]) == (" Mary", " John")
    assert shown["parent"] == {"view": page.view("heads")["id"], "row": 1, "col": 0}


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
    grid = page.main
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
    assert page.main["request"] == again
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
    clicks = [page.heads(1, n % 3) for n in range(5)]
    gate.open()
    assert [page.over(click)["status"] for click in clicks] == ["cancelled"] * 4 + ["done"]
    assert lab.wait(timeout=20.0)
    assert gate.entries.count("z") == 4
    assert page.view("heads")["request"] == clicks[-1]


def test_the_end_of_the_old_view_comes_before_the_new_one_opens(open_lab):
    gate = Gate("resid_pre", "z")
    lab, page = open_lab(FakeExperiment(before_batch=gate))
    page.hello()
    gate.arrive()
    first, second = page.heads(0, 0), page.heads(0, 1)
    gate.open()
    page.over(second)
    kinds = [(message["type"], message["id"]) for message in page.messages if "open" in message and message["id"]]
    assert kinds.index(("progress", second)) > kinds.index(("result", first))
    lab.wait(timeout=20.0)


def test_a_running_older_job_of_the_kind_is_stopped(open_lab):
    gate = Gate("z")
    experiment = FakeExperiment(before_batch=gate)
    lab, page = open_lab(experiment)
    page.hello()
    old = page.heads(0, 0)
    gate.let()
    gate.arrive()
    gate.arrive()
    new = page.heads(0, 1)
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
    for n in range(100):
        clicks.append(page.heads(n % 2, n % 3))
        page.cancel(clicks[-1] if n % 2 else "nothing")
    last = page.heads(1, 2)
    assert page.over(last)["status"] == "done"
    assert lab.wait(timeout=20.0)
    answered = [message["id"] for message in page.messages if message["type"] == "result"]
    assert sorted(name for name in answered if name) == sorted([*clicks, last])
    lab._publisher.drain()
    assert dict(page.views[page.lab_state["current"]]["question"]["params"]) == {"site": "z", "pos": 2}
    assert page.main["status"] == "done"
    assert lab._worker._thread is None


def test_two_labs_on_one_model_take_turns(open_lab):
    gate, model = Gate("resid_pre"), FakeModel()
    first, one = open_lab(FakeExperiment(model, before_batch=gate))
    second, two = open_lab(FakeExperiment(model, before_batch=gate, tokens=("A", " John")))
    assert first._worker is second._worker
    one.hello()
    gate.arrive()
    two.hello()
    click = two.heads(0, 0)
    gate.let()
    assert two.over(click)["status"] == "done"
    first._publisher.drain()  # traits follow in its thread
    assert first.status == "running"
    gate.open()
    assert first.wait(timeout=20.0)
    assert second.wait(timeout=20.0)
    # the click of the second goes before the sweep of the first, whose sweep goes before the second's
    assert [entry for entry in gate.entries if entry != "baselines"] == ["resid_pre"] + ["z"] * 4 + ["resid_pre"] * (5 + 4)
    assert one.main["status"] == two.main["status"] == "done"


def test_a_snapshot_rebuilds_everything(open_lab):
    lab, page = open_lab()
    page.hello()
    page.over(page.heads(0, 2))
    page.over(page.request("attention", layer=1, head=0, pos=2))
    lab.wait(timeout=20.0)
    built = page.views
    page.hello()
    lab._publisher.drain()
    assert page.messages[-1]["type"] == "hello"
    assert [view["kept"] for view in page.messages[-1]["views"]] == [False, True, False]  # the heads are not on the way to what is shown
    page.over(page.request("fetch", view="v2"))
    np.testing.assert_equal(page.views, built)


def test_a_snapshot_in_mid_sweep_holds_what_was_told_so_far(open_lab):
    gate = Gate("resid_pre")
    lab, page = open_lab(FakeExperiment(before_batch=gate))
    page.hello()
    gate.let(4)
    for _ in range(5):
        gate.arrive()
    lab._publisher.drain()
    built = page.main
    page.hello()
    lab._publisher.drain()
    assert page.messages[-1]["views"][0]["state"].tolist() == [1, 1, 1, 1, 0, 0]
    np.testing.assert_equal(page.main["values"], built["values"])
    gate.open()
    lab.wait(timeout=20.0)
    assert page.main["state"].tolist() == [1] * 6


def test_a_page_that_has_everything_is_not_told_it_again(open_lab):
    lab, page = open_lab()
    page.hello()
    lab.wait(timeout=20.0)
    page.hello(known=len(page.messages))
    lab._publisher.drain()
    assert page.messages[-1]["type"] != "hello"
    page.hello(known=len(page.messages) - 1)
    lab._publisher.drain()
    assert page.messages[-1]["type"] == "hello"
