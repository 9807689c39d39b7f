"""What stays without a kernel: the notebook reopened, its HTML, and a file that opens by itself."""

import json
import shutil
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from tests.e2e import cells
from tests.e2e.notebook import screenshot
from tests.e2e.panel import Panel


@pytest.fixture(scope="module")
def saved(open_notebook, server):
    """A notebook with one lab of the default grid, drilled down, saved; once more with its widgets' state; and the file made of the lab."""
    notebook = open_notebook("kept.ipynb", cells.DEFAULT, cells.LAB, "lab.wait(); path = lab.to_html('kept-lab.html')")
    notebook.run(0)
    notebook.run(1)
    panel = Panel(notebook.page)
    panel.wait_until_done()
    panel.open_heads(layer=23, pos=13)
    panel.open_attention(layer=23, head=3)
    notebook.run(2)
    notebook.page.wait_for_timeout(500)  # the picture is drawn after the last number
    notebook.save()
    saved = shutil.copy(server.folder / "kept.ipynb", server.folder / "saved.ipynb")
    notebook.command("@jupyter-widgets/jupyterlab-manager:saveWidgetState")
    notebook.save()
    return saved


def test_it_is_small(saved):
    assert saved.stat().st_size < 1_000_000
    assert "patchwidget-picture" in saved.read_text()


def test_reopened_without_a_kernel_it_shows_the_last_grid(saved, server, open_notebook):
    document = json.loads(saved.read_text())
    document["metadata"]["kernelspec"]["name"] = "no-such-kernel"
    (server.folder / "reopened.ipynb").write_text(json.dumps(document))
    notebook = open_notebook("reopened.ipynb", ready=False)
    picture = notebook.page.locator(".patchwidget-picture img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 300
    notebook.screenshot("reopened")


def test_reopened_with_the_widgets_state_it_shows_the_lab_and_not_the_picture_too(saved, server, open_notebook):
    shutil.copy(server.folder / "kept.ipynb", server.folder / "reopened-with-state.ipynb")
    notebook = open_notebook("reopened-with-state.ipynb")  # with a kernel that knows nothing of it
    panel = Panel(notebook.page)
    expect(panel.status).to_contain_text("saved")
    expect(notebook.page.locator(".patchwidget-picture img")).to_be_hidden()
    # the host's sign of a broken link
    assert panel.root.evaluate("lab => getComputedStyle(lab.parentElement, '::before').display") == "none"
    notebook.screenshot("reopened-with-state")


def test_nbconvert_shows_it(saved, server, browser):
    target = server.folder / "converted.html"
    subprocess.run([sys.executable, "-m", "nbconvert", "--to", "html", "--output", target.name, saved], check=True, capture_output=True)
    page = browser.new_page()
    page.route("**/*", lambda route: route.continue_() if route.request.url.startswith(("file:", "data:")) else route.abort())
    page.goto(target.as_uri())
    picture = page.locator(".patchwidget-picture img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 300
    page.close()


@pytest.fixture
def offline(saved, browser, tmp_path):
    """The file of the lab, opened from the disk; `asked` holds the addresses it asked for."""
    path = tmp_path / "lab.html"
    shutil.copy(saved.parent / "kept-lab.html", path)
    page = browser.new_page(viewport={"width": 1400, "height": 1100})
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    yield page, asked
    assert errors == []
    page.close()


def test_the_file_opens_by_itself_with_hover_and_drill_down(offline):
    page, asked = offline
    panel = Panel(page)
    expect(panel.status).to_contain_text("saved")
    expect(panel.heads).to_have_attribute("aria-label", "Heads at ' to' (13)")
    page.mouse.move(*panel.centre(panel.grid, row=23, col=13))
    expect(panel.part("tooltip")).to_contain_text("layer 23")
    panel.part("history").get_by_role("treeitem").first.click()
    expect(panel.heads).to_be_hidden()
    panel.click(panel.grid, row=23, col=13)
    expect(panel.heads).to_have_attribute("aria-label", "Heads at ' to' (13)")
    panel.open_attention(layer=23, head=3)
    screenshot("offline", panel.root)
    assert [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []
