"""What each result is checked by, so that a picture can be trusted."""

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Check:
    """One check: `value` has to stay within `limit`; `text` says what was tried."""

    name: str
    ok: bool
    value: float
    limit: float
    text: str


def tolerance(dtype: torch.dtype, scale: float) -> float:
    """How far two right ways to compute the same number of this size may lie apart in this dtype: 64 roundings, or 16 of those of half
    precision, which are large (on the default model about one of them is seen)."""
    roundings = 64 if torch.finfo(dtype).bits >= 32 else 16
    return roundings * rounding(dtype, scale)


def rounding(dtype: torch.dtype, scale: float) -> float:
    """One rounding of a number of this size."""
    return torch.finfo(dtype).eps * max(1.0, scale)


def _apart(one: float, other: float) -> float:
    """How far two numbers lie apart: not at all where both are no number, or the same infinity."""
    return 0.0 if one == other or (math.isnan(one) and math.isnan(other)) else abs(one - other)


def identity_check(patched: float, base: float, limit: float) -> Check:
    """Patching a run with its own activations has to change nothing."""
    difference = _apart(patched, base)
    return Check("identity patch", difference <= limit, difference, limit, "A run patched with its own activations is unchanged.")


def full_patch_check(patched: float, source: float, limit: float) -> Check:
    """Replacing the whole residual stream of one layer has to give the other run."""
    difference = _apart(patched, source)
    return Check(
        "full patch",
        difference <= limit,
        difference,
        limit,
        "A run whose whole residual stream is replaced by the other's becomes the other run.",
    )


def parity_check(ours: Tensor, theirs: Tensor, limit: float) -> Check:
    """The recorded run's logits have to be the model's own."""
    difference = float((ours - theirs).abs().max())
    return Check("logits", difference <= limit, difference, limit, "The logits are those of model(**inputs).")


def reached_check(missed: set[tuple[str, int]]) -> Check:
    """Each patch has to have been reached by the model: one that silently does nothing is worse than none."""
    listed = ", ".join(f"{site} of layer {layer}" for site, layer in sorted(missed))
    text = f"The model never passed at {listed}, so the patch there did nothing." if missed else "Every patch was reached by the model."
    return Check("hooks fired", not missed, float(len(missed)), 0.0, text)


def changed_check() -> Check:
    """A check that fails, of what was measured before the model changed."""
    return Check("same model", False, math.nan, math.nan, "The model is as it was when this was measured; measure it again.")


def worst_checks(lists: Iterable[Sequence[Check]]) -> list[Check]:
    """Of the checks of several results the worst of each name."""
    found: dict[str, Check] = {}
    for check in (check for checks in lists for check in checks):
        other = found.get(check.name)
        if other is None or (other.ok, -other.value) > (check.ok, -check.value):
            found[check.name] = check
    return list(found.values())


def describe_failed(checks: Iterable[Check]) -> str:
    """The checks that failed, as "identity patch (0.31, at most 5e-05 is right), ..."."""
    return ", ".join(f"{check.name} ({check.value:.2g}, at most {check.limit:.2g} is right)" for check in checks if not check.ok)


def warn_of_failed(checks: Sequence[Check]) -> None:
    """Warn where a check failed: such numbers can't be relied on."""
    failed = describe_failed(checks)
    if failed:
        warnings.warn(f"These numbers can't be relied on: {failed}. See result.checks.", stacklevel=2)
