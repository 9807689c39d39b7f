import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, expect, sync_playwright

from scripts import chromium
from tests.e2e.notebook import Notebook, screenshot
from tests.e2e.server import Server, demo_server

# longer than Playwright's 5 s: the machine may be busy, and nothing here is a race against it
expect.set_options(timeout=30_000)


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[Server]:
    with demo_server(tmp_path_factory.mktemp("lab")) as running:
        yield running


# by module, for Playwright keeps an event loop in this thread for as long as it runs, which other tests must not meet
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium.find()
    assert path is not None, "There is no Chromium: run `make chromium`."
    with sync_playwright() as playwright:
        # no sandbox: root, and containers without user namespaces, have none; the page is our own
        # with the scrollbars that people have: they take room
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"], ignore_default_args=["--hide-scrollbars"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def open_notebook(server: Server, browser: Browser) -> Iterator[Callable[..., Notebook]]:
    """Opens a notebook of the server's folder; given cells, it writes it first, for a kernel."""
    opened: list[Notebook] = []

    def open_(name: str, *cells: str, kernel: str = "python3", **options: Any) -> Notebook:
        if cells:
            server.write_notebook(name, *cells, kernel=kernel)
        opened.append(Notebook(browser, server.url, name, **options))
        return opened[-1]

    yield open_
    for notebook in opened:
        notebook.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Keeps a picture of each open page where a test fails."""
    report = yield
    browser = getattr(item, "funcargs", {}).get("browser")
    if report.failed and browser:
        pages = [page for context in browser.contexts for page in context.pages]
        for number, page in enumerate(pages):
            with contextlib.suppress(Error):  # a page that hangs has no picture
                screenshot(f"failed-{item.name}-{number}", page)
    return report
