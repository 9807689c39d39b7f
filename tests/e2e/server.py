"""A JupyterLab of our own, started the way users start it, with nobody's settings but its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat

from tests.e2e.kernels import write_kernels

STARTS_WITHIN = 60  # seconds


@dataclass(frozen=True)
class Server:
    """A running JupyterLab: where it answers, and the folder that it serves."""

    url: str
    folder: Path

    def write_notebook(self, name: str, *cells: str, kernel: str = "python3") -> None:
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(source) for source in cells],
            metadata={"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}},
        )
        nbformat.write(notebook, self.folder / name)


@contextlib.contextmanager
def demo_server(home: Path) -> Iterator[Server]:
    """`patchwidget demo`, headless, with all that Jupyter keeps under `home`."""
    config = home / "config"
    config.mkdir()
    (config / "jupyter_lab_config.py").write_text("c.LabApp.expose_app_in_browser = True\n")
    (config / "jupyter_notebook_config.py").write_text("c.JupyterNotebookApp.expose_app_in_browser = True\n")
    notifications = home / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    notifications.parent.mkdir(parents=True)
    notifications.write_text('{"fetchNews": "false"}')  # its question would stand before what we look at
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(config),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "IPYTHONDIR": str(home / "ipython"),
    }
    write_kernels(home / "data" / "kernels")
    server = Server(f"http://127.0.0.1:{_free_port()}", home / "notebooks")
    port = server.url.rsplit(":", 1)[1]
    arguments = ["demo", "--no-browser", "--port", port, "--token", "", "--dir", str(server.folder)]
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "patchwidget.cli", *arguments], stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=home
        )
    try:
        _wait_until_it_answers(server.url, process, home / "server.log")
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _wait_until_it_answers(url: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{url}/api/status"):
            return
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()}")
