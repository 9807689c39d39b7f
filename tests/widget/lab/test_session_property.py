"""Whatever is asked of a session, and however far its jobs have come: what holds at any time."""

from collections import Counter
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from patchwidget.errors import PatchError
from patchwidget.experiments.results.data import EXACT
from patchwidget.widget.lab import grid_questions, jobs, view_tree
from patchwidget.widget.lab.experiment_pool import Bench, Setting
from patchwidget.widget.lab.session import Session
from patchwidget.widget.lab.views import FINAL, GridView
from patchwidget.widget.lab.ways import described
from tests.widget.fakes import FakeExperiment

some = st.integers(0, 99)


class Panel(RuleBasedStateMachine):
    """A session, the jobs that fill its views, and what a page has been told."""

    @initialize()
    def open(self):
        self.worth, self.kept = grid_questions.WORTH_AN_ESTIMATE, view_tree.VIEWS_KEPT
        grid_questions.WORTH_AN_ESTIMATE, view_tree.VIEWS_KEPT = 2, 6  # so that all grids are estimated first, and views go
        bench, metric, direction = Bench.around(FakeExperiment(estimates=True))
        self.views: dict[str, Any] = {}
        self.exact, self.ended, self.asked, self.jobs = {}, Counter(), [], []
        self.session = Session(bench, Setting(0, "resid_pre", metric, direction), None, self.hear)
        self.session.post_snapshot()
        self.fill(self.session.begin())

    def teardown(self):
        if hasattr(self, "session"):
            while self.jobs:
                self.work(0)
            assert self.ended == Counter(self.asked)  # each request is answered once
            grid_questions.WORTH_AN_ESTIMATE, view_tree.VIEWS_KEPT = self.worth, self.kept

    # ---- the page

    def hear(self, message):
        if message["type"] == "hello":
            self.views = {view["id"]: told(view) for view in message["views"]}
        if message.get("open"):
            self.views[message["view"]] = told(message["open"])
        if "cells" in message:
            cells = message["cells"]
            self.views[message["view"]][cells["index"]] = cells["state"]
        if message["type"] in {"hello", "lab"}:
            self.lab = message["lab"]
            self.views = {name: view for name, view in self.views.items() if name in self.lab["views"]}
        if message["type"] in {"result", "error"} and message["id"]:
            self.ended[message["id"]] += 1

    @property
    def here(self):
        return self.session._tree.ways.here

    def ask(self, do, *args, **params):
        """Ask something; what can't be asked is answered by an error."""
        name = f"p-{len(self.asked) + 1}"
        self.asked.append(name)
        try:
            self.fill(do(name, *args, **params))
        except PatchError:
            self.ended[name] += 1

    def fill(self, view):
        if view is not None:
            self.jobs.append((view, jobs.fill(self.session, view)[1]))

    # ---- what is done

    @rule(stop=some, row=some, col=some, step=some)
    def ask_at_a_cell(self, stop, row, col, step):
        way = described(self.here)[: 1 + stop % len(self.here)]
        view = self.session._tree[way[-1]["view"]]
        cell = {"row": row % view.shape[0], "col": col % view.shape[1]} if isinstance(view, GridView) else {}
        way[-1] |= cell
        questions = steps_at(view, *cell.values())
        if questions:
            method, params = questions[step % len(questions)]
            self.ask(self.session.ask, method, params, way)
            assert described(self.here)[: len(way)] == way or self.here[-1].view in {stop["view"] for stop in way}

    @rule(which=some)
    def go_back(self, which):
        ways = self.session._tree.ways.taken
        way = ways[which % len(ways)]
        self.ask(self.session.show, way[-1].view, described(way))
        assert self.here == way

    @rule(change=st.sampled_from([{"site": "resid_pre"}, {"site": "mlp_out"}, {"direction": "noise"}, {"direction": "denoise"}]))
    def set(self, change):
        self.ask(self.session.set, **change)

    @rule(direction=st.sampled_from(["noise", "denoise"]))
    def again(self, direction):
        self.ask(self.session.again, self.here[-1].view, direction=direction)

    @rule(which=some)
    def measure_again(self, which):
        names = self.lab["views"]
        self.ask(self.session.sweep, names[which % len(names)])

    @rule(which=some)
    def cancel(self, which):
        names = [*self.lab["views"], *self.asked]
        self.session.cancel(names[which % len(names)])

    @rule(which=st.none() | some)
    def pin(self, which):
        names = self.lab["views"]
        self.session.pin(None, None if which is None else names[which % len(names)])

    @precondition(lambda self: self.jobs)
    @rule(which=some)
    def work(self, which):
        """A batch of some job; one whose view is over ends, as the worker sees to."""
        view, batches = self.jobs[which % len(self.jobs)]
        if not view.live or next(batches, self) is self:
            batches.close()
            self.jobs.remove((view, batches))

    @precondition(lambda self: self.jobs)
    @rule(which=some)
    def fail(self, which):
        view, _ = self.jobs[which % len(self.jobs)]
        self.session.fail(view, PatchError("There is not enough memory."))

    # ---- what holds

    @invariant()
    def the_way_is_there(self):
        views = {view.id: view for view in self.session._tree}
        assert self.here
        for way in (self.here, *self.session._tree.ways.taken):
            on = [views[stop.view] for stop in way]
            assert isinstance(on[0], GridView)
            assert [view.parent is None for view in on] == [True] + [False] * (len(on) - 1)
            assert len({view.id for view in on}) == len(on)
            for view, stop, below in zip(on, way, on[1:], strict=False):
                view.check_cell(stop.row, stop.col)
                assert (below.question.method, dict(below.question.params)) in steps_at(view, stop.row, stop.col)
        assert self.here in self.session._tree.ways.taken

    @invariant()
    def the_page_knows_it(self):
        assert (self.lab["way"], self.lab["current"]) == (described(self.here), self.here[-1].view)
        assert self.lab["ways"] == [described(way) for way in self.session._tree.ways.taken]
        assert self.lab["current"] in self.lab["views"]
        for view in self.session._tree:
            if isinstance(view, GridView):
                np.testing.assert_array_equal(self.views[view.id], view.state)

    @invariant()
    def what_is_exact_stays_exact(self):
        for name, state in self.views.items():
            if state is not None:
                before = self.exact.setdefault(name, np.zeros(len(state), bool))
                self.exact[name] = state == EXACT
                assert not (before & (state != EXACT)).any()

    @invariant()
    def one_main_grid_is_measured(self):
        live = [view for view in self.session._tree if view.live and view.parent is None and view.id != self.lab["pinned"]]
        assert len(live) <= 1
        assert all(view.live == any(view is filled for filled, _ in self.jobs) for view in self.session._tree if view.live)

    @invariant()
    def what_is_done_is_final(self):
        for view in self.session._tree:
            if isinstance(view, GridView) and view.status == "done":
                assert np.isin(view.state, FINAL).all()
                assert view.done == view.total


def told(view):
    """What a page knows of the cells of a view."""
    if view["kind"] == "attention":
        return None
    size = view["rows"]["size"] * view["cols"]["size"]
    return np.zeros(size, np.uint8) if view["state"] is None else view["state"].copy()


def steps_at(view, row=None, col=None):
    """The questions that can be asked at a cell, as method and parameters: as the page makes them."""
    at = {}
    if isinstance(view, GridView):
        if row is None or col is None:
            return []
        at = {view.rows.name: view.rows.value(row), view.cols.name: view.cols.value(col)}
    letters = {"k_per_head": "k", "v_per_head": "v"}
    questions = []
    for step in view.steps:
        only = step["only"] or {}
        if step["method"] != "steer" and step["reason"] is None and all(at[axis] in values for axis, values in only.items() if axis in at):
            params = step["params"] | {name: at[axis] for name, axis in step["takes"].items()}
            if step["method"] == "paths":
                params["site"] = letters.get(params["site"], params["site"])
            questions.append((step["method"], params))
    return questions


TestPanel = Panel.TestCase
TestPanel.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
