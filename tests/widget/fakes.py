"""An experiment over numbers that are known beforehand: for the mechanics of the widget."""

import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
import xarray as xr

from patchwidget.errors import SiteError
from patchwidget.prompts.pair import PromptPair

HEADS = {"z", "q", "k", "v", "k_per_head", "v_per_head", "pattern"}
CLEAN, CORRUPTED = 4.5, -6.5


@dataclass(eq=False)
class FakeModel:
    """Two layers of two heads with four neurons. `lacks`: sites that it does not have."""

    name: str = "tiny"
    n_layers: int = 2
    n_heads: int = 2
    n_neurons: int = 4
    lacks: tuple[str, ...] = ()
    tokenizer: Any = None
    code: str = "pw.load()"
    device: Any = field(default_factory=lambda: SimpleNamespace(type="cpu"))
    world: dict[str, Any] = field(default_factory=dict)


class FakeExperiment:
    """Serves `grids[site]`, `cells_per_batch` at a time; `before_batch(site)` may block, record or raise.

    `estimates`: half of each number comes first, all at once. What is not given is taken over from the model's last experiment.
    """

    several = False
    renewed = 0

    def __init__(self, model=None, prompts=None, metric="logit_diff", direction="denoise", **world):
        self.model = model or FakeModel()
        self.model.world |= world
        defaults = {
            "tokens": ("A", " John", " to"),
            "grids": {},
            "cells_per_batch": 1,
            "before_batch": lambda site: None,
            "estimates": False,
        }
        for name, value in (defaults | self.model.world).items():
            setattr(self, name, value)
        corrupted = [" Mary" if token == " John" else token for token in self.tokens]
        self.prompts = [prompts or PromptPair("A John to", "A Mary to", " Mary", " John")]
        self.metrics, self.metric_name, self.direction = {metric: metric}, metric, direction
        self.base = "corrupted" if direction == "denoise" else "clean"
        self.closed = self.model.world.setdefault("closed", [])
        everywhere = tuple(range(len(self.tokens)))
        self.pair = SimpleNamespace(
            clean_tokens=list(self.tokens),
            corrupted_tokens=corrupted,
            differs=[a != b for a, b in zip(self.tokens, corrupted, strict=True)],
            correspondence=(everywhere, everywhere),
            answer_text=" Mary",
            distractor_text=" John",
        )

    @cached_property
    def baselines(self):
        self.before_batch("baselines")
        return SimpleNamespace(
            clean=CLEAN, corrupted=CORRUPTED, clean_top=[(" Mary", 0.91), (" John", 0.02)], corrupted_top=[(" John", 0.8), (" Mary", 0.01)]
        )

    @property
    def runs(self):
        """What an experiment leaves to its runs is here too."""
        return self

    def why_not_packed(self):
        return None

    def start(self, site, positions="each", layers=None, heads=None, order=None):
        if site in self.model.lacks or site == "resid_prey":
            raise SiteError(f"tiny has no {site}.", "Choose another site.")
        model, length = self.model, len(self.tokens)
        axes = {"layer": list(range(model.n_layers)) if layers is None else layers}
        axis = {"head": list(range(model.n_heads)) if heads is None else heads} if site in HEADS else {}
        axis = {"neuron": list(range(model.n_neurons))} if site == "mlp_post" else axis
        each = list(range(length))
        places = (
            {"each": {"pos": each}, "entries": {"dest_pos": each, "src_pos": each}}.get(positions, {}) if isinstance(positions, str) else {}
        )
        axes |= {**axis, **places} if site == "pattern" else {**places, **axis}
        return FakeSweep(self, site, axes, estimates=self.estimates and order == "attribution")

    def patch(self, patches):
        self.before_batch("patch")
        several = patches if isinstance(patches, list) else [patches]
        values = np.float32(CORRUPTED + len(several) ** 2)
        recovery = (values - CORRUPTED) / (CLEAN - CORRUPTED)
        return SimpleNamespace(values=values, recovery=recovery, noise_floor=4e-07)

    def paths(self, receiver, senders, progress):
        self.before_batch("paths")
        sweep = FakeSweep(self, "paths", {"sender": [str(node) for node in senders]}, estimates=False)
        sweep._state[:] = 1
        return sweep.result

    def attention(self, layer, head, pos):
        self.before_batch("attention")
        rows = np.eye(len(self.tokens), dtype=np.float32)
        return SimpleNamespace(clean=rows if pos is None else rows[pos], corrupted=rows if pos is None else rows[head])


class FakeSweep:
    def __init__(self, experiment: FakeExperiment, site: str, axes: dict[str, list], estimates: bool):
        self.experiment, self.site, self.coords = experiment, site, axes
        self.dims, self.shape = tuple(axes), tuple(len(labels) for labels in axes.values())
        self.total = int(np.prod(self.shape))
        given = experiment.grids.get(site)
        self.grid = (
            given if given is not None and given.shape == self.shape else np.arange(self.total, dtype=np.float32).reshape(self.shape)
        )
        self.layout = SimpleNamespace(info={"code": f"exp = ...\nresult = exp.sweep({site!r})\n"})
        self._estimates = estimates
        self._state = np.zeros(self.total, np.uint8)
        self._batches = self._run()

    def __iter__(self) -> Iterator[Any]:
        return self._batches

    def _run(self) -> Generator[Any, None, None]:
        if self._estimates:
            self.experiment.before_batch("estimate")
            self._state[:] = 2
            yield
        for start in range(0, self.total, self.experiment.cells_per_batch):
            self.experiment.before_batch(self.site)
            self._state[start : min(start + self.experiment.cells_per_batch, self.total)] = 1
            yield

    def close(self) -> None:
        self._batches.close()
        self.experiment.closed.append(self.site)

    @property
    def result(self):
        state = self._state.reshape(self.shape).copy()
        values = xr.DataArray(np.where(state == 0, np.nan, np.where(state == 1, self.grid, self.grid / 2)), dims=self.dims)
        complete = bool((state == 1).all())
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
