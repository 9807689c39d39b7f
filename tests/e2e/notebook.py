"""A notebook open in a browser: its cells are run as a user runs them, and all that the page says or asks for is kept."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Locator, Page

SCREENSHOTS = Path(__file__).parent / "screenshots"


def screenshot(name: str, shown: Page | Locator) -> None:
    """Keep a picture."""
    SCREENSHOTS.mkdir(exist_ok=True)
    shown.screenshot(path=SCREENSHOTS / f"{name}.png")


class Notebook:
    """One notebook in a page of its own.

    `console` holds the console's messages, `page_errors` uncaught exceptions, `foreign` the addresses on other hosts that were asked for.
    """

    def __init__(
        self,
        browser: Browser,
        url: str,
        name: str,
        *,
        app: str = "lab",
        ready: bool = True,
        width: int = 1400,
        height: int = 1200,
        scale: float = 1,
    ) -> None:
        """`app`: "lab", or "notebook" for Notebook 7. `ready`: wait for its kernel."""
        self.console: list[str] = []
        self.page_errors: list[str] = []
        self.foreign: list[str] = []
        self.page: Page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=scale)
        self.page.on("console", lambda message: self.console.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.page_errors.append(str(error)))
        self.page.on("request", lambda request: self._note(request.url, urlsplit(url).netloc))
        self.page.goto(f"{url}/lab/tree/{name}?reset" if app == "lab" else f"{url}/notebooks/{name}")
        self._ready = ready
        if ready:
            self._wait_until_ready()
        else:
            self.page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.content?.widgets?.length")
        if app == "lab":
            self.command("application:set-mode", {"mode": "single-document"})
            self.command("application:toggle-left-area")

    def _wait_until_ready(self) -> None:
        self.page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.sessionContext?.isReady", timeout=60_000)

    def _note(self, url: str, own: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.netloc != own:
            self.foreign.append(url)

    def command(self, name: str, arguments: dict | None = None) -> None:
        """Carry out one of JupyterLab's commands and wait for it."""
        self.page.evaluate("([name, args]) => jupyterapp.commands.execute(name, args).then(() => null)", [name, arguments or {}])

    def start(self, index: int) -> None:
        """Run a cell without waiting for it. By its index: a click into an output makes its cell the active one."""
        self.page.evaluate(
            """index => {
                jupyterapp.shell.currentWidget.content.activeCellIndex = index;
                (window.testRuns ??= {})[index] = jupyterapp.commands.execute('notebook:run-cell').then(() => null);
            }""",
            index,
        )

    def finish(self, index: int) -> str:
        """Wait until a cell that was started is done; its text output, or AssertionError with the traceback where it failed."""
        outputs = self.page.evaluate(
            """async index => {
                await window.testRuns[index];
                return jupyterapp.shell.currentWidget.content.widgets[index].model.outputs.toJSON();
            }""",
            index,
        )
        errors = ["\n".join(output["traceback"]) for output in outputs if output["output_type"] == "error"]
        assert not errors, errors[0]
        return "".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs).strip()

    def run(self, index: int) -> str:
        """Run a cell, wait until it is done, and return its text output."""
        self.start(index)
        return self.finish(index)

    def start_busy(self, index: int) -> None:
        """Start a cell that keeps the kernel busy, and wait until it does: `cells.BUSY`."""
        self.start(index)
        outputs = "index => jupyterapp.shell.currentWidget.content.widgets[index].model.outputs.length"
        self.page.wait_for_function(outputs, arg=index)

    def finish_busy(self, index: int) -> str:
        """Let such a cell, which must still be running, come to its end; its text output."""
        assert self.is_running(index)
        self.kernel("interrupt")
        return self.finish(index)

    def run_all(self) -> None:
        """Run the code cells one after the other."""
        for index in self.page.evaluate(
            "jupyterapp.shell.currentWidget.content.widgets.flatMap((cell, index) => cell.model.type === 'code' ? [index] : [])"
        ):
            self.run(index)

    def ask(self, expression: str) -> str:
        """The `repr` of what an expression is in the kernel."""
        return self.page.evaluate(
            """async expression => {
                const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                const reply = await kernel.requestExecute({ code: '', silent: true, user_expressions: { it: expression } }).done;
                return reply.content.user_expressions.it.data['text/plain'];
            }""",
            expression,
        )

    def wait_until(self, expression: str) -> None:
        """Wait until an expression is true in the kernel; AssertionError where it never is."""
        for _ in range(300):
            if self.ask(f"bool({expression})") == "True":
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"It never became true: {expression}")

    def is_running(self, index: int) -> bool:
        """Whether a cell has been started and is not done."""
        return self.page.evaluate(
            "index => jupyterapp.shell.currentWidget.content.widgets[index].model.executionState === 'running'", index
        )

    def save(self) -> None:
        """Save the notebook."""
        self.command("docmanager:save")

    def reload(self) -> None:
        """Load the page anew; the kernel goes on."""
        self.save()  # or the browser would ask
        self.page.reload()
        self._wait_until_ready()

    def kernel(self, action: str) -> None:
        """`action`: "restart" or "interrupt"."""
        self.page.evaluate("action => jupyterapp.shell.currentWidget.sessionContext.session.kernel[action]().then(() => null)", action)

    def use_theme(self, theme: str) -> None:
        """`theme`: "Light" or "Dark"."""
        self.command("apputils:change-theme", {"theme": f"JupyterLab {theme}"})
        self.page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=f"JupyterLab {theme}")
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    def messages(self) -> set[str]:
        """The console's messages without what differs from one run to the next: hosts, identifiers, numbers."""
        return {re.sub(r"https?://\S+|[0-9a-f]{8}-[0-9a-f-]+|\d+", "*", message) for message in self.console}

    def screenshot(self, name: str, locator: Locator | None = None) -> None:
        """Keep a picture of one element, or of the whole page."""
        screenshot(name, locator or self.page)

    def close(self) -> None:
        """Shut the kernel down and close the page."""
        if self._ready:
            self.page.evaluate("jupyterapp.shell.currentWidget.sessionContext.shutdown().then(() => null)")
        self.page.close()
