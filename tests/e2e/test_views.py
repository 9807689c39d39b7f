"""Looking closer, going back, comparing, selecting, predicting: on the default model."""

import re

import pytest
from playwright.sync_api import expect

from tests.e2e import cells
from tests.e2e.panel import Panel

LAYER, POSITION, HEAD = 23, 13, 3


@pytest.fixture(scope="module")
def notebook(open_notebook):
    notebook = open_notebook("views.ipynb", cells.DEFAULT, cells.LAB)
    notebook.run(0)
    notebook.run(1)
    return notebook


@pytest.fixture
def panel(notebook):
    """The panel at the default main grid."""
    panel = Panel(notebook.page)
    panel.choose("site", "resid_pre")
    expect(panel.grid).to_have_attribute("aria-label", re.compile("layer and token"))
    panel.wait_until_done()
    return panel


def test_down_to_single_entries_and_back_by_the_breadcrumb(notebook, panel):
    panel.open_heads(layer=LAYER, pos=POSITION)
    panel.open_attention(layer=LAYER, head=HEAD)
    panel.take("q, k, v")
    expect(panel.heads).to_have_attribute("aria-label", re.compile(f"^Head {LAYER}.{HEAD} by part and token"))
    panel.wait_for_detail()
    notebook.screenshot("drilled", panel.root)
    panel.click(panel.heads, row=3, col=POSITION)  # the pattern at the last token
    expect(panel.heads).to_have_attribute("aria-label", re.compile("entry by entry"))
    panel.wait_for_detail()
    expect(panel.part("explain").first).to_contain_text("Recovery")
    notebook.screenshot("entries", panel.root)
    panel.part("crumb").get_by_role("button").nth(1).click()
    expect(panel.heads).to_have_attribute("aria-label", re.compile("^Heads at"))


def test_paths_into_a_head(notebook, panel):
    panel.open_heads(layer=LAYER, pos=POSITION)
    panel.open_attention(layer=LAYER, head=HEAD)
    panel.take("paths into q")
    expect(panel.heads).to_have_attribute("aria-label", f"Paths into the queries of head {LAYER}.{HEAD}")
    panel.wait_for_detail()
    notebook.screenshot("paths", panel.root)


def test_neurons_of_a_cell(notebook, panel):
    panel.click(panel.grid, row=LAYER, col=POSITION)
    panel.take("neurons")
    expect(panel.heads).to_have_attribute("aria-label", re.compile(f"^Neurons of layer {LAYER}"))
    panel.wait_for_detail()
    expect(panel.part("detail-status")).to_have_text("1536 cells")
    notebook.screenshot("neurons", panel.root)


def test_each_step_is_in_the_history_and_shown_again_without_computing(notebook, panel):
    panel.open_heads(layer=LAYER, pos=9)
    panel.open_heads(layer=LAYER, pos=POSITION)
    notebook.ask(
        "lab.experiment.model.__dict__.update(runs=[]) or lab.experiment.model.hf.register_forward_hook(lambda *_: model.runs.append(1))"
    )
    steps = panel.part("history").get_by_role("treeitem")
    steps.filter(has_text="John (9)").first.click()
    expect(panel.heads).to_have_attribute("aria-label", "Heads at ' John' (9)")
    steps.first.click()
    expect(panel.part("crumb")).to_be_empty()
    assert notebook.ask("model.runs") == "[]"


def test_sites_metrics_and_directions(notebook, panel):
    panel.choose("site", "z")
    expect(panel.grid).to_have_attribute("aria-label", re.compile("layer and head"))
    panel.wait_until_done()
    assert notebook.ask("(lab.site, lab.result.values.dims)") == "('z', ('layer', 'head'))"
    panel.choose("direction", "noise")
    panel.choose("metric", "prob_diff")
    panel.wait_until_done()
    assert notebook.ask("(lab.direction, lab.metric, lab.experiment.runs.metric_name)") == "('noise', 'prob_diff', 'prob_diff')"
    expect(panel.part("explain").first).to_contain_text("necessary")
    notebook.screenshot("noise", panel.root)
    panel.choose("direction", "denoise")
    panel.choose("metric", "logit_diff")
    panel.wait_until_done()


