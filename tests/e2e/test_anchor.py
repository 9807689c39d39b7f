"""The panel answers about the cell that was clicked last: by mouse, by keys, by the history, and in a file without a kernel."""

import re

import pytest
from playwright.sync_api import expect

from tests.e2e import cells
from tests.e2e.panel import Panel

POSITION = 13
COLUMN = [(20, 23), (23, 20)]  # layers: one is clicked, then the other


@pytest.fixture(scope="module")
def notebook(open_notebook):
    notebook = open_notebook("anchor.ipynb", cells.DEFAULT, cells.LAB, height=1800)
    notebook.run(0)
    notebook.run(1)
    return notebook


@pytest.fixture
def panel(notebook):
    panel = Panel(notebook.page)
    panel.wait_until_done()
    return panel


def open_by_keys(panel, layer):
    """To the cell from the one at which the keys are, which is in the same column."""
    cursor = panel.cell(panel.grid)
    cursor.focus()
    at = int(re.match(r"layer (\d+)", cursor.get_attribute("aria-label") or "")[1])
    for _ in range(abs(layer - at)):
        panel.page.keyboard.press("ArrowUp" if layer > at else "ArrowDown")
    panel.page.keyboard.press("Enter")
    expect(panel.cell(panel.heads)).to_be_focused()


def open_by_mouse(panel, layer):
    panel.open_heads(layer=layer, pos=POSITION)


@pytest.mark.parametrize("open_cell", [open_by_mouse, open_by_keys])
@pytest.mark.parametrize(("first", "second"), COLUMN)
def test_each_step_is_about_the_second_cell_of_a_column(notebook, panel, open_cell, first, second):
    panel.open_heads(layer=first, pos=POSITION)
    panel.expect_at(layer=first, pos=POSITION)
    for label, title in (("neurons", f"Neurons of layer {second} at"), ("heads by token", f"Heads of layer {second} by token")):
        open_cell(panel, first)
        open_cell(panel, second)
        panel.expect_at(layer=second, pos=POSITION)
        expect(panel.cell(panel.heads)).to_have_attribute("aria-label", re.compile(rf"^layer {second}, head 0"))
        panel.take(label)
        expect(panel.heads).to_have_attribute("aria-label", re.compile(f"^{title}"))
        panel.wait_for_detail()
        panel.expect_at(layer=second, pos=POSITION)
        expect(panel.part("crumb")).to_contain_text(f"layer {second} at ·to ({POSITION}) › {label}")
    notebook.screenshot(f"anchor-{first}-{second}", panel.root)


def test_the_history_leads_back_to_each(notebook, panel):
    for layer in (20, 22, 23):
        panel.open_heads(layer=layer, pos=POSITION)
    lines = panel.part("history").get_by_role("treeitem")
    for layer in (20, 23, 22):
        lines.filter(has_text=re.compile(rf"layer {layer} .*heads$")).click()
        panel.expect_at(layer=layer, pos=POSITION)
        expect(panel.part("crumb")).to_contain_text(f"layer {layer} at ·to ({POSITION}) › heads")
        expect(panel.part("history").locator("[aria-selected=true]")).to_contain_text(f"layer {layer} ")
    notebook.screenshot("anchor-history", panel.root)


def test_a_second_view_of_the_lab_stands_at_the_same_cell(notebook, panel):
    notebook.page.evaluate("jupyterapp.commands.execute('notebook:create-output-view').then(() => null)")
    other = Panel(notebook.page, nth=1)
    panel.open_heads(layer=20, pos=POSITION)
    panel.open_heads(layer=23, pos=POSITION)
    other.expect_at(layer=23, pos=POSITION)
    notebook.page.reload()
    notebook._wait_until_ready()


def test_a_vector_is_that_of_the_second_cell(notebook):
    notebook.run(1)
    panel = Panel(notebook.page)
    panel.wait_until_done()
    for layer in (20, 23):
        panel.open_heads(layer=layer, pos=POSITION)
    panel.part("steps").locator("[data-step=steer]").first.click()
    expect(panel.part("row", notebook.page)).to_have_count(1, timeout=60_000)
    assert notebook.ask("[steer.layers for steer in lab.steering.panel.steers]") == "[23]"


def test_a_file_without_a_kernel_does_the_same(notebook, browser, tmp_path):
    notebook.ask(f"lab.to_html({str(tmp_path / 'lab.html')!r})")
    page = browser.new_page(viewport={"width": 1400, "height": 1200})
    page.goto((tmp_path / "lab.html").as_uri())
    panel = Panel(page)
    panel.expect_at(layer=23, pos=POSITION)
    for layer in (20, 23, 5):
        panel.click(panel.grid, row=layer, col=POSITION)
        expect(panel.heads).to_have_attribute("aria-label", re.compile(rf"^Heads at .* \({POSITION}\)$"))
        panel.expect_at(layer=layer, pos=POSITION)
    page.close()


def test_measuring_again_loses_nothing(notebook):
    panel = Panel(notebook.page)
    before = notebook.ask("lab.result.recovery.values.round(3).tolist()")
    button = panel.part("run")
    expect(button).to_have_text("Measure again")
    button.click()
    panel.part("cancel").click()
    panel.wait_until_done()
    expect(button).to_have_text("Measure again")
    assert notebook.ask("(lab.status, lab.result.complete)") == "('done', True)"
    assert notebook.ask("lab.result.recovery.values.round(3).tolist()") == before
    notebook.screenshot("measured-again", panel.root)
    assert notebook.page_errors == []
