"""Make the README's pictures, light and dark, from the quickstart notebook in a real JupyterLab: `make screenshot`."""

import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from scripts import chromium
from tests.e2e.notebook import Notebook
from tests.e2e.panel import Panel
from tests.e2e.server import demo_server

PICTURES = Path(__file__).parents[1] / "docs"
LAYER, POSITION, HEAD = 23, 13, 3


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home, demo_server(Path(home)) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox", "--disable-gpu"])
        notebook = Notebook(browser, server.url, "quickstart.ipynb", scale=2)
        notebook.run_all()
        panel = Panel(notebook.page)
        panel.wait_until_done()
        panel.open_heads(layer=LAYER, pos=POSITION)
        panel.open_attention(layer=LAYER, head=HEAD)
        for theme, name in (("Light", "patchlab.png"), ("Dark", "patchlab-dark.png")):
            notebook.use_theme(theme)
            notebook.page.mouse.move(0, 0)
            panel.root.screenshot(path=PICTURES / name)
        notebook.close()
        browser.close()


if __name__ == "__main__":
    main()
