"""A lab of several pairs, on the default model: the mean, what of it is significant, and each pair by itself."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.e2e.panel import Panel

PAIRS, CHOSEN = 8, 5

SET = f"""
import json
import patchwidget as pw
model = pw.load()
pairs = pw.tasks.ioi(model, {PAIRS})
"""

LAB = "lab = pw.PatchLab(model, pairs)\nlab"

# what a script computes: by role and layer the mean recovery and whether it is significant
EXPECTED = """
result = pw.Experiment(model, pairs).sweep("resid_pre", positions="roles", progress=False)
expected = {"recovery": result.mean().recovery.T.to_numpy().tolist(), "significant": result.significant().T.to_numpy().tolist()}
"""

# the sites of the sweeps that are run from now on
COUNTED = """
from patchwidget.experiments.sweeps.sweep import Sweep
ran, run = [], Sweep.__iter__
Sweep.__iter__ = lambda self: (ran.append(self.layout.site), run(self))[1]
"""


@pytest.fixture(scope="module")
def notebook(open_notebook):
    notebook = open_notebook("sets.ipynb", SET, LAB, EXPECTED, COUNTED)
    for cell in range(2):
        notebook.run(cell)
    return notebook


@pytest.fixture
def panel(notebook):
    """The panel at the mean of the residual stream."""
    panel = Panel(notebook.page)
    panel.choose("pairs", "-1")
    panel.choose("site", "resid_pre")
    expect(panel.grid).to_have_attribute("aria-label", f"Recovery by layer and role, mean of {PAIRS} pairs")
    panel.wait_until_done()
    return panel


def labels(panel, col: int, rows: int) -> list[str]:
    """What a screen reader says of a column's cells, from the bottom up."""
    cell = panel.cell(panel.grid)
    cell.focus()
    panel.page.keyboard.press("Control+End")
    panel.page.keyboard.press("Home")
    for _ in range(col):
        panel.page.keyboard.press("ArrowRight")
    found = []
    for _ in range(rows):
        found.append(cell.get_attribute("aria-label"))
        panel.page.keyboard.press("ArrowUp")
    return found


def roles_of(notebook) -> list[str]:
    return json.loads(notebook.ask("json.dumps(list(lab.result.values.role.values))")[1:-1])


def test_the_mean_and_its_outline_are_those_of_a_script(notebook, panel):
    notebook.run(2)
    expected = json.loads(notebook.ask("json.dumps(expected)")[1:-1])
    assert 5 < sum(map(sum, expected["significant"])) < 115
    for col, role in enumerate(roles_of(notebook)):
        for layer, said in enumerate(labels(panel, col, 30)):
            recovery = f"{expected['recovery'][col][layer]:.2f}".replace("-", "−").replace("−0.00", "0.00")
            assert said.startswith(f"layer {layer}, role {role}, recovery {recovery}, logit difference")
            assert said.endswith(", significant") == expected["significant"][col][layer]
    expect(panel.part("legend")).to_contain_text("outlined: significant at 0.05 (Benjamini-Hochberg over 120 cells)")
    expect(panel.part("explain").first).to_contain_text(f"mean of {PAIRS} pairs")
    assert notebook.ask("lab.result.values.dims") == "('pair', 'layer', 'role')"
    assert notebook.ask("bool((lab.result.significant() == result.significant()).all())") == "True"
    panel.cell(panel.grid).blur()
    for theme in ("Dark", "Light"):
        notebook.use_theme(theme)
        notebook.screenshot(f"set-{theme.lower()}", panel.root)


def test_heads_at_a_role_are_means_too(notebook, panel):
    panel.click(panel.grid, row=20, col=roles_of(notebook).index("END"))
    expect(panel.heads).to_have_attribute("aria-label", f"Heads at END, mean of {PAIRS} pairs")
    panel.wait_for_detail()
    # none is significant, and none by itself could be
    expect(panel.part("detail-legend")).to_contain_text("corrected for 270 cells (fdr_bh) one such cell has 1, so it takes 43 such cells")
    panel.click(panel.heads, row=23, col=3)
    step = panel.part("steps").get_by_role("button", name="attention", exact=True)
    expect(step).to_have_attribute("aria-disabled", "true")
    expect(step).to_have_attribute("title", re.compile("Choose one pair"))
    notebook.screenshot("set-heads", panel.root)


def test_a_pair_is_shown_by_itself_without_computing_it_again(notebook, panel):
    panel.choose("site", "z")
    expect(panel.grid).to_have_attribute("aria-label", f"Recovery by layer and head, mean of {PAIRS} pairs")
    panel.wait_until_done()
    notebook.run(3)
    panel.choose("pairs", str(CHOSEN))
    expect(panel.grid).to_have_attribute("aria-label", "Recovery by layer and head")
    panel.wait_until_done()
    assert notebook.ask("ran") == "[]"
    assert notebook.ask("lab.result.values.dims") == "('layer', 'head')"
    expect(panel.part("legend")).not_to_contain_text("significant")
    alone = f"pw.Experiment(model, pairs[{CHOSEN}]).sweep('z', positions='all', progress=False)"
    assert float(notebook.ask(f"float(abs({alone}.values - lab.result.values).max())")) < 1e-4
    notebook.screenshot("set-one-pair", panel.root)


def test_saved_pictures_have_the_outline(notebook, panel, tmp_path):
    panel.part("export").click()
    with notebook.page.expect_download() as download:
        panel.part("save-svg").click()
    download.value.save_as(tmp_path / "set.svg")
    svg = (tmp_path / "set.svg").read_text()
    assert "outlined: significant at 0.05" in svg
    assert re.search(r'<path d="M[^"]+" fill="none" stroke="[^"]+" stroke-width="1.5"/>', svg)


def test_no_errors_on_the_page(notebook, panel):
    assert notebook.page_errors == []
    assert notebook.foreign == []
