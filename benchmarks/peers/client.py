"""The other ways to patch, as programs that are asked: each is started once, keeps its model, and measures a task at a time."""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from patchwidget.models.default_model import default_model_folder

from .environment import peers_model, peers_python
from .tasks import Measured, Task

CELLS_PER_TRACE = 30
ROOT = Path(__file__).parents[2]
# in the peers' own environment
PEERS = {
    "nnsight": ["run_nnsight", "1"],
    f"nnsight, {CELLS_PER_TRACE} invokes a trace": ["run_nnsight", str(CELLS_PER_TRACE)],
    "TransformerLens bridge": ["run_transformerlens", "bridge"],
    "HookedTransformer": ["run_transformerlens", "hooked"],
}


class PeerError(Exception):
    """A peer can't measure what it was asked for; the text tells why."""


class Peer:
    """A running program that measures tasks. A context manager, which ends it."""

    def __init__(self, command: list[str]) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the program runs
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def measure(self, task: Task) -> Measured:
        """Raises PeerError if it can't."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # it ended: what it said last is read below
            print(task.to_json(), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(f"ended: {self._last_words()}")
        reply = json.loads(line)
        if "error" in reply:
            raise PeerError(reply["error"])
        return Measured(**reply)

    def _last_words(self) -> str:
        self._log.seek(0)
        return " ".join(self._log.read().strip().splitlines()[-1:])


def start_hooked() -> Peer:
    """One hooked forward per cell, in this environment."""
    return Peer([sys.executable, "-m", "benchmarks.peers.run_hooked", str(default_model_folder())])


def start_peers() -> dict[str, Peer]:
    """The libraries, each with its own process. Raises PeersMissingError where they can't be installed."""
    python, folder = str(peers_python()), str(peers_model())
    return {name: Peer([python, "-m", f"benchmarks.peers.{module}", folder, kind]) for name, (module, kind) in PEERS.items()}
