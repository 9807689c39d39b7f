"""Cells that are run again while their labs are measured: the newest is measured first, the old ones stop. On a small model."""

import re

import pytest
from playwright.sync_api import expect

from tests.e2e import cells
from tests.e2e.panel import Panel

# each batch takes its turn, so that nothing here depends on how fast the machine is
TURNS = """
import threading
import patchwidget.engine.executors.packed as packed
whole = packed.PackedExecutor._walk
def in_turn(self, *args, **options):
    turns.acquire()
    return whole(self, *args, **options)
packed.PackedExecutor._walk = in_turn
story = " and John went to the store" * 8
long = pw.PromptPair("When Tom" + story, "When Mary" + story, answer=" Mary", distractor=" John")
def show(pair):
    labs.append(pw.PatchLab(model, pair))
    labs[-1]._session.bench.most_rows = 8
    number = len(labs)
    labs[-1].observe(lambda change: change["new"] in ("done", "cancelled") and ended.append((number, change["new"])), "status")
    return labs[-1]
"""
BEGIN = "labs, ended, turns = [], [], threading.Semaphore(0)"
LONG, SHORT = "show(long)", "show(pair)"


@pytest.fixture(scope="module")
def opened(open_notebook):
    notebook = open_notebook("reruns.ipynb", cells.SMALL + TURNS, BEGIN, LONG, SHORT)
    notebook.run(0)
    return notebook


@pytest.fixture
def notebook(opened):
    """A cell with a long pair run three times, then one with a short pair; the first batch of all waits for its turn."""
    opened.run(1)
    for _ in range(3):
        opened.run(2)
        Panel(opened.page)
    opened.run(3)
    yield opened
    opened.ask("turns.release(10**6)")
    opened.wait_until("len(ended) == len(labs)")
    opened.command("notebook:clear-all-cell-outputs")


def test_a_cell_run_again_stops_its_old_labs_and_the_newest_lab_of_all_is_done_first(notebook):
    panels = [Panel(notebook.page, nth) for nth in (0, 1)]
    notebook.wait_until("[lab._asker.presence.standing.value for lab in labs] == ['gone', 'gone', 'visible', 'visible']")
    notebook.ask("turns.release(10**6)")
    for panel in panels:
        panel.wait_until_done()
    notebook.wait_until("len(ended) == 4")
    assert notebook.ask("ended[:2], ended[2:]") == "([(1, 'cancelled'), (2, 'cancelled')], [(4, 'done'), (3, 'done')])"
    assert notebook.page_errors == []


def test_a_lab_that_waits_says_for_whom_and_stops_that(notebook):
    waiting, ahead = (Panel(notebook.page, nth) for nth in (0, 1))
    for _ in range(8):  # the first ones are of the cells that prove the others
        notebook.ask("turns.release(1)")
        notebook.page.wait_for_timeout(400)  # what takes less than half a second is not told
    expect(waiting.part("queue")).to_have_text(re.compile(r"^waiting for another lab, “When John and Mary went…” \(\d+ %\)"))
    expect(ahead.part("queue")).to_be_hidden()
    notebook.screenshot("waiting", waiting.root)
    waiting.part("stop-other").click()
    expect(ahead.status).to_have_text(re.compile("^stopped at"))
    notebook.ask("turns.release(10**6)")
    waiting.wait_until_done()
    expect(waiting.part("queue")).to_be_hidden()


def test_a_tab_says_that_it_is_hidden_and_that_it_is_left_and_come_back_to(notebook):
    standing = "labs[-1]._asker.presence.standing.value"
    notebook.wait_until(f"{standing} == 'visible'")
    notebook.page.evaluate(
        """() => {
            Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true });
            document.dispatchEvent(new Event('visibilitychange'));
        }"""
    )
    notebook.wait_until(f"{standing} == 'hidden'")
    notebook.reload()
    notebook.wait_until(f"{standing} == 'visible' and len(labs[-1]._asker.presence._pages) == 1")
    notebook.ask("turns.release(10**6)")
    Panel(notebook.page, 1).wait_until_done()
