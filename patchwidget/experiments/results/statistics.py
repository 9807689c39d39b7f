"""What holds over many pairs, and what may be chance: intervals, paired permutation tests, and correction for the number of cells."""

import math
import re
import warnings

import numpy as np
import xarray as xr
from scipy import stats
from statsmodels.stats.multitest import multipletests

from patchwidget.errors import PatchError

from .data import ResultData

METHODS = {
    "fdr_bh": "Benjamini-Hochberg: the expected share of false ones among the cells called significant is at most alpha",
    "fdr_by": "Benjamini-Yekutieli: likewise, under any dependence between cells",
    "holm": "Holm: the chance of even one false one is at most alpha",
    "bonferroni": "Bonferroni: likewise, and simpler",
}
_SAME = ("model", "site", "metric", "direction", "positions")  # of a result and its placebo
_WORK = 5e10  # multiplications that a permutation test may take at most
_BATCH = 4_000_000  # numbers in memory at once


def changes(result: ResultData, placebo: ResultData | None = None) -> xr.DataArray:
    """By pair, how far each patch changed the metric of the run that was patched, in units of the metric: [pair, ...].

    Args:
        placebo: another result of the same cells, whose changes are taken off: what the patch does beyond a disturbance of the same size.

    Changes within the noise of the dtype count as none.

    Raises:
        PatchError: the placebo is of other cells, another metric, direction, site, model or other pairs.
    """
    values = result.values if "pair" in result.values.dims else result.values.expand_dims("pair")
    base = result.clean if result.info.get("direction") == "noise" else result.corrupted
    found = values - base
    found = xr.where(abs(found) <= result.noise, 0.0, found)
    if placebo is None:
        return found.transpose("pair", ...)
    _check_placebo(result, placebo)
    return (found - changes(placebo)).transpose("pair", ...)


