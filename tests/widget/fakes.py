"""An experiment over numbers that are known beforehand, and a page that records what reaches it: for the mechanics of the widget."""

import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import comm.base_comm
import numpy as np
import xarray as xr

CLEAN, CORRUPTED = 4.5, -6.5


@dataclass(eq=False)
class FakeModel:
    name: str = "tiny"
    n_layers: int = 2
    n_heads: int = 2


@dataclass(eq=False)
class FakeExperiment:
    """Serves `grids[site]`, `cells_per_batch` at a time; `before_batch(site)` may block, record or raise."""

    model: FakeModel = field(default_factory=FakeModel)
    tokens: tuple[str, ...] = ("A", " John", " to")
    grids: dict[str, np.ndarray] = field(default_factory=dict)
    cells_per_batch: int = 1
    before_batch: Callable[[str], Any] = lambda site: None
    closed: list[str] = field(default_factory=list)
    metric_name: str = "logit_diff"
    direction: str = "denoise"

    def __post_init__(self):
        corrupted = [" Mary" if token == " John" else token for token in self.tokens]
        self.pair = SimpleNamespace(
            clean_tokens=list(self.tokens),
            corrupted_tokens=corrupted,
            differs=[a != b for a, b in zip(self.tokens, corrupted, strict=True)],
            answer_text=" Mary",
            distractor_text=" John",
        )

    @property
    def baselines(self):
        self.before_batch("baselines")
        return SimpleNamespace(
            clean=CLEAN, corrupted=CORRUPTED, clean_top=[(" Mary", 0.91), (" John", 0.02)], corrupted_top=[(" John", 0.8), (" Mary", 0.01)]
        )

    def start(self, site: str, positions: Any = "each"):
        rows, cols = self.model.n_layers, len(self.tokens) if positions == "each" else self.model.n_heads
        grid = self.grids.get(site, np.arange(rows * cols, dtype=np.float32).reshape(rows, cols))
        if site == "z" and positions == "each":
            return FakeSweep(self, site, np.zeros((rows, len(self.tokens), self.model.n_heads), np.float32), ("layer", "pos", "head"))
        return FakeSweep(self, site, grid, ("layer", "pos" if positions == "each" else "head"))

    def attention(self, layer: int, head: int, pos: int):
        self.before_batch("attention")
        rows = np.eye(len(self.tokens), dtype=np.float32)
        return SimpleNamespace(clean=rows[pos], corrupted=rows[head])


class FakeSweep:
    def __init__(self, experiment: FakeExperiment, site: str, grid: np.ndarray, dims: tuple[str, ...]):
        self.experiment, self.site, self.grid, self.dims = experiment, site, grid, dims
        self.shape, self.total = grid.shape, grid.size
        self.coords = {dim: list(range(size)) for dim, size in zip(dims, grid.shape, strict=True)}
        self._state = np.zeros(grid.size, np.uint8)
        self._batches = self._run()

    @property
    def done(self) -> int:
        return int(self._state.sum())

    def __iter__(self) -> Iterator[Any]:
        return self._batches

    def _run(self) -> Generator[Any, None, None]:
        for start in range(0, self.total, self.experiment.cells_per_batch):
            self.experiment.before_batch(self.site)
            index = np.arange(start, min(start + self.experiment.cells_per_batch, self.total))
            self._state[index] = 1
            yield SimpleNamespace(index=index, values=self.grid.ravel()[index])

    def close(self) -> None:
        self._batches.close()
        self.experiment.closed.append(self.site)

    @property
    def result(self):
        state = self._state.reshape(self.shape).copy()
        values = xr.DataArray(np.where(state == 1, self.grid, np.nan), dims=self.dims)
        complete = bool(state.all())
        check = SimpleNamespace(
            name="identity", ok=True, value=0.0, limit=1e-4, text="patching with the base run's own activation changes nothing"
        )
        return SimpleNamespace(
            values=values,
            recovery=(values - CORRUPTED) / (CLEAN - CORRUPTED),
            state=state,
            clean=CLEAN,
            corrupted=CORRUPTED,
            noise_floor=4e-07,
            reason=None,
            complete=complete,
            checks=[check] if complete else [],
        )


