"""What each result is checked by, so that a picture can be trusted."""

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


def identity_check(patched: float, base: float, limit: float) -> Check:
    """Patching a run with its own activations has to change nothing."""
    difference = abs(patched - base)
    return Check("identity patch", difference <= limit, difference, limit, "A run patched with its own activations is unchanged.")


def full_patch_check(patched: float, source: float, limit: float) -> Check:
    """Replacing the whole residual stream of one layer has to give the other run."""
    difference = abs(patched - source)
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