def test_from_python(notebook, panel):
    notebook.ask("setattr(lab, 'site', 'mlp_out')")
    expect(panel.part("site")).to_have_value("mlp_out")
    panel.wait_until_done()
    notebook.ask("setattr(lab, 'selection', [pw.Patch('mlp_out', layer=0, pos=9), pw.Patch('z', layer=23, head=3, pos=13)])")
    expect(panel.part("select-effect")).to_contain_text("2 cells selected")
    expect(panel.part("select-effect")).to_contain_text(re.compile(r"synergy\s*[+−]?\d"))
    assert "exp.sweep('mlp_out')" in notebook.ask("lab.code()")
    notebook.ask("setattr(lab, 'selection', [])")
    expect(panel.part("select-effect")).to_be_hidden()


def test_cells_selected_together(notebook, panel):
    x, y = panel.centre(panel.grid, row=18, col=9)
    notebook.page.keyboard.down("Shift")
    notebook.page.mouse.click(x, y)
    notebook.page.mouse.click(*panel.centre(panel.grid, row=LAYER, col=POSITION))
    notebook.page.keyboard.up("Shift")
    effect = panel.part("select-effect")
    expect(effect).to_contain_text("2 cells selected")
    expect(effect).to_contain_text(re.compile(r"synergy\s*[+−]?\d"))
    notebook.screenshot("selected", panel.root)
    assert notebook.ask("sorted((c['layer'], c['pos']) for c in lab.selection)") == f"[(18, 9), ({LAYER}, {POSITION})]"
    joint = float(notebook.ask("float(lab.experiment.patch([pw.Patch(**cell) for cell in lab.selection]).effect)"))
    shown = re.search(r"together\s*([+−]?[\d.]+)", effect.inner_text())
    assert shown is not None
    assert float(shown[1].replace("−", "-")) == pytest.approx(joint, abs=0.006)
    panel.part("select-none").click()
    expect(effect).to_be_hidden()
    assert notebook.ask("lab.selection") == "[]"


def test_a_pinned_grid_and_the_difference_to_another(notebook, panel):
    panel.part("pin").click()
    panel.choose("site", "resid_mid")
    panel.wait_until_done()
    expect(panel.grid).to_have_attribute("aria-label", re.compile("difference", re.IGNORECASE))
    notebook.screenshot("comparing", panel.root)
    cell = panel.cell(panel.grid)
    panel.click(panel.grid, row=LAYER, col=POSITION)
    one, other = (
        float(notebook.ask(f"lab.experiment.sweep({site!r}, layers=[{LAYER}], positions=[{POSITION}], progress=False).recovery.item()"))
        for site in ("resid_mid", "resid_pre")
    )
    difference = f"{one - other:+.2f}".replace("-", "−").replace("+", "\\+")
    expect(cell).to_have_attribute("aria-label", re.compile(rf"layer 23, token ' to'.* difference {difference}"))
    panel.part("pin").click()


def test_predict_first(notebook, panel):
    panel.part("teach").click()
    expect(panel.part("prediction").first).to_contain_text("Mark one cell")
    assert notebook.ask("lab.teach") == "True"
    notebook.screenshot("predict", panel.root)
    panel.click(panel.grid, row=0, col=0)
    expect(panel.part("prediction").first).to_contain_text("You marked")
    notebook.ask("setattr(lab, 'teach', False)")
    expect(panel.part("prediction").first).to_be_hidden()


@pytest.mark.parametrize("kind", ["png", "svg", "csv"])
def test_a_grid_is_saved(notebook, panel, kind, tmp_path):
    panel.part("export").click()
    with notebook.page.expect_download() as download:
        panel.part(f"save-{kind}").click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    content = path.read_bytes()
    assert path.suffix == f".{kind}"
    if kind == "csv":
        lines = content.decode().splitlines()
        assert len(lines) == 1 + 30 * 14
    else:
        assert content.startswith(b"\x89PNG" if kind == "png" else b"<svg")


def test_no_errors_on_the_page(notebook, panel):
    assert notebook.page_errors == []
    assert notebook.foreign == []
