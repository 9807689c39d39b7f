"""Hierarchical search: what matters, from layers down to neurons, with few exact cells and estimates that say where to look."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from patchwidget.engine.edits import Cell
from patchwidget.engine.sites import axis_size, check_site, find_site
from patchwidget.errors import PatchError, SiteError
from patchwidget.experiments.sweeps.patch import Patch
from patchwidget.experiments.sweeps.result_layout import Layout
from patchwidget.experiments.sweeps.sweep import Sweep, run_through
from patchwidget.runs.checks import Check, describe_failed, worst_checks
from patchwidget.runs.pair_runs import PairRuns

from .attribution import Method, estimate_cells
from .question import patch_edits

LEVELS = ("layers", "positions", "heads", "neurons")
# where a layer's two halves are patched as wholes, the better place first
_ATTENTION, _MLP = ("attn_out", "z"), ("mlp_out", "mlp_post")
_COLUMNS = ["level", "site", "layer", "pos", "token", "head", "neuron", "estimate", "effect", "spot"]


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What a search found, and what it did not look at.

    Effects and estimates are fractions of the gap between the two runs, as in `PatchResult.effect`; over several pairs, of the mean metric.

    Attributes:
        cells: one row per exact cell: level, site, layer, pos, token, head, neuron (empty where it is of all), estimate, effect, and `spot`,
            whether it was looked at as a sample of those that the estimate says do not matter. By level, the largest effect first.
        levels: one row per level: how many `candidates` there were (parts of what mattered at the level before), how many were `looked_at` exactly,
            how many `mattered`; how many were `not_looked_at` and why (`stopped_by` "budget", or "estimates": none of them reaches the threshold),
            and the largest estimate among them (`largest_left`); the estimate's
            error on the exact cells, root mean square (`error`) and `largest_error`; and on the `spot_checks` alone (`spot_error`), which are
            a random sample of what lies below the threshold. NaN where there are none.
        budget, spent: exact cells allowed and computed (each pair of prompts counts).
        threshold: the size of effect that matters.
        info: model, metric, direction, method.
        checks: of the exact cells, the worst of each name.
    """

    cells: pd.DataFrame
    levels: pd.DataFrame
    budget: int
    spent: int
    threshold: float
    info: dict[str, Any]
    checks: list[Check]

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return all(check.ok for check in self.checks)

    @property
    def found(self) -> pd.DataFrame:
        """The cells that matter, level by level, the largest effect first."""
        return self.cells.loc[self.cells["effect"].abs() >= self.threshold].reset_index(drop=True)

    def to_frame(self) -> pd.DataFrame:
        """All exact cells, as `cells`."""
        return self.cells.copy()

    def __repr__(self) -> str:
        head = f"SearchResult({self.info['metric']}, {self.info['direction']}: {self.spent} of {self.budget} exact cells, threshold {self.threshold:g})"
        head += "" if self.ok else f" FAILED: {describe_failed(self.checks)}"
        return "\n".join([head, *(f"  {_told(row)}" for row in self.levels.to_dict("records"))])


