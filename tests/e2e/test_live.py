"""The widget while the kernel is busy, and while its own sweep runs."""

import re

from playwright.sync_api import expect

from tests.e2e.panel import Panel

SET_UP = """
import time
import patchwidget as pw
model = pw.load()
pair = pw.PromptPair(
    "When John and Mary went to the store, John gave a drink to",
    "When John and Mary went to the store, Mary gave a drink to",
    answer=" Mary", distractor=" John",
)
"""

# prompts that differ in their first token, so that no cell can be skipped, and long: a sweep of many seconds
LONG_PAIR = """
story = " and then they all went on a long walk through the old town by the sea" * 8
long = pw.PromptPair("Mary" + story, "John" + story, answer=" Mary", distractor=" John")
lab = pw.PatchLab(model, long)
lab
"""

KNOWN = "print(int((lab.result.state == 1).sum()), lab.result.values.size, lab.status)"

# in the page: the time from the next click to the moment when an element is first there
WATCH = """selector => {
    window.testAnswered = new Promise(resolve => {
        let clicked;
        document.addEventListener('pointerdown', () => { clicked = performance.now(); }, { capture: true, once: true });
        const observer = new MutationObserver(() => {
            if (clicked === undefined || !document.querySelector(selector)?.checkVisibility()) return;
            observer.disconnect();
            resolve(performance.now() - clicked);
        });
        observer.observe(document.body, { subtree: true, childList: true, attributes: true });
    });
}"""


def test_click_is_answered_while_a_cell_runs(open_notebook):
    notebook = open_notebook("busy.ipynb", SET_UP, "pw.PatchLab(model, pair)", "time.sleep(5)")
    notebook.run(0)
    notebook.run(1)
    panel = Panel(notebook.page)
    panel.wait_until_done()

    notebook.start(2)
    notebook.page.wait_for_timeout(500)
    notebook.page.evaluate(WATCH, '[data-pw="detail-grid"]')
    panel.click(panel.grid, row=23, col=13)
    milliseconds = notebook.page.evaluate("window.testAnswered")
    assert notebook.is_running(2)
    assert milliseconds < 1000


def test_cancel_keeps_what_is_done(open_notebook):
    notebook = open_notebook("cancel.ipynb", SET_UP, LONG_PAIR, KNOWN)
    notebook.run(0)
    notebook.run(1)
    panel = Panel(notebook.page)
    expect(panel.status).to_contain_text(re.compile(r"[1-9]\d* of \d+ cells"))
    panel.part("cancel").click()
    expect(panel.status).to_contain_text(re.compile(r"stopped at \d+ of \d+ cells"))
    done, total = map(int, re.findall(r"\d+", panel.status.inner_text()))
    assert 0 < done < total

    notebook.page.wait_for_timeout(1000)
    assert notebook.run(2) == f"{done} {total} cancelled"
