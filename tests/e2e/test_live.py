"""The widget while the kernel is busy, and while its own sweep runs."""

import re

import pytest
from playwright.sync_api import expect

from tests.e2e import cells
from tests.e2e.panel import Panel

KNOWN = "print(int((lab.result.state == 1).sum()), lab.result.values.size, lab.status)"

# in the page: the time from the next click to the moment when the heads' grid has the title that the kernel gives it
WATCH = """title => {
    window.testAnswered = new Promise(resolve => {
        let clicked;
        document.addEventListener('pointerdown', () => { clicked = performance.now(); }, { capture: true, once: true });
        const observer = new MutationObserver(() => {
            const heads = document.querySelector('[data-pw="detail-grid"]');
            if (clicked === undefined || !heads?.checkVisibility() || heads.getAttribute('aria-label') !== title) return;
            observer.disconnect();
            resolve(performance.now() - clicked);
        });
        observer.observe(document.body, { subtree: true, childList: true, attributes: true });
    });
}"""


@pytest.fixture(scope="module")
def busy(open_notebook):
    """A notebook whose lab has been measured, cells that keep the kernel busy, and one with a long sweep."""
    publishing = "lab.tooltip = 'from a cell'" + cells.BUSY
    notebook = open_notebook("busy.ipynb", cells.DEFAULT, cells.LAB, cells.BUSY, publishing, cells.LONG, KNOWN)
    notebook.run(0)
    notebook.run(1)
    Panel(notebook.page).wait_until_done()
    return notebook


# the cell that sets a trait publishes on the widget's comm, which would send the clicks after it to the busy shell
@pytest.mark.parametrize(("cell", "pos", "token"), [(2, 13, " to"), (3, 9, " John")], ids=["sleeping", "publishing and sleeping"])
def test_click_is_answered_while_a_cell_runs(busy, cell, pos, token):
    panel = Panel(busy.page)
    busy.start_busy(cell)
    busy.page.evaluate(WATCH, f"Heads at {token!r} ({pos})")
    panel.click(panel.grid, row=23, col=pos)
    milliseconds = busy.page.evaluate("window.testAnswered")
    busy.finish_busy(cell)
    assert milliseconds < 1000  # what is promised; it takes some tens


def test_cancel_keeps_what_is_done(busy):
    busy.run(4)
    panel = Panel(busy.page, nth=1)
    expect(panel.status).to_contain_text(re.compile(r"[1-9]\d* of \d+ exact"), timeout=60_000)
    first, total = map(int, re.findall(r"(\d+) of (\d+)", panel.status.inner_text())[0])
    panel.part("cancel").click()
    expect(panel.status).to_contain_text(re.compile(r"stopped at \d+ of \d+ cells"))
    done = int(re.findall(r"\d+", panel.status.inner_text())[0])
    assert first <= done < total

    busy.page.wait_for_timeout(1000)
    assert busy.run(5) == f"{done} {total} cancelled"
