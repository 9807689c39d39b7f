"""Labs on one model whose cells are run again: which is measured first, which is stopped, and in whatever order the news come."""

from itertools import permutations
from types import SimpleNamespace

import pytest

from patchwidget.widget.hosts import jupyter
from patchwidget.widget.hosts.jupyter import CellRun, current_run
from patchwidget.widget.transport import message_widget
from tests.widget.fakes import FakeExperiment, FakeModel, Gate


class Notebook:
    """Labs on one model, measured batch by batch, as cells are run: the first measures resid_pre, the second mlp_out."""

    def __init__(self, open_lab, monkeypatch):
        self._open, self._model, self._runs = open_lab, FakeModel(), 0
        self._run = None
        self.gate = Gate("resid_pre", "mlp_out", "attn_out")
        monkeypatch.setattr(message_widget, "current_run", lambda: self._run)

    def open(self, site):
        return self._open(FakeExperiment(self._model, before_batch=self.gate), site=site)

    def run(self, cell):
        """A cell begins to run."""
        self._runs += 1
        self._run = CellRun(cell, f"m{self._runs}")

    def show(self, lab, cell):
        """A run of a cell that ends with the lab."""
        self.run(cell)
        lab._repr_mimebundle_()

    def finish(self, *labs):
        self.gate.open()
        for lab in labs:
            assert lab._worker.wait(lab._asker, timeout=20.0)
            assert lab._publisher.drain(timeout=20.0)

    def measured(self):
        """Which sites were measured, in which order."""
        return [site for site in self.gate.entries if site in self.gate.sites]


@pytest.fixture
def notebook(open_lab, monkeypatch):
    notebook = Notebook(open_lab, monkeypatch)
    yield notebook
    notebook.gate.open()


@pytest.fixture
def under_way(notebook):
    """A lab in cell "a", with its page, in the middle of its sweep."""
    lab, page = notebook.open("resid_pre")
    notebook.show(lab, "a")
    page.hello()
    notebook.gate.arrive()
    return lab, page


NEWS = ("the new lab is displayed", "the old page is gone", "the new page says hello")


@pytest.mark.parametrize("order", [order for order in permutations(NEWS) if order.index(NEWS[0]) < order.index(NEWS[2])])
@pytest.mark.parametrize("cell", ["a", "b"])
def test_the_newest_goes_first_and_the_old_one_stops_where_its_cell_was_run_again(notebook, under_way, order, cell):
    (old, old_page), (new, new_page) = under_way, notebook.open("mlp_out")
    news = dict(zip(NEWS, [lambda: notebook.show(new, cell), lambda: old_page.stand("gone"), new_page.hello], strict=True))
    for one in order:
        news[one]()
    notebook.finish(old, new)
    assert new.status == "done"
    if cell == "a":
        assert old.status == "cancelled"
        assert notebook.measured() == ["resid_pre"] + ["mlp_out"] * 6
    else:
        assert old.status == "done"
        assert notebook.measured() == ["resid_pre"] + ["mlp_out"] * 6 + ["resid_pre"] * 5


def test_a_cell_that_is_run_three_times_leaves_the_last_lab_only(notebook, under_way):
    labs = [under_way]
    for site in ("attn_out", "mlp_out"):
        labs[-1][1].stand("gone")
        labs.append(notebook.open(site))
        notebook.show(labs[-1][0], "a")
        labs[-1][1].hello()
    notebook.finish(*(lab for lab, _ in labs))
    assert [lab.status for lab, _ in labs] == ["cancelled", "cancelled", "done"]
    assert notebook.measured() == ["resid_pre"] + ["mlp_out"] * 6


def test_a_lab_whose_page_is_gone_goes_on_to_the_end_when_nobody_else_waits(notebook, under_way):
    old, page = under_way
    page.stand("gone")
    notebook.finish(old)
    assert old.status == "done"


def test_a_lab_that_is_still_on_a_page_is_not_stopped(notebook, under_way):
    old, page = under_way
    page.send(type="page", page="another tab", state="hidden")
    new, new_page = notebook.open("mlp_out")
    notebook.show(new, "a")
    new_page.hello()
    page.stand("gone")
    notebook.finish(old, new)
    assert (old.status, new.status) == ("done", "done")


def test_a_lab_that_another_cell_shows_too_is_not_stopped(notebook, under_way):
    old, page = under_way
    notebook.show(old, "b")
    new, _ = notebook.open("mlp_out")
    page.stand("gone")
    notebook.show(new, "a")
    notebook.finish(old, new)
    assert (old.status, new.status) == ("done", "done")


def test_a_lab_that_its_own_cell_shows_again_is_not_stopped(notebook, under_way):
    old, page = under_way
    page.stand("gone")
    notebook.show(old, "a")
    page.stand("visible")
    notebook.finish(old)
    assert old.status == "done"


