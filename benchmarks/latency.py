"""How soon PatchLab answers, by the page's own clock: `python -m benchmarks.latency`

A real JupyterLab in Chromium, the default model, the indirect-object pair. "first numbers" is from the start of the cell that makes a lab, in a
kernel that has loaded the model, until the page shows the first estimates of its grid; "click" from pressing the mouse on a cell of that grid
until the page shows the first numbers of its heads. Both end with the frame in which they are drawn.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from scripts import chromium
from tests.e2e import cells
from tests.e2e.notebook import Notebook
from tests.e2e.panel import Panel
from tests.e2e.server import Server, demo_server

# resolves with the milliseconds from `begun` to the frame after the one in which `status` tells of numbers and the grid's title is the one wanted
WATCH = """([status, grid, title]) => {
    window.answered = new Promise(resolve => {
        const look = () => {
            const told = /^\\d+ (of|cells)/.test(document.querySelector(status)?.textContent ?? '');
            const label = document.querySelector(grid)?.getAttribute('aria-label') ?? '';
            if (window.begun === undefined || !told || !label.endsWith(title)) return;
            observer.disconnect();
            requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - window.begun)));
        };
        const observer = new MutationObserver(look);
        window.begun = undefined;
        document.addEventListener('pointerdown', () => { window.begun = performance.now(); }, { capture: true, once: true });
        observer.observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
    });
}"""

LAYER = 20
POSITIONS = range(9, 14)  # where the prompts' activations differ: heads at the others are known without computing


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the lab's answers in a real JupyterLab.")
    parser.add_argument("--kernels", type=int, default=3, help="fresh kernels in which a lab is opened")
    kernels = parser.parse_args().kernels
    opened, clicked = [], []
    with tempfile.TemporaryDirectory() as home, demo_server(Path(home)) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox", "--disable-gpu"])
        for number in range(kernels):
            first, clicks = measure(server, browser, f"latency{number}.ipynb")
            opened.append(first)
            clicked += clicks
        browser.close()
    for name, found in [("first numbers", opened), ("click", clicked)]:
        print(f"{name:16}median {statistics.median(found):5.0f} ms, from {min(found):.0f} to {max(found):.0f} ({len(found)} times)")


def measure(server: Server, browser: Browser, name: str) -> tuple[float, list[float]]:
    """Milliseconds to the first numbers of a lab, and from each click to those of the heads."""
    server.write_notebook(name, cells.DEFAULT, cells.LAB)
    notebook = Notebook(browser, server.url, name)
    page = notebook.page
    notebook.run(0)
    page.evaluate(WATCH, ['[data-pw="status"]', '[data-pw="grid"]', ""])
    page.evaluate("window.begun = performance.now()")
    notebook.start(1)
    first = page.evaluate("window.answered")
    panel = Panel(page)
    panel.wait_until_done()
    clicks = []
    for pos in POSITIONS:
        page.evaluate(WATCH, ['[data-pw="detail-status"]', '[data-pw="detail-grid"]', f"({pos})"])
        panel.click(panel.grid, row=LAYER, col=pos)
        clicks.append(page.evaluate("window.answered"))
        panel.wait_for_detail()
    notebook.close()
    return first, clicks


if __name__ == "__main__":
    main()
