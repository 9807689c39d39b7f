"""Each line of ipykernel that people have, in JupyterLab and in Notebook 7."""

import pytest
from playwright.sync_api import expect

from tests.e2e import cells, kernels
from tests.e2e.panel import Panel


@pytest.mark.parametrize(
    ("kernel", "app", "live"),
    [("ipykernel-6.31.0", "lab", False), ("ipykernel-7.3.0", "lab", True), ("python3", "lab", True), ("python3", "notebook", None)],
    ids=["6.31", "7.3", "own", "notebook 7"],
)
def test_it_works_and_says_whether_it_waits_for_cells(open_notebook, kernel, app, live):
    if kernel != "python3":
        kernels.fetch(kernel.removeprefix("ipykernel-"))
    notebook = open_notebook(f"{kernel}-{app}.ipynb", cells.SMALL, cells.LAB, cells.BUSY, kernel=kernel, app=app)
    notebook.run(0)
    notebook.run(1)
    panel = Panel(notebook.page)
    panel.wait_until_done()
    panel.open_heads(layer=2, pos=3)
    if live is not None:
        assert panel.part("waits").is_visible() != live
    notebook.start_busy(2)
    panel.click(panel.grid, row=1, col=5)
    if live:
        expect(panel.heads).to_have_attribute("aria-label", "Heads at ' to' (5)")
    version = notebook.finish_busy(2)
    assert version.startswith(kernel.removeprefix("ipykernel-") if kernel != "python3" else "7.")
    expect(panel.heads).to_have_attribute("aria-label", "Heads at ' to' (5)")
    panel.wait_for_detail()
    panel.part("run").click()
    panel.wait_until_done()
    assert app == "notebook" or notebook.page_errors == []  # Notebook 7 has some of its own
    assert notebook.foreign == []