def test_labs_inside_of_other_widgets_belong_to_the_cell_that_made_them(notebook):
    notebook.run("a")
    old, page = notebook.open("resid_pre")
    page.hello()
    notebook.gate.arrive()
    notebook.run("a")
    new, new_page = notebook.open("mlp_out")
    page.stand("gone")
    new_page.hello()
    notebook.finish(old, new)
    assert (old.status, new.status) == ("cancelled", "done")


def test_two_labs_that_one_run_displays_do_not_stop_one_another(notebook, under_way):
    old, page = under_way
    new, _ = notebook.open("mlp_out")
    new._repr_mimebundle_()
    page.stand("gone")
    notebook.finish(old, new)
    assert (old.status, new.status) == ("done", "done")


def test_a_lab_that_is_displayed_outside_of_a_cell_stops_nobody(notebook, under_way):
    old, page = under_way
    notebook._run = None
    new, _ = notebook.open("mlp_out")
    page.stand("gone")
    new._repr_mimebundle_()
    notebook.finish(old, new)
    assert (old.status, new.status) == ("done", "done")


@pytest.mark.parametrize("state", ["hidden", "gone"])
def test_a_sweep_that_somebody_looks_at_goes_before_a_newer_one_that_nobody_does(notebook, under_way, state):
    old, _ = under_way
    new, new_page = notebook.open("mlp_out")
    notebook.show(new, "b")
    new_page.send(type="hello", page="p", state=state)
    notebook.finish(old, new)
    assert notebook.measured() == ["resid_pre"] * 6 + ["mlp_out"] * 6


def test_a_click_goes_before_the_sweep_of_a_newer_lab(notebook, under_way):
    old, page = under_way
    new, new_page = notebook.open("mlp_out")
    notebook.show(new, "b")
    new_page.hello()
    click = page.heads(1, 2)
    notebook.gate.let(2)
    page.over(click)
    assert "z" in notebook.gate.entries
    notebook.finish(old, new)
    assert notebook.measured() != sorted(notebook.measured())


def test_waiting_for_a_lab_counts_as_a_page(notebook, under_way):
    old, page = under_way
    new, new_page = notebook.open("mlp_out")
    notebook.show(new, "b")
    new_page.hello()
    page.stand("gone")
    with old._asker.presence.waiting():
        notebook.finish(old, new)
    assert notebook.measured() == ["resid_pre"] * 6 + ["mlp_out"] * 6


def test_wait_says_so_to_the_worker(notebook, under_way, monkeypatch):
    old, page = under_way
    page.stand("gone")
    standings = []
    with monkeypatch.context() as patched:
        patched.setattr(old._worker, "wait", lambda asker, timeout: standings.append(asker.presence.standing) or False)
        assert not old.wait(timeout=0.0)
    assert standings == ["visible"]


def test_a_lab_that_waits_says_for_whom_and_can_stop_that(notebook, under_way, monkeypatch):
    monkeypatch.setattr("patchwidget.widget.transport.asker.PATIENCE", 0.0)
    old, page = under_way
    new, new_page = notebook.open("mlp_out")
    notebook.show(new, "b")
    new_page.hello()
    told = lambda: [message["ahead"] for message in page.messages if message["type"] == "queue"]  # noqa: E731
    notebook.gate.let(3)
    page.until(lambda: {"lab": new.model_id, "name": "A John to", "percent": 33} in told())
    page.hello()
    page.until(lambda: page.messages[-2]["type"] == "hello" and page.messages[-1]["ahead"])
    stop = page.request("stop", lab=new.model_id)
    page.until(lambda: page.of(stop))
    assert page.of(stop)[0]["type"] == "queue"
    notebook.finish(old, new)
    assert (old.status, new.status) == ("done", "cancelled")
    assert told()[-1] is None


def test_a_lab_that_goes_on_waits_for_nobody_any_more(notebook, under_way, monkeypatch):
    monkeypatch.setattr("patchwidget.widget.transport.asker.PATIENCE", 0.0)
    old, page = under_way
    new, new_page = notebook.open("mlp_out")
    notebook.show(new, "b")
    notebook.finish(old, new)
    told = [message["ahead"] for message in page.messages if message["type"] == "queue"]
    assert told[-1] is None
    assert [message for message in new_page.messages if message["type"] == "queue"] == []


EXECUTE = {"header": {"msg_type": "execute_request", "msg_id": "m1"}, "metadata": {"cellId": "a"}}


@pytest.mark.parametrize(
    ("parent", "run"),
    [
        (EXECUTE, CellRun("a", "m1")),
        (EXECUTE | {"metadata": {}}, None),
        (EXECUTE | {"header": {"msg_type": "comm_msg", "msg_id": "m2"}}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_run_of_a_cell_is_read_from_the_message_that_runs_it(monkeypatch, parent, run):
    monkeypatch.setattr(jupyter, "get_ipython", lambda: SimpleNamespace(get_parent=lambda: parent))
    assert current_run() == run


def test_without_a_notebook_there_is_no_run_of_a_cell(monkeypatch):
    monkeypatch.setattr(jupyter, "get_ipython", lambda: None)
    assert current_run() is None
