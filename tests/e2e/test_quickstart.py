"""The notebook that `patchwidget demo` opens, on the default model, as a newcomer runs it."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.e2e.panel import Panel
from tests.small import CODE

LAYER, POSITION = 23, 13  # at the last token, where the answer arrives
HEAD = 3
CELLS = [(22, 13), (18, 9), (LAYER, POSITION)]  # in the same column, elsewhere, and the one that is meant
HEADS = [(20, 0), (LAYER, 1), (LAYER, HEAD)]


@pytest.fixture(scope="module")
def quickstart(open_notebook):
    notebook = open_notebook("quickstart.ipynb")
    notebook.run_all()
    return notebook


@pytest.fixture(scope="module")
def same_without_widget(server, open_notebook):
    """The same notebook, had it no widget, and a small model: what is asked for and said because of its other outputs is the same."""
    document = json.loads((server.folder / "quickstart.ipynb").read_text())
    code = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
    (loading,) = [cell for cell in code if "pw.load" in "".join(cell["source"])]
    loading["source"] = CODE + "model"
    (cell,) = [cell for cell in code if "pw.PatchLab" in "".join(cell["source"])]
    cell["source"] = "from types import SimpleNamespace\nlab = SimpleNamespace(experiment=pw.Experiment(model, pair), code=str)\npair"
    (server.folder / "without.ipynb").write_text(json.dumps(document))
    notebook = open_notebook("without.ipynb")
    notebook.run_all()
    return notebook


@pytest.fixture
def panel(quickstart):
    panel = Panel(quickstart.page)
    panel.wait_until_done()
    return panel


def test_grid_then_heads_then_attention(quickstart, panel):
    expect(panel.part("prompts")).to_contain_text("+4.6")
    expect(panel.part("prompts")).to_contain_text("−6.47")

    panel.open_heads(layer=LAYER, pos=POSITION)
    panel.open_attention(layer=LAYER, head=HEAD)
    expect(panel.part("error")).to_have_count(0)

    for theme in ("Light", "Dark"):
        quickstart.use_theme(theme)
        for name, width, height in (("wide", 1800, 1200), ("middle", 1400, 1200), ("narrow", 620, 2900)):
            quickstart.page.set_viewport_size({"width": width, "height": height})
            quickstart.page.mouse.move(0, 0)
            quickstart.screenshot(f"quickstart-{theme.lower()}-{name}", panel.root)
    quickstart.use_theme("Light")
    quickstart.page.set_viewport_size({"width": 1400, "height": 1200})


def open_head(panel, layer, head):
    """To the attention of a head, from wherever one is below the cell that is meant."""
    if panel.part("crumb").get_by_role("button", name="heads", exact=True).count():
        panel.back_to("heads")
    expect(panel.heads).to_have_attribute("aria-label", re.compile("^Heads at"))
    panel.open_attention(layer=layer, head=head)


def test_step_by_step_with_each_click_made_on_two_other_cells_first(quickstart, panel):
    for layer, pos in CELLS:
        panel.open_heads(layer=layer, pos=pos)
        panel.expect_at(layer=layer, pos=pos)
    for layer, head in HEADS:
        open_head(panel, layer, head)
        expect(panel.part("crumb")).to_contain_text(f"head {layer}.{head}")
        panel.expect_at(layer=LAYER, pos=POSITION)
    for label, title in (
        ("paths into q", "Paths into the queries of head {}.{}"),
        ("q, k, v", "Head {}.{} by part and token"),
        ("pattern entries", "Pattern of head {}.{}, entry by entry"),
    ):
        for layer, head in HEADS:
            open_head(panel, layer, head)
            panel.take(label)
            expect(panel.heads).to_have_attribute("aria-label", title.format(layer, head))
            panel.wait_for_detail()
            panel.expect_at(layer=LAYER, pos=POSITION)
    quickstart.screenshot("quickstart-other-cells-first", panel.root)
    panel.part("select-none").click()  # what the notebook's last cell selects
    selected = [(18, 9), (LAYER, POSITION)]
    for row, col in [(5, 5), (5, 5), *selected]:  # a second Shift-click takes one away again
        quickstart.page.keyboard.down("Shift")
        panel.click(panel.grid, row=row, col=col)
        quickstart.page.keyboard.up("Shift")
    expect(panel.part("select-effect")).to_contain_text(re.compile(r"2 cells selected.*synergy\s*[+−]?\d", re.DOTALL))
    assert quickstart.ask("sorted((c['layer'], c['pos']) for c in lab.selection)") == str(selected)
    panel.part("select-none").click()
    panel.expect_at(layer=LAYER, pos=POSITION)
    for at in ("heads", "resid_pre"):
        panel.back_to(at)
        panel.expect_at(layer=LAYER, pos=POSITION)


def test_page_and_script_tell_the_same(quickstart, panel):
    quickstart.page.mouse.move(*panel.centre(panel.grid, row=LAYER, col=POSITION))
    expect(panel.part("tooltip")).to_contain_text(f"layer {LAYER}")
    shown = re.search(r"recovery\s+(\S+)", panel.part("tooltip").inner_text())
    measured = quickstart.ask(f"r.recovery.sel(layer={LAYER}, pos={POSITION}).item()")
    assert shown is not None
    assert float(shown[1].replace("−", "-")) == pytest.approx(float(measured), abs=0.006)


def test_by_keys_alone(quickstart, panel):
    cursor = panel.grid.get_by_role("gridcell")
    panel.click(panel.grid, row=0, col=0)
    expect(cursor).to_have_attribute("aria-label", re.compile("layer 0, token 'When'"))
    for key in ("ArrowUp", "ArrowRight", "ArrowRight"):
        quickstart.page.keyboard.press(key)
    expect(cursor).to_have_attribute("aria-label", re.compile("layer 1, token ' and'"))
    quickstart.page.keyboard.press("Enter")
    expect(panel.heads).to_have_attribute("aria-label", "Heads at ' and' (2)")
    panel.wait_for_detail()
    expect(panel.cell(panel.heads)).to_be_focused()
    quickstart.page.keyboard.press("Escape")
    expect(panel.cell(panel.grid)).to_be_focused()
    quickstart.page.keyboard.press("/")
    expect(panel.part("edit-clean")).to_be_focused()
    quickstart.page.keyboard.press("Escape")


def test_the_page_says_and_asks_nothing_else(quickstart, panel, same_without_widget):
    assert quickstart.page_errors == []
    assert quickstart.foreign == []
    assert quickstart.messages() - same_without_widget.messages() == set()