class Gate:
    """Blocks an experiment before each batch until it is let through, and writes down what ran."""

    def __init__(self, *sites):
        self.sites, self.permits, self.entries, self.reached = sites, threading.Semaphore(0), [], threading.Semaphore(0)

    def __call__(self, site):
        if site in self.sites:
            self.reached.release()
            assert self.permits.acquire(timeout=20.0)
        self.entries.append(site)

    def arrive(self):
        """Wait until the worker stands before a batch."""
        assert self.reached.acquire(timeout=20.0)

    def let(self, n=1):
        self.permits.release(n)

    def open(self):
        self.permits.release(10_000)


class RecordingComm(comm.base_comm.BaseComm):
    """A comm whose other end is a list, `sent`: message type, data, buffers and the thread it left from."""

    def __init__(self, **kwargs):
        self.sent: list[tuple[str, dict, list, str]] = []
        self.news = threading.Condition()
        super().__init__(**kwargs)

    def _reply_subshell_for(self, data, default):
        return "the shell that last published"  # as in ipykernel 7.4

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        with self.news:
            self.sent.append((msg_type, data or {}, buffers or [], threading.current_thread().name))
            self.news.notify_all()


class Page:
    """The other end of a lab: speaks the protocol, and keeps the views as the messages tell them."""

    def __init__(self, lab: Any):
        self.lab, self.comm = lab, lab.comm
        self._requests = 0

    def send(self, **content: Any) -> None:
        message = {"header": {}, "content": {"data": {"method": "custom", "content": {"v": 1, **content}}}, "buffers": []}
        self.lab._handle_msg(message)

    def hello(self, **more: Any) -> None:
        self.send(type="hello", page="p", **more)

    def request(self, method: str, **params: Any) -> str:
        self._requests += 1
        name = f"p-{self._requests}"
        self.send(type="request", id=name, method=method, params=params)
        return name

    def cancel(self, name: str) -> None:
        self.send(type="cancel", id=name)

    @property
    def messages(self) -> list[dict]:
        """All custom messages so far, with their arrays in place."""
        with self.comm.news:
            sent = list(self.comm.sent)
        return [unpacked(data["content"], buffers) for _, data, buffers, _ in sent if data.get("method") == "custom"]

    def of(self, request: str) -> list[dict]:
        return [message for message in self.messages if message.get("id") == request]

    def until(self, condition: Callable[[], Any]) -> Any:
        """Wait for something that comes with a message."""
        with self.comm.news:
            if not self.comm.news.wait_for(condition, timeout=20.0):
                raise AssertionError(f"it never came; the last messages are {[(m['type'], m.get('id')) for m in self.messages[-5:]]}")
            return condition()

    def over(self, request: str) -> dict:
        """The message that ends a request, once it is there."""
        return self.until(lambda: next((m for m in self.of(request) if m["type"] in {"result", "error"}), None))

    @property
    def views(self) -> dict[str, dict]:
        """The views as a page knows them after all messages, by kind of question."""
        views: dict[str, dict] = {}
        for message in self.messages:
            if message["type"] == "hello":
                views = {place(view): view for view in message["views"]}
            elif "open" in message:
                views[place(message["open"])] = message["open"]
            if "cells" in message:
                view, cells = next(view for view in views.values() if view["id"] == message["view"]), message["cells"]
                for name in ("values", "recovery", "state"):
                    view[name] = view[name].copy()
                    view[name][cells["index"]] = cells[name]
        return views


def place(view: dict) -> str:
    return "attention" if view["kind"] == "attention" else "heads" if view["parent"] else "main"


ARRAYS = {"index": np.uint32, "values": np.float32, "recovery": np.float32, "state": np.uint8}


def unpacked(content: dict, buffers: list) -> dict:
    """A message with the arrays where its JSON names their numbers."""

    def read(name: str, value: Any) -> Any:
        if isinstance(value, dict) and value.get("kind") == "attention":
            rows = {name: np.frombuffer(buffers[value[name]], "<f4") for name in ("clean", "corrupted")}
            return {**value, **rows}
        if isinstance(value, dict):
            return {key: read(key, item) for key, item in value.items()}
        if isinstance(value, list):
            return [read("", item) for item in value]
        return np.frombuffer(buffers[value], ARRAYS[name]) if name in ARRAYS and value is not None else value

    return {key: read("", value) if key in {"open", "cells", "views"} else value for key, value in content.items()}