def search(runs: PairRuns, budget: int = 500, *, threshold: float = 0.02, method: str = "atp", seed: int = 0) -> SearchResult:
    """Look for what matters with few exact cells: layers, then positions, then heads and neurons of what matters.

    A layer's attention and its MLP are patched as wholes; of those whose exact effect reaches the threshold each position is a candidate, and of
    the attention and the MLP there each head and each neuron. Within a level cells are computed in the order of their estimates, down to
    the threshold. Each level may spend an equal share of what is left of the budget, a tenth of it on a sample of the cells whose
    estimate is below the threshold, so that one knows how far the estimate can be trusted there.

    Args:
        budget: how many exact cells may be computed (each pair counts).
        threshold: the size of effect, as a fraction of the gap between the two runs, that matters.
        method: of the estimates (see `attribute`).
        seed: of the samples.

    Returns:
        A SearchResult: `.found`, `.cells`, and `.levels` with what was not looked at and the estimate's error.

    Raises:
        MetricError: the metric has no gradient.
        PatchError: there is no gap between the runs, or the budget or threshold is too small.
    """
    how = Method.of(method)
    if budget < 1:
        raise PatchError(f"A budget of {budget} cells is no search.", "Give the number of exact cells that may be computed.")
    if not threshold > 0:
        raise PatchError(f"With threshold={threshold} everything would matter.", "Give a fraction of the gap above 0, such as 0.02.")
    runs.look_again(whole=True)
    looker, draw, n_pairs = _Looker(runs, how), np.random.default_rng(seed), len(runs.pairs)
    found: dict[str, list[Patch]] = {}
    tables, summaries, spent = [], [], 0
    for number, level in enumerate(LEVELS):
        candidates = list(_candidates(runs, level, found))
        estimates = looker.estimates(candidates)
        share = (budget - spent) // n_pairs // (len(LEVELS) - number)
        chosen, spots = _choose(estimates, share, threshold, draw)
        effects = looker.effects([candidates[i] for i in chosen])
        spent += len(chosen) * n_pairs
        rows = [_row(runs, level, candidates[i], estimates[i], effect, i in spots) for i, effect in zip(chosen, effects, strict=True)]
        tables += rows
        summaries.append(_summary(level, estimates, chosen, rows, threshold))
        mattering = [(abs(effect), candidates[i]) for i, effect in zip(chosen, effects, strict=True) if abs(effect) >= threshold]
        found[level] = [patch for _, patch in sorted(mattering, key=lambda pair: -pair[0])]
    info = {"model": runs.model.name, "metric": runs.metric_name, "direction": runs.direction, **how.info}
    cells = pd.DataFrame(tables, columns=_COLUMNS).astype(dict.fromkeys(["layer", "pos", "head", "neuron"], "Int64"))
    cells = cells.sort_values(["level", "effect"], key=_sizes_within_levels, ignore_index=True)
    return SearchResult(cells, pd.DataFrame(summaries), budget, spent, threshold, info, looker.checks)


class _Looker:
    """Effects of patches as fractions of the gap, estimated or exact; over several pairs, of the mean metric."""

    def __init__(self, runs: PairRuns, method: Method) -> None:
        self._runs, self._method = runs, method
        pairs = range(len(runs.pairs))
        self._base = np.array([runs.value_of(runs.base, pair) for pair in pairs])
        self._gap = float(np.mean([runs.value_of(runs.source, pair) for pair in pairs]) - self._base.mean())
        if not abs(self._gap) > runs.noise_floor:
            raise PatchError(f"Both runs give the same {runs.metric_name}, so there is nothing to search for.", "Choose other prompts.")
        self.checks: list[Check] = []

    def estimates(self, patches: Sequence[Patch]) -> np.ndarray:
        """[patches]"""
        cells = self._cells(patches, range(len(self._base)))
        return self._effects(estimate_cells(self._runs, cells, self._method)[:, 0]) if cells else np.empty(0)

    def effects(self, patches: Sequence[Patch]) -> np.ndarray:
        """[patches], computed and checked."""
        if not patches:
            return np.empty(0)
        layout = Layout.of(self._runs, "search", {"patch": list(range(len(patches)))}, {})
        result = run_through(Sweep(self._runs, layout, partial(self._cells, patches), "auto"), "search", progress=False)
        self.checks = worst_checks([self.checks, result.checks])
        return self._effects(result.values.to_numpy())

    def _cells(self, patches: Sequence[Patch], pairs: Sequence[int]) -> list[Cell]:
        """Pairs first."""
        return [Cell(tuple(patch_edits(self._runs, patch, pair)), pair) for pair in pairs for patch in patches]

    def _effects(self, values: np.ndarray) -> np.ndarray:
        return (values.reshape(len(self._base), -1) - self._base[:, None]).mean(0) / self._gap


def _candidates(runs: PairRuns, level: str, found: dict[str, list[Patch]]) -> Iterator[Patch]:
    """The parts of what mattered at the level before."""
    model = runs.model
    if level == "layers":
        for layer in range(model.n_layers):
            yield from (Patch(site, layer) for site in _halves(runs, layer))
    elif level == "positions":
        for patch in found["layers"]:
            yield from (replace(patch, pos=position) for position in _positions(runs))
    else:
        wholes, site, axis = (_ATTENTION, "z", "head") if level == "heads" else (_MLP, "mlp_post", "neuron")
        for patch in found["positions"]:
            if patch.site in wholes and patch.layer is not None and _exists(runs, site, patch.layer):
                size = axis_size(model, find_site(site), patch.layer) or 0
                yield from (replace(patch, site=site, **{axis: index}) for index in range(size))