def statistics(
    result: ResultData,
    *,
    confidence: float = 0.95,
    alternative: str = "two-sided",
    method: str = "fdr_bh",
    placebo: ResultData | None = None,
    resamples: int | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Each cell's change of the metric over the pairs, and how sure it is.

    Args:
        confidence: of the bootstrap interval (BCa, Efron 1987; 2000 resamples by scipy).
        alternative: what the permutation test looks for: "two-sided", "greater" or "less".
        method: the correction of `p_corrected` for the number of cells; see `METHODS`.
        placebo: see `changes`.
        resamples: sign flips in the permutation test; every one there is if they are no more than this. By default as many as the correction
            over all cells can need, up to 199,999.
        seed: of both.

    Returns:
        A Dataset over the result's axes without `pair`: n (pairs that have the cell), mean, sem (standard error), low and high (the interval),
        all in units of the metric; recovery (the mean change by the mean gap of these pairs); p (paired sign-flip permutation) and p_corrected.
        With one pair all but n, mean and recovery are NaN, and `attrs["reason"]` says so.

    Raises:
        PatchError: an option is not known or not possible, or the placebo does not belong to the result.
    """
    _check(method, alternative, resamples)
    if not 0 < confidence < 1:
        raise PatchError(f"confidence={confidence} is not possible.", "Give a number between 0 and 1, such as 0.95.")
    change = changes(result, placebo)
    shape, dims = change.shape[1:], change.dims[1:]
    flat = change.to_numpy().reshape(len(change), -1).astype(np.float64)
    n = np.isfinite(flat).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(n > 0, np.nansum(flat, 0) / n, np.nan)
        sem = np.where(n > 1, np.sqrt(np.nansum((flat - mean) ** 2, 0) / (n - 1) / n), np.nan)
    low, high = bootstrap_interval(flat, confidence, seed)
    p, exact = sign_flip_p(flat, resamples, alternative, seed)
    columns = {
        "n": n,
        "mean": mean,
        "sem": sem,
        "low": low,
        "high": high,
        "recovery": _recovery(result, mean, flat),
        "p": p,
        "p_corrected": corrected(p, method),
    }
    attributes = {"pairs": len(change), "confidence": confidence, "method": method, "alternative": alternative, "every_flip": exact}
    if reason := why_no_p(result):
        attributes["reason"] = reason
    coords = {name: change.coords[name] for name in dims if name in change.coords}
    return xr.Dataset({name: (dims, column.reshape(shape)) for name, column in columns.items()}, coords, attributes)


def significant(
    result: ResultData,
    alpha: float = 0.05,
    method: str = "fdr_bh",
    *,
    alternative: str = "two-sided",
    placebo: ResultData | None = None,
    resamples: int | None = None,
    seed: int = 0,
) -> xr.DataArray:
    """Which cells change the metric beyond chance, corrected for the number of cells. Arguments as in `statistics`.

    Returns:
        bool over the result's axes without `pair`; False where a cell is not measurable. Its `attrs` tell alpha and method.

    Raises:
        PatchError: there is one pair only, so that there is no p-value; or an option is not possible, as in `statistics`.

    Warns where there are so few pairs that no cell by itself could be found.
    """
    _check(method, alternative, resamples)
    if not 0 < alpha < 1:
        raise PatchError(f"alpha={alpha} is no level of significance.", "Give a number between 0 and 1, such as 0.05.")
    if reason := why_no_p(result):
        raise PatchError(reason, "Give Experiment a list of pairs or a pw.PromptSet.")
    change = changes(result, placebo)
    flat = change.to_numpy().reshape(len(change), -1).astype(np.float64)
    p, _ = sign_flip_p(flat, resamples, alternative, seed)
    found = (corrected(p, method) <= alpha).reshape(change.shape[1:])
    if not found.any():
        _warn_if_hopeless(flat, int(np.isfinite(p).sum()), alpha, method, alternative, resamples)
    return change.isel(pair=0, drop=True).copy(data=found).rename("significant").assign_attrs(alpha=alpha, method=method)


def why_no_p(result: ResultData) -> str | None:
    """Why there can be no p-value, or None."""
    pairs = result.values.sizes.get("pair", 1)
    return None if pairs > 1 else "There is one pair only: how the effect varies between prompts is not known, so there is no p-value."


def sign_flip_p(
    changes: np.ndarray, resamples: int | None = None, alternative: str = "two-sided", seed: int = 0
) -> tuple[np.ndarray, bool]:
    """P-values of the mean of paired differences: under the null each pair's change is as likely the other way round.

    The same as `scipy.stats.permutation_test(permutation_type="samples")` for one sample, for many cells from the same flips.

    Args:
        changes: [pairs, cells]; NaN where a pair lacks the cell.

    Returns:
        p [cells], NaN where fewer than two pairs have the cell; and whether every flip was tried. Of a random choice of m flips with b as
        extreme as what was seen, p = (b + 1) / (m + 1) (Phipson and Smyth 2010).
    """
    known = np.isfinite(changes)
    x = np.where(known, changes, 0.0)
    pairs, cells = x.shape
    total, exact = _flips(pairs, cells, resamples)
    sign = {"two-sided": np.abs, "greater": np.asarray, "less": np.negative}[alternative]
    observed = sign(x.sum(0)) - 1e-9 * np.abs(x).sum(0)  # rounding must not make an equal sum less extreme
    random, count = np.random.default_rng(seed), np.zeros(cells, np.int64)
    step = max(1, _BATCH // max(cells, pairs, 1))
    for first in range(0, total, step):
        size = min(step, total - first)
        bits = (np.arange(first, first + size)[:, None] >> np.arange(pairs)) & 1 if exact else random.integers(0, 2, (size, pairs))
        count += (sign((1.0 - 2.0 * bits) @ x) >= observed).sum(0)
    p = count / total if exact else (count + 1) / (total + 1)
    return np.where(known.sum(0) > 1, p, np.nan), exact


def _flips(pairs: int, cells: int, resamples: int | None) -> tuple[int, bool]:
    """How many sign flips are tried, and whether these are all there are."""
    if resamples is None:
        wanted = max(9_999, min(int(np.clip(40 * cells, 9_999, 199_999)), int(_WORK / max(1, pairs * cells))))
        exact = 2**pairs <= max(wanted, 4096)
    else:
        wanted, exact = resamples, 2**pairs <= resamples
    return (2**pairs if exact else wanted), exact


def bootstrap_interval(
    changes: np.ndarray, confidence: float = 0.95, seed: int = 0, resamples: int = 2000
) -> tuple[np.ndarray, np.ndarray]:
    """BCa intervals of the mean by `scipy.stats.bootstrap`; [pairs, cells] -> low and high [cells].

    NaN where fewer than two pairs have the cell; the mean itself where all pairs have the same change.
    """
    low, high = (np.full(changes.shape[1], np.nan) for _ in range(2))
    known = np.isfinite(changes)
    masks, group = np.unique(known, axis=1, return_inverse=True)
    for number, mask in enumerate(masks.T):
        if mask.sum() < 2:
            continue
        cells = np.flatnonzero(group == number)
        sample = changes[np.ix_(mask, cells)]
        same = np.ptp(sample, axis=0) <= 1e-12 * np.abs(sample).max(0, initial=0)
        low[cells[same]] = high[cells[same]] = sample[:, same].mean(0)
        for some in np.array_split(np.flatnonzero(~same), max(1, math.ceil((~same).sum() * len(sample) ** 2 / _BATCH))):
            if len(some):
                low[cells[some]], high[cells[some]] = _interval(sample[:, some], confidence, seed, resamples)
    return low, high


def corrected(p: np.ndarray, method: str) -> np.ndarray:
    """P-values corrected for their number by statsmodels; NaN, which were not tested, stay out of it."""
    found, tested = np.full(p.shape, np.nan), np.isfinite(p)
    if tested.any():
        found[tested] = multipletests(p[tested], method=method)[1]
    return found


def _interval(sample: np.ndarray, confidence: float, seed: int, resamples: int) -> tuple[np.ndarray, np.ndarray]:
    batch = max(1, _BATCH // sample.size)
    options = {"confidence_level": confidence, "n_resamples": resamples, "batch": batch, "rng": np.random.default_rng(seed)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap((sample,), np.mean, axis=0, vectorized=True, **options).confidence_interval
    return found.low, found.high


def _recovery(result: ResultData, mean: np.ndarray, flat: np.ndarray) -> np.ndarray:
    gap = np.broadcast_to(np.asarray(result.clean - result.corrupted, np.float64).reshape(-1, 1), flat.shape)
    mean_gap = np.where(np.isfinite(flat), gap, 0).sum(0) / np.maximum(np.isfinite(flat).sum(0), 1)
    signed = -mean if result.info.get("direction") == "noise" else mean
    return np.where(np.abs(mean_gap) > result.noise, signed / np.where(mean_gap == 0, np.nan, mean_gap), np.nan)


def _check(method: str, alternative: str, resamples: int | None) -> None:
    if method not in METHODS:
        raise PatchError(f"There is no correction {method!r}.", f"Use one of {', '.join(METHODS)}.")
    if alternative not in ("two-sided", "greater", "less"):
        raise PatchError(f"alternative={alternative!r} is not known.", "Use 'two-sided', 'greater' or 'less'.")
    if resamples is not None and resamples < 1:
        raise PatchError(f"resamples={resamples} is too few.", "Give a whole number from 1 on, or leave it out for as many as are needed.")


def _check_placebo(result: ResultData, placebo: ResultData) -> None:
    """A control has to be the same sweep, but for its source."""
    ours, theirs = result.values, placebo.values
    if theirs.dims != ours.dims or theirs.shape != ours.shape:
        different = f"The placebo has axes {dict(theirs.sizes)}, and the result {dict(ours.sizes)}."
    elif others := [dim for dim in ours.dims if not np.array_equal(ours[dim], theirs[dim])]:
        different = f"The placebo is of other cells: its labels differ along {', '.join(map(str, others))}."
    elif told := [key for key in _SAME if result.info.get(key) != placebo.info.get(key)]:
        shown = "; ".join(f"{key} {placebo.info.get(key)!r} and not {result.info.get(key)!r}" for key in told)
        different = f"The placebo is another experiment: it has {shown}."
    elif _window(placebo) != _window(result):
        different = f"The placebo patches {_window(placebo)} layers at once, and the result {_window(result)}."
    elif any(result.info.get(key) != placebo.info.get(key) for key in ("tokens", "tokens_by_pair")) or not _same_runs(result, placebo):
        different = "The placebo is of other prompt pairs."
    else:
        return
    raise PatchError(different, "Sweep the same cells of the same experiment with source=pw.Placebo().")


def _same_runs(one: ResultData, other: ResultData) -> bool:
    """Whether the runs without a patch have the same metric."""
    noise = max(one.noise, other.noise)
    return all(np.allclose(getattr(one, run), getattr(other, run), rtol=0, atol=noise, equal_nan=True) for run in ("clean", "corrupted"))


def _window(result: ResultData) -> int:
    """How many layers are patched at once, as the call has it that the result came from."""
    given = re.search(r"\bwindow=(\d+)", result.code().rpartition("\nresult = ")[2])
    return int(given[1]) if given else 1


def _warn_if_hopeless(flat: np.ndarray, cells: int, alpha: float, method: str, alternative: str, resamples: int | None) -> None:
    """With few pairs even the most extreme outcome is not rare enough, once it is corrected for the number of cells."""
    pairs = len(flat)
    total, exact = _flips(pairs, flat.shape[1], resamples)
    least = ((2 if alternative == "two-sided" else 1) if exact else 1) / (total if exact else total + 1)
    alone = least * cells * (sum(1 / i for i in range(1, cells + 1)) if method == "fdr_by" else 1)
    if alone <= alpha:
        return
    few = math.ceil(alone / alpha - 1e-9) if method.startswith("fdr") else math.inf
    then = f"it takes {few} such cells to reach {alpha}" if few <= cells else f"no cell can be significant at {alpha}"
    warnings.warn(
        f"{pairs} pairs give p-values of {least:.2g} at the least; corrected for {cells} cells ({method}) one such cell has {min(1, alone):.2g}, "
        f"so {then}. Take more {'pairs' if exact else 'resamples'}.",
        stacklevel=4,
    )
