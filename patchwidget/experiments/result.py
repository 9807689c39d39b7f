"""The values of a sweep with everything needed to read them: axes, baselines, checks and where they come from."""

from dataclasses import dataclass, field, replace
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
        clean, corrupted: the metric of the two runs without a patch; arrays over the axis `pair` where there are several pairs.
        state: uint8 of the same shape: 0 pending, 1 exact, 2 estimate, 3 not measurable.
        checks: what the numbers were checked by; empty while the sweep is not complete.
        noise: how far a number can be off, in units of the metric.
        info: where the numbers come from: model, site, direction, metric, dtype, tokens, executor...
        others: the results of further metrics of the same runs, by name.
    """

    values: xr.DataArray
    clean: float | xr.DataArray
    corrupted: float | xr.DataArray
    state: np.ndarray
    checks: list[Check]
    noise: float
    info: dict[str, Any] = field(default_factory=dict)
    others: dict[str, "PatchResult"] = field(default_factory=dict)

    def __getitem__(self, metric: str) -> "PatchResult":
        """The result of one metric of the same runs."""
        return self if metric == self.info.get("metric") else self.others[metric]

    @property
    def reason(self) -> str | None:
        """Why there is no recovery, or None: clean and corrupted do not differ, or a baseline is not a number."""
        if not np.isfinite(np.append(self.clean, self.corrupted)).all():
            return f"A baseline is not a number (clean {_number(self.clean)}, corrupted {_number(self.corrupted)}), so recovery has no meaning."
        if np.max(np.abs(self._difference)) <= self.noise:
            return (
                f"Both prompts give the same {self.info.get('metric', 'metric')} ({_number(self.clean)}), so there is nothing to recover."
            )
        return None

    @property
    def recovery(self) -> xr.DataArray:
        """(patched - corrupted) / (clean - corrupted): 0 is the corrupted run, 1 the clean one; not clipped. NaN if there is a `reason`."""
        gap = xr.where(abs(self._difference) > self.noise, self._difference, np.nan) if self.reason is None else np.nan
        return ((self.values - self.corrupted) / gap).rename("recovery")

    @property
    def effect(self) -> xr.DataArray:
        """How far the patch moved the base run towards the source run: equal to recovery when denoising, 1 - recovery when noising."""
        return (self.recovery if self.info.get("direction") != "noise" else 1 - self.recovery).rename("effect")

    @property
    def noise_floor(self) -> float:
        """The size of recovery below which a cell can't be told from 0."""
        gap = float(np.mean(np.abs(self._difference)))
        return self.noise / gap if gap > 0 else float("nan")

    def mean(self) -> "PatchResult":
        """The mean over pairs; its recovery is that of the mean metric. A result of one pair is its own mean."""
        if "pair" not in self.values.dims:
            return self
        state = np.full(self.state.shape[1:], EXACT)
        for worse in (ESTIMATE, PENDING):
            state[(self.state == worse).any(0)] = worse
        state[(self.state == NOT_MEASURABLE).all(0)] = NOT_MEASURABLE
        return replace(
            self,
            values=self.values.mean("pair", skipna=True),
            clean=float(np.mean(self.clean)),
            corrupted=float(np.mean(self.corrupted)),
            state=state.astype(np.uint8),
            others={name: other.mean() for name, other in self.others.items()},
        )

    @property
    def _difference(self) -> float | xr.DataArray:
        return self.clean - self.corrupted

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
        tokens = self.info.get("tokens")
        if tokens and "pos" in self.values.dims and frame["pos"].dtype.kind == "i":
            frame.insert(list(frame.columns).index("pos") + 1, "token", [tokens[p] for p in frame["pos"]])
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
        estimates = int((self.state == ESTIMATE).sum())
        known += f", {estimates} estimates" if estimates else ""
        failed = "" if self.ok else f", FAILED: {', '.join(check.name for check in self.checks if not check.ok)}"
        return (
            f"PatchResult({self.info.get('site')}, {shape}, {self.info.get('direction')}, {self.info.get('metric')}: "
            f"clean {_number(self.clean)}, corrupted {_number(self.corrupted)}{known}{failed})"
        )


def _number(value: float | xr.DataArray) -> str:
    return f"{value:.3f}" if isinstance(value, float) else f"{float(np.mean(value)):.3f} on average"