def _halves(runs: PairRuns, layer: int) -> list[str]:
    """The sites at which a layer's attention and its MLP are patched as wholes.

    Raises:
        SiteError: it has neither.
    """
    found = [next((site for site in wholes if _exists(runs, site, layer)), None) for wholes in (_ATTENTION, _MLP)]
    if not any(found):
        raise SiteError(
            f"Layer {layer} of {runs.model.name} has neither attention nor MLP that can be patched.", "Sweep resid_pre instead."
        )
    return [site for site in found if site is not None]


def _exists(runs: PairRuns, site: str, layer: int) -> bool:
    try:
        check_site(runs.model, site, layer)
    except SiteError:
        return False
    return True


def _positions(runs: PairRuns) -> list[int]:
    """The positions of every pair at which the two runs can differ."""
    pairs = range(len(runs.pairs))
    there = set.intersection(*(set(runs.source_positions(pair)) for pair in pairs))
    return [position for position in sorted(there) if position >= min(runs.unchanged_before(pair) for pair in pairs)]


def _choose(estimates: np.ndarray, share: int, threshold: float, draw: np.random.Generator) -> tuple[list[int], set[int]]:
    """Which candidates to compute, at most `share`: the largest estimates down to the threshold, and a tenth for samples of those below it."""
    order = np.argsort(-np.abs(estimates), kind="stable")
    promising = order[np.abs(estimates[order]) >= threshold]
    below = order[len(promising) :]
    n_spots = min(len(below), max(1, share // 10), share)
    promising = promising[: max(0, share - n_spots)]
    spots = draw.choice(below, n_spots, replace=False) if n_spots > 0 else np.empty(0, int)
    return [int(i) for i in [*promising, *spots]], {int(i) for i in spots}


def _row(runs: PairRuns, level: str, patch: Patch, estimate: float, effect: float, spot: bool) -> dict[str, Any]:
    tokens = None if runs.several else getattr(runs.pair, f"{runs.base}_tokens")
    token = tokens[patch.pos] if tokens and isinstance(patch.pos, int) else None
    place = {"layer": patch.layer, "pos": patch.pos, "token": token, "head": patch.head, "neuron": patch.neuron}
    return {"level": level, "site": patch.site, **place, "estimate": float(estimate), "effect": float(effect), "spot": spot}


def _summary(level: str, estimates: np.ndarray, chosen: Sequence[int], rows: Sequence[dict[str, Any]], threshold: float) -> dict[str, Any]:
    left = np.abs(np.delete(estimates, chosen))
    stopped = "all" if not len(left) else "budget" if left.max() >= threshold else "estimates"
    errors = np.array([row["estimate"] - row["effect"] for row in rows])
    spots = np.array([row["spot"] for row in rows], bool)
    return {
        "level": level,
        "candidates": len(estimates),
        "looked_at": len(chosen),
        "mattered": sum(abs(row["effect"]) >= threshold for row in rows),
        "not_looked_at": len(left),
        "stopped_by": stopped,
        "largest_left": left.max(initial=0.0) if len(left) else np.nan,
        "error": _rms(errors),
        "largest_error": np.abs(errors).max() if len(errors) else np.nan,
        "spot_checks": int(spots.sum()),
        "spot_error": _rms(errors[spots]),
    }


def _rms(errors: np.ndarray) -> float:
    return float(np.sqrt((errors**2).mean())) if len(errors) else float("nan")


def _sizes_within_levels(column: pd.Series) -> pd.Series:
    return column.map(LEVELS.index) if column.name == "level" else -column.abs()


def _told(row: dict[str, Any]) -> str:
    """One line of the summary of a search."""
    if not row["candidates"]:
        return f"{row['level']:9} nothing to look at: no part of the level before matters"
    line = f"{row['level']:9} {row['mattered']} matter of {row['looked_at']} looked at"
    if not row["not_looked_at"]:
        return f"{line}, which are all"
    why = ", budget spent" if row["stopped_by"] == "budget" else ""
    left = f"{row['not_looked_at']} not looked at{why}, estimates up to {row['largest_left']:.3f}"
    spots = f" (off by {row['spot_error']:.3f} on {row['spot_checks']} spot checks)" if row["spot_checks"] else ""
    return f"{line}; {left}{spots}"
