"""What must not break it: other views, other labs, other cells, reloads, restarts, losses. On a small model."""

import re

import pytest
from playwright.sync_api import expect

from tests.e2e import cells
from tests.e2e.panel import Panel

# a sweep that takes its time
SLOW = """
import patchwidget.engine.executors.packed as packed
whole = packed.PackedExecutor._walk
def slowly(self, *args, **options):
    time.sleep(SECONDS)
    return whole(self, *args, **options)
packed.PackedExecutor._walk = slowly
SECONDS = 0
"""


@pytest.fixture(scope="module")
def notebook(open_notebook):
    """A measured lab, a second view of it, and another lab on the same model."""
    notebook = open_notebook(
        "robust.ipynb",
        cells.SMALL + SLOW,
        cells.LAB,
        "lab",
        "second = pw.PatchLab(model, pair, site='mlp_out')\nsecond",
    )
    for cell in range(4):
        notebook.run(cell)
    return notebook


@pytest.fixture
def panel(notebook):
    panel = Panel(notebook.page)
    panel.wait_until_done()
    return panel


def test_two_views_of_one_lab_show_the_same(notebook, panel):
    other = Panel(notebook.page, nth=1)
    panel.open_heads(layer=2, pos=3)
    expect(other.heads).to_have_attribute("aria-label", "Heads at ' Mary' (3)")
    other.open_attention(layer=2, head=1)
    expect(panel.part("attention")).to_contain_text("2.1")


def test_two_labs_on_one_model_queue(notebook, panel):
    second = Panel(notebook.page, nth=2)
    panel.part("run").click()
    second.part("run").click()
    panel.wait_until_done()
    second.wait_until_done()
    assert notebook.ask("lab.status, second.status, lab._worker is second._worker") == "('done', 'done', True)"


def test_a_thousand_hovers_and_clicks_in_a_second(notebook, panel):
    canvas = panel.grid.locator("canvas").first
    milliseconds = canvas.evaluate(
        """canvas => {
            const box = canvas.getBoundingClientRect(), begun = performance.now();
            for (let i = 0; i < 1000; i++) {
                const at = { bubbles: true, clientX: box.x + 40 + (i * 7) % (box.width - 60), clientY: box.y + 5 + (i * 3) % 30 };
                canvas.dispatchEvent(new PointerEvent('pointermove', at));
                if (i % 10 === 0) for (const type of ['pointerdown', 'pointerup', 'click'])
                    canvas.dispatchEvent(new PointerEvent(type, { ...at, button: 0, isPrimary: true }));
            }
            return performance.now() - begun;
        }"""
    )
    assert milliseconds < 1000
    panel.open_heads(layer=1, pos=4)
    assert notebook.page_errors == []


def test_a_slider_dragged_fast_asks_the_kernel_for_nothing(notebook, panel):
    before = notebook.ask("lab._publisher.last")
    slider = panel.part("range").first
    slider.evaluate(
        """slider => { for (let i = 0; i < 1000; i++) {
            slider.value = i % 100; slider.dispatchEvent(new Event('input', { bubbles: true }));
        } }"""
    )
    assert notebook.ask("lab._publisher.last") == before


def test_clicks_in_mid_sweep_go_first_and_a_storm_of_cancels_ends(notebook, panel):
    notebook.ask("setattr(lab._session.bench, 'most_rows', 8) or globals().update(SECONDS=0.3)")
    panel.part("run").click()
    expect(panel.part("cancel")).to_be_visible()
    panel.open_heads(layer=2, pos=2)
    expect(panel.part("cancel")).to_be_visible()
    for _ in range(5):
        panel.part("cancel").click()
        panel.part("run").click()
    notebook.ask("globals().update(SECONDS=0)")
    panel.wait_until_done()
    assert notebook.ask("lab.wait(60), lab.status") == "(True, 'done')"


def test_an_error_of_the_worker_is_told_and_nothing_stops(notebook, panel):
    notebook.ask("setattr(lab, 'metric', lambda logits: 1 / 0)")
    error = panel.part("error").first
    expect(error).to_contain_text("ZeroDivisionError")
    expect(panel.grid).to_have_attribute("aria-label", re.compile("layer and token"))
    panel.choose("metric", "logit_diff")
    panel.wait_until_done()
    panel.open_heads(layer=0, pos=3)


def test_an_interrupt_of_the_kernel_does_not_stop_it(notebook, panel):
    notebook.ask("globals().update(SECONDS=2)")
    panel.part("run").click()
    expect(panel.part("cancel")).to_be_visible()
    notebook.kernel("interrupt")
    notebook.ask("globals().update(SECONDS=0)")
    panel.wait_until_done()


def test_after_a_message_is_lost_the_page_asks_for_everything(notebook, panel):
    panel.choose("site", "resid_mid")
    panel.wait_until_done()
    # one that is numbered and never sent
    notebook.ask("setattr(lab._publisher, '_last', lab._publisher._last + 1)")
    panel.open_heads(layer=1, pos=5)
    panel.choose("site", "resid_pre")
    panel.wait_until_done()
    expect(panel.part("error")).to_have_count(0)


def test_a_reload_with_the_kernel_alive_brings_the_grid_back(notebook, panel):
    panel.open_heads(layer=2, pos=6)
    measured = notebook.ask("id(lab.result)")
    notebook.reload()
    panel = Panel(notebook.page)
    panel.wait_until_done()
    expect(panel.heads).to_have_attribute("aria-label", "Heads at ' the' (6)")
    assert notebook.ask("id(lab.result)") == measured
    panel.open_heads(layer=2, pos=1)


def test_a_restart_of_the_kernel_is_told_with_the_line_to_run(notebook):
    panel = Panel(notebook.page)
    notebook.kernel("restart")
    expect(panel.part("error").first).to_contain_text("kernel")
    expect(panel.part("rerun").first).to_be_visible()
    expect(panel.grid).to_be_visible()
    notebook.screenshot("restarted", panel.root)
    notebook.run(0)
    notebook.run(1)
    panel = Panel(notebook.page)
    panel.wait_until_done()
    expect(panel.part("error")).to_have_count(0)
