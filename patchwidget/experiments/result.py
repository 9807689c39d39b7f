"""The values of a sweep with everything needed to read them: axes, baselines, checks and where they come from."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from .checks import Check

if TYPE_CHECKING:
    import plotly.graph_objects as go

PENDING, EXACT, ESTIMATE, NOT_MEASURABLE = 0, 1, 2, 3


@dataclass(frozen=True, eq=False)
class PatchResult:
    """What patching did to the metric, cell by cell.

    Attributes:
        values: the metric of each patched run, as it is; float32, labelled axes such as (layer, pos). NaN where a cell is not known.
        clean, corrupted: the metric of the two runs without a patch.
        state: uint8 of the same shape: 0 pending, 1 exact, 2 estimate, 3 not measurable.
        checks: what the numbers were checked by; empty while the sweep is not complete.
        noise: how far a number can be off, in units of the metric.
        info: where the numbers come from: model, site, direction, metric, dtype, tokens, executor...
    """

    values: xr.DataArray
    clean: float
    corrupted: float
    state: np.ndarray
    checks: list[Check]
    noise: float
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def reason(self) -> str | None:
        """Why there is no recovery, or None: clean and corrupted do not differ, or a baseline is not a number."""
        if not np.isfinite([self.clean, self.corrupted]).all():
            return f"A baseline is not a number (clean {self.clean}, corrupted {self.corrupted}), so recovery has no meaning."
        if abs(self.clean - self.corrupted) <= self.noise:
            return f"Both prompts give the same {self.info.get('metric', 'metric')} ({self.clean:.4g}), so there is nothing to recover."
        return None

    @property
    def recovery(self) -> xr.DataArray:
        """(patched - corrupted) / (clean - corrupted): 0 is the corrupted run, 1 the clean one; not clipped. NaN if there is a `reason`."""
        gap = np.nan if self.reason else self.clean - self.corrupted
        return ((self.values - self.corrupted) / gap).rename("recovery")

    @property
    def effect(self) -> xr.DataArray:
        """How far the patch moved the base run towards the source run: equal to recovery when denoising, 1 - recovery when noising."""
        return (self.recovery if self.info.get("direction") != "noise" else 1 - self.recovery).rename("effect")

    @property
    def noise_floor(self) -> float:
        """The size of recovery below which a cell can't be told from 0."""
        gap = abs(self.clean - self.corrupted)
        return self.noise / gap if gap > 0 else float("nan")

    @property
    def complete(self) -> bool:
        return bool((self.state != PENDING).all())

    @property
    def ok(self) -> bool:
        """Whether every check passed; True as long as none was made."""
        return all(check.ok for check in self.checks)

    def to_frame(self) -> pd.DataFrame:
        """A tidy table, one row per cell: the axes, the token where there are positions, value, recovery and state."""
        frame = pd.DataFrame(self.values.to_dataframe(name="value").reset_index()[[*self.values.dims, "value"]])
        if "pos" in self.values.dims:
            frame.insert(list(frame.columns).index("pos") + 1, "token", [self.info["tokens"][p] for p in frame["pos"]])
        frame["recovery"] = self.recovery.to_numpy().ravel()
        frame["state"] = np.array(["pending", "exact", "estimate", "not measurable"])[self.state.ravel()]
        return frame

    def top(self, n: int = 10) -> pd.DataFrame:
        """The n cells with the largest effect, of either sign, largest first."""
        order = np.argsort(-np.abs(self.effect.to_numpy().ravel()), kind="stable")  # NaN comes last
        return self.to_frame().take(list(order[:n])).reset_index(drop=True)

    def plot(self) -> "go.Figure":
        """A plotly figure of recovery: a heat map over two axes, bars over one."""
        from .plots import plot_result

        return plot_result(self)

    def code(self) -> str:
        """The lines of Python that compute this result again."""
        return self.info.get("code", "")

    def __repr__(self) -> str:
        shape = ", ".join(f"{dim} {size}" for dim, size in self.values.sizes.items()) or "one cell"
        known = "" if self.complete else f", {int((self.state != PENDING).sum())} of {self.state.size} cells known"
        failed = "" if self.ok else f", FAILED: {', '.join(check.name for check in self.checks if not check.ok)}"
        return (
            f"PatchResult({self.info.get('site')}, {shape}, {self.info.get('direction')}, {self.info.get('metric')}: "
            f"clean {self.clean:.3f}, corrupted {self.corrupted:.3f}{known}{failed})"
        )
