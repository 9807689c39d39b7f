"""The values of a sweep with everything needed to read them: axes, baselines, checks and where they come from."""

from dataclasses import dataclass, field, replace
from html import escape
from typing import Any, Self

import numpy as np
import pandas as pd
import xarray as xr

from patchwidget.errors import MetricError
from patchwidget.runs.checks import Check

PENDING, EXACT, ESTIMATE, NOT_MEASURABLE = 0, 1, 2, 3


@dataclass(frozen=True, eq=False)
class ResultData:
    """The fields of a `PatchResult` (which says what they hold), and what follows from them alone."""

    values: xr.DataArray
    clean: float | xr.DataArray
    corrupted: float | xr.DataArray
    state: np.ndarray
    checks: list[Check]
    noise: float
    info: dict[str, Any] = field(default_factory=dict)
    others: dict[str, Self] = field(default_factory=dict)

    def __getitem__(self, metric: str) -> Self:
        """The result of one metric of the same runs; MetricError where none of that name was measured."""
        if metric == self.info.get("metric"):
            return self
        if metric not in self.others:
            measured = ", ".join(map(repr, self.metrics))
            raise MetricError(
                f"The metric {metric!r} was not measured, but {measured}.", "Ask for several: pw.Experiment(model, pair, [...])."
            )
        return self.others[metric]

    @property
    def metrics(self) -> list[str]:
        """The names of all metrics of the same runs: `result[name]` is the result of each."""
        return [str(self.info.get("metric")), *self.others]

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
    def gaps(self) -> str | None:
        """Why some cells have no value although they were computed; None if there are none such."""
        return self.info.get("gaps")

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

    def mean(self) -> Self:
        """The mean over pairs; its recovery is that of the mean metric. A result of one pair is its own mean.

        A cell that some pairs lack is measured against the gap of those that have it: its value is put where its recovery says.
        """
        if "pair" not in self.values.dims:
            return self
        state = np.where((self.state == NOT_MEASURABLE).all(0), NOT_MEASURABLE, np.where((self.state == PENDING).any(0), PENDING, EXACT))
        state = np.where((self.state == ESTIMATE).any(0) & (state == EXACT), ESTIMATE, state)
        clean, corrupted = float(np.mean(self.clean)), float(np.mean(self.corrupted))
        has, gap = self.values.notnull(), self._difference * xr.ones_like(self.values)
        own_gap = gap.where(has).mean("pair")
        scale = xr.where(has.all("pair") | ~(abs(own_gap) > self.noise), 1.0, (clean - corrupted) / own_gap)
        partly = corrupted + (self.values - self.corrupted).mean("pair") * scale
        return replace(
            self,
            values=xr.where(has.all("pair"), self.values.mean("pair"), partly).astype(np.float32).rename(self.values.name),
            clean=clean,
            corrupted=corrupted,
            state=state.astype(np.uint8),
            others={name: other.mean() for name, other in self.others.items()},
        )

    @property
    def _difference(self) -> float | xr.DataArray:
        return self.clean - self.corrupted

    @property
    def complete(self) -> bool:
        """Whether no cell is pending."""
        return bool((self.state != PENDING).all())

    @property
    def ok(self) -> bool:
        """Whether every check passed; True as long as none was made."""
        return all(check.ok for check in self.checks)

    def to_frame(self) -> pd.DataFrame:
        """A tidy table, one row per cell: the axes, the token where there are positions, value, recovery and state.

        Over several pairs also what else is known of each (see `PromptSet`).
        """
        if self.values.ndim:
            frame = pd.DataFrame(self.values.to_dataframe(name="value").reset_index()[[*self.values.dims, "value"]])
        else:
            frame = pd.DataFrame({"value": [float(self.values)]})
        tokens = self.info.get("tokens")
        if tokens and "pos" in self.values.dims and frame["pos"].dtype.kind == "i":
            frame.insert(list(frame.columns).index("pos") + 1, "token", [tokens[p] for p in frame["pos"]])
        self._add_meta(frame)
        frame["recovery"] = self.recovery.to_numpy().ravel()
        frame["state"] = np.array(["pending", "exact", "estimate", "not measurable"])[self.state.ravel()]
        return frame

    def _add_meta(self, frame: pd.DataFrame) -> None:
        meta = (self.info.get("meta_by_pair") or []) if "pair" in frame else []
        for name in dict.fromkeys(name for one in meta for name in one):
            column = name if name not in {*frame, "recovery", "state"} else f"{name} of the pair"
            frame.insert(list(frame.columns).index("value"), column, [meta[pair].get(name) for pair in frame["pair"]])

    def top(self, n: int = 10) -> pd.DataFrame:
        """The n cells with the largest effect, of either sign, largest first."""
        order = np.argsort(-np.abs(self.effect.to_numpy().ravel()), kind="stable")  # NaN comes last
        return self.to_frame().take(list(order[:n])).reset_index(drop=True)

    def code(self) -> str:
        """The lines of Python that compute this result again."""
        return self.info.get("code", "")

    def _repr_html_(self) -> str:
        """For notebooks: what it is, and the largest effects (of the mean over pairs)."""
        table = self.mean().top(5).to_html(index=False, border=0, float_format="{:.3f}".format)
        return f"<p>{escape(repr(self), quote=False)}</p>{table}"

    def __repr__(self) -> str:
        shape = ", ".join(f"{dim} {size}" for dim, size in self.values.sizes.items()) or "one cell"
        known = "" if self.complete else f", {int((self.state != PENDING).sum())} of {self.state.size} cells known"
        estimates = int((self.state == ESTIMATE).sum())
        known += f", {estimates} estimates" if estimates else ""
        failed = "" if self.ok else f", FAILED: {', '.join(check.name for check in self.checks if not check.ok)}"
        return (
            f"PatchResult({self.info.get('site')}, {shape}, {self.info.get('direction')}, {self.info.get('metric')}: "
            f"clean {_number(self.clean)}, corrupted {_number(self.corrupted)}{known}{failed})" + (f"\n{self.gaps}" if self.gaps else "")
        )


def _number(value: float | xr.DataArray) -> str:
    return f"{value:.3f}" if isinstance(value, float) else f"{float(np.mean(value)):.3f} on average"
