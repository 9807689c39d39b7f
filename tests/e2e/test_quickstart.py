"""The notebook that `patchwidget demo` opens, in the default model, as a newcomer runs it."""

import json

import pytest
from playwright.sync_api import expect

from tests.e2e.panel import Panel

LAYER, POSITION = 23, 13  # of the last token, where the answer arrives
HEAD = 3


@pytest.fixture
def quickstart(open_notebook):
    notebook = open_notebook("quickstart.ipynb")
    notebook.run_all()
    return notebook


@pytest.fixture
def same_without_widget(server, open_notebook):
    """The console's messages of the same notebook, had it no widget."""
    document = json.loads((server.folder / "quickstart.ipynb").read_text())
    (cell,) = [cell for cell in document["cells"] if "PatchLab" in "".join(cell["source"]) and cell["cell_type"] == "code"]
    cell["source"] = "pair"
    (server.folder / "without.ipynb").write_text(json.dumps(document))
    notebook = open_notebook("without.ipynb")
    notebook.run_all()
    return notebook


def test_grid_then_heads_then_attention(quickstart, same_without_widget):
    panel = Panel(quickstart.page)
    panel.wait_until_done()
    expect(panel.part("prompts")).to_contain_text("Mary")
    expect(panel.part("prompts")).to_contain_text("+4.6")
    expect(panel.part("prompts")).to_contain_text("−6.47")

    panel.click(panel.grid, row=LAYER, col=POSITION)
    expect(panel.heads).to_be_visible()
    expect(panel.part("crumb")).to_contain_text(f"layer {LAYER}")

    panel.click(panel.heads, row=LAYER, col=HEAD)
    expect(panel.part("attention")).to_be_visible()
    expect(panel.part("attention")).to_contain_text(f"{LAYER}.{HEAD}")
    expect(panel.part("error")).to_have_count(0)

    for theme in ("Light", "Dark"):
        quickstart.use_theme(theme)
        for name, width in (("wide", 1400), ("narrow", 640)):
            quickstart.page.set_viewport_size({"width": width, "height": 1000})
            quickstart.page.mouse.move(0, 0)
            quickstart.screenshot(f"quickstart-{theme.lower()}-{name}", panel.root)

    assert quickstart.page_errors == []
    assert quickstart.foreign == []
    assert quickstart.messages() <= same_without_widget.messages()


def test_tooltip_and_script_tell_the_same(quickstart):
    """What the page shows for a cell is what the sweep by script measures, and what the model says."""
    panel = Panel(quickstart.page)
    panel.wait_until_done()
