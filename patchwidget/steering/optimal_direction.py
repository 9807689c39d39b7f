"""The direction in the residual stream that moves the metric most, found by following the gradient on the sphere of one length."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from patchwidget.engine.gradients.backward import gradients_by_block, metric_seeds, rerun
from patchwidget.engine.recording import Recording
from patchwidget.engine.sites import check_site, find_layer
from patchwidget.errors import MetricError, ModelError, PatchError, SiteError
from patchwidget.given import Index, checked_index, plain
from patchwidget.runs.pair_runs import PairRuns, goes_by_block

from .methods import residual_norms
from .provenance import provenance_of
from .vector import SteeringVector

_SMALLEST_RATE = 1e-3


@dataclass(frozen=True, eq=False)
class _Look:
    """The metric, towards the source run, with some vector added, and its gradient with respect to that vector."""

    score: float
    metric: float
    gradient: Tensor


def optimal_direction(runs: PairRuns, layer: Index, pos: Index, *, steps: int = 30, norm: float | None = None) -> SteeringVector:
    """The vector of a given length that, added to the residual stream at one place, moves the metric most towards the source run.

    Found by gradient ascent on the sphere of that length: from the gradient of the base run on, each step turns the vector towards the gradient
    where it is, and a step that makes it worse is tried again half as long. It is a local optimum. Over several pairs, of the mean metric.

    Args:
        layer, pos: where, at resid_pre.
        steps: at most so many.
        norm: L2 length; by default how far the two runs lie apart there, so that it compares with what a patch does.

    Returns:
        A SteeringVector; its `provenance["curve"]` has the metric before the first step and after each.

    Raises:
        SiteError: no such layer or position.
        MetricError: nothing that is added there moves the metric.
        PatchError: no norm was given and both runs are the same there.
        ModelError: the model can't be run block by block.
    """
    runs.look_again(whole=True)
    layer = find_layer(runs.model, layer)
    check_site(runs.model, "resid_pre", layer)
    pos = _position(runs, plain(pos))
    if steps < 1:
        raise PatchError(f"steps={steps} is too few.", "Give a whole number from 1 on.")
    if not all(goes_by_block(runs, pair) for pair in range(len(runs.pairs))):
        raise ModelError(f"{runs.model.name} can't be run block by block, which the search for a direction needs.", "Choose another model.")
    length = _length(runs, layer, pos, norm)
    start = _look(runs, layer, pos, torch.zeros(runs.model.d_model))
    if not start.gradient.any():
        raise MetricError(
            f"The metric {runs.metric_name!r} has no gradient at layer {layer}, position {pos}: nothing that is added there moves it.",
            "Choose a position that the measured one can see, and a metric that changes smoothly.",
        )
    best, vector, rate = start, torch.zeros_like(start.gradient), 1.0
    curve = [start.metric]
    for _ in range(steps):
        trial = length * _unit(_unit(vector) + rate * _unit(best.gradient))
        look = _look(runs, layer, pos, trial)
        if look.score > best.score or not vector.any():
            best, vector, rate = look, trial, min(1.0, 1.5 * rate)
        else:
            rate /= 2
        curve.append(best.metric)
        if rate < _SMALLEST_RATE:
            break
    recordings = [runs.recording(runs.base, pair=pair) for pair in range(len(runs.pairs))]
    provenance = {
        **provenance_of(runs.model),
        "metric": runs.metric_name,
        "direction": runs.direction,
        "pos": pos,
        "norm": length,
        "steps": len(curve) - 1,
        "curve": curve,
        **{run: [_plain(getattr(pair, run)) for pair in runs.prompts] for run in ("clean", "corrupted")},
    }
    norms = residual_norms(runs.model, recordings, "resid_pre")
    return SteeringVector({layer: vector}, "resid_pre", (pos, pos + 1), "optimal", norms, provenance)


def _position(runs: PairRuns, pos: int) -> int:
    """The position, from 0 on, in every pair."""
    lengths = [runs.length(pair) for pair in range(len(runs.pairs))]
    found = checked_index(pos, min(lengths), "Position", "the prompts have positions")
    if pos < 0 and min(lengths) < max(lengths):
        raise SiteError(
            f"Position {pos} is another one in each pair, for they have {min(lengths)} to {max(lengths)} tokens.", "Count from the start."
        )
    return found


def _length(runs: PairRuns, layer: int, pos: int, norm: float | None) -> float:
    if norm is not None:
        if not norm > 0:
            raise PatchError(f"norm={norm} leaves no direction.", "Give a number above 0.")
        return float(norm)
    there = [runs.source_positions(pair).get(pos) for pair in range(len(runs.pairs))]
    steps = [
        runs.recording(runs.source, pair=pair).resid[layer][at].float() - runs.recording(runs.base, pair=pair).resid[layer][pos].float()
        for pair, at in enumerate(there)
        if at is not None
    ]
    length = float(torch.stack([step.norm() for step in steps]).mean()) if steps else 0.0
    if length == 0:
        raise PatchError(f"Both runs have the same activation at layer {layer}, position {pos}, so they give no norm.", "Give norm=.")
    return length


def _look(runs: PairRuns, layer: int, pos: int, vector: Tensor) -> _Look:
    """Add the vector and look at the metric and its gradient; means over pairs."""
    looks = [_look_at_pair(runs, pair, layer, pos, vector) for pair in range(len(runs.pairs))]
    metric, gradient = sum(value for value, _ in looks) / len(looks), torch.stack([gradient for _, gradient in looks]).mean(0)
    clean, corrupted = (sum(runs.value_of(run, pair) for pair in range(len(runs.pairs))) for run in (runs.source, runs.base))
    sign = -1.0 if clean < corrupted else 1.0
    return _Look(sign * metric, metric, sign * gradient)


def _look_at_pair(runs: PairRuns, pair: int, layer: int, pos: int, vector: Tensor) -> tuple[float, Tensor]:
    base = runs.recording(runs.base, pair=pair)
    hidden = base.resid[layer].clone()
    hidden[pos] += vector.to(hidden)
    run: Recording = rerun(runs.model, base, layer, hidden)
    measure = runs.measures[pair]
    first = replace(measure, of=lambda logits: measure.of(logits)[:, :1])
    seeds = metric_seeds(runs.model, run, first)
    (found,) = gradients_by_block(runs.model, run, seeds, {"resid_pre": [layer]})
    return seeds[0].value, found.gradient[0, 0, pos].cpu()


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm().clamp_min(torch.finfo(vector.dtype).tiny)


def _plain(prompt: object) -> object:
    return prompt if isinstance(prompt, str | None) else [int(token) for token in prompt]  # type: ignore[union-attr]
