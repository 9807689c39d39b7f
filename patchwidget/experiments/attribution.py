"""Attribution: what each patch would do, estimated from gradients for all cells at once.

Let `a` be the base run's activation at some place (the corrupted run's when denoising, the clean run's when noising), `b` the one that would be
patched in and `m` the metric. The estimate of a cell's patched metric is m(base) + I, and I is summed over all that the cell patches:

- "atp", attribution patching (Nanda 2023; Kramar et al. 2024, arXiv:2403.00745): I = (b - a) . dm/da, with the gradient in the base run. It is the
  first term of the Taylor series of the exact effect, has its sign, and is exact where the model is linear. In the literature Kramar et al. write
  it noising, TransformerLens denoising; here it is whichever the experiment is.
- "ig", integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365; of activations Hanna et al. 2024, arXiv:2403.17806): the same with the
  mean of the gradients in `steps` runs that begin with x_base + alpha (x_source - x_base), where x is what enters the first block and
  alpha = (i + 1/2) / steps. For x itself the sum over all positions goes to m(source) - m(base) as steps grow. Where a model can't be run
  block by block, x is the token embeddings (or the network's input). The gradients are mostly those of other runs than the one that is
  patched: it helps where the base run's gradient is misleading, and for the many small cells "atp" is nearer (benchmarks/attribution.py).
- "atp*", attribution patching with two repairs (Kramar et al. 2024):
  - QK fix (section 3.1), for q, k and k_per_head: the attention is computed anew with the patched queries, or with the patched keys of the cell's
    positions, and I = (pattern' - pattern) . dm/dpattern. It repairs saturated attention, whose gradient is nearly 0.
  - GradDrop (section 3.2): the size of I is the mean of |I_l| over the layers l, where I_l has a gradient that does not go through what block l
    adds to the residual stream. It repairs effects that cancel out, a direct one and one through later layers. What is inside of block l has no
    I_l, so its mean is over the n_layers - 1 others. The sign is that of the sum of the I_l.

A cell of several layers (a window) gets the sum of its layers' estimates. The exact cell replaces the later layers too, so that what the earlier
ones do through them is cut off; the estimate still counts it.
"""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from patchwidget.engine.edits import Cell
from patchwidget.engine.gradients.backward import (
    Seed,
    SiteGradients,
    gradients_by_block,
    gradients_of_network,
    metric_seeds,
    network_root,
    rerun,
)
from patchwidget.engine.gradients.capture import Place
from patchwidget.engine.gradients.cell_estimates import CellEstimates
from patchwidget.engine.recording import Recording
from patchwidget.errors import MetricError, ModelError, PatchError
from patchwidget.runs.pair_runs import PairRuns, goes_by_block

METHODS = ("atp", "atp*", "ig")


@dataclass(frozen=True)
class Method:
    """How to estimate; see the module's text.

    Attributes:
        name: "atp", "atp*" or "ig".
        steps: of "ig"'s interpolation.
        qk_fix, grad_drop: the two repairs of "atp*".
    """

    name: str = "atp"
    steps: int = 1
    qk_fix: bool = False
    grad_drop: bool = False

    @classmethod
    def of(cls, name: str, steps: int | None = None, qk_fix: bool | None = None, grad_drop: bool | None = None) -> "Method":
        """The method that was asked for; PatchError where the options do not go together."""
        if name not in METHODS:
            raise PatchError(f"method={name!r} is not known.", f"Use one of {', '.join(METHODS)}.")
        if name != "atp*" and not (qk_fix is None and grad_drop is None):
            raise PatchError(f"qk_fix and grad_drop belong to 'atp*', and the method is {name!r}.", "Use method='atp*', or leave them out.")
        if name != "ig" and steps is not None:
            raise PatchError(f"steps belong to 'ig', and the method is {name!r}.", "Use method='ig', or leave them out.")
        if steps is not None and steps < 1:
            raise PatchError(f"steps={steps} is too few.", "Give a whole number from 1 on.")
        if name == "ig":
            return cls(name, 10 if steps is None else steps)
        return cls(name, 1, name == "atp*" and qk_fix is not False, name == "atp*" and grad_drop is not False)

    @property
    def info(self) -> dict[str, Any]:
        """What a result tells of it."""
        own = {"atp*": {"qk_fix": self.qk_fix, "grad_drop": self.grad_drop}, "ig": {"steps": self.steps}}
        return {"method": self.name, **own.get(self.name, {})}


def estimate_cells(runs: PairRuns, cells: Sequence[Cell], method: Method) -> np.ndarray:
    """The metrics of cells of a sweep, float32 [cells, metrics]; NaN for a metric without a gradient, beside the first.

    Args:
        cells: `base` is the number of their pair.

    Raises:
        MetricError: the first metric has no gradient.
        PatchError: the method can't be used on these cells or with this model.
    """
    values = np.empty((len(cells), len(runs.metrics)), np.float32)
    for pair in sorted({cell.base for cell in cells}):
        numbers = [number for number, cell in enumerate(cells) if cell.base == pair]
        values[numbers] = _estimate_pair(runs, pair, [cells[number] for number in numbers], method)
    return values


def _estimate_pair(runs: PairRuns, pair: int, cells: list[Cell], method: Method) -> np.ndarray:
    """The same for cells of one pair."""
    base = np.array([runs.value_of(runs.base, pair, metric) for metric in range(len(runs.metrics))], np.float32)

    def own(site: str, layer: int) -> Tensor:
        raw = site.removesuffix("_per_head")
        return runs.recording(runs.base, raw, pair).at(raw, layer)

    drop = method.grad_drop and runs.model.has_blocks and runs.model.n_layers > 1
    estimates = CellEstimates(runs.model, cells, own, qk_fix=method.qk_fix, drop=drop)
    if not estimates.places:
        return np.repeat(base[None], len(cells), 0)
    alive = np.zeros(len(base), bool)
    for seeds, gradients in _passes(runs, pair, estimates.places, method, drop=drop):
        alive |= [seed.scale != 0 for seed in seeds]
        if not alive[0]:
            raise MetricError(
                f"The metric {runs.metric_name!r} has no gradient: no small change of a logit moves it, so patches can't be estimated.",
                "Use one that changes smoothly, such as 'logit_diff' or 'log_prob', or exact cells: exp.sweep.",
            )
        for found in gradients:
            estimates.add(found, 1 / method.steps)
    change = estimates.totals().T.numpy()
    if not np.isfinite(change).all():
        raise ModelError(
            f"Some gradients are not finite: a number grew too large for {runs.model.dtype}.", "Load the model in float32 or bfloat16."
        )
    return np.where(alive, base + change, np.nan).astype(np.float32)


def _passes(
    runs: PairRuns, pair: int, places: Sequence[Place], method: Method, *, drop: bool
) -> Generator[tuple[list[Seed], Iterable[SiteGradients]], None, None]:
    """The metrics' seeds and the gradients at all places, for each run in which gradients are taken."""
    plain = method.name != "ig" and not drop
    if plain and (kept := runs.gradients.find(pair, places)):
        yield kept
        return
    model, measure, base = runs.model, runs.measures[pair], runs.recording(runs.base, pair=pair)
    by_block = goes_by_block(runs, pair) and all(layer >= 0 for _, layer in places)
    if drop and not by_block:
        raise PatchError(f"GradDrop can't be used here: {model.name} can't be run block by block.", "Use grad_drop=False, or method='atp'.")
    sites: dict[str, list[int]] = {}
    for site, layer in places:
        sites.setdefault(site, []).append(layer)
    shares = [(i + 0.5) / method.steps for i in range(method.steps)] if method.name == "ig" else [None]
    for share in shares:
        if by_block:
            run = base if share is None else _between(runs, pair, share)
            seeds = metric_seeds(model, run, measure)
            found = gradients_by_block(model, run, seeds, sites, drop=drop)
            yield seeds, runs.gradients.keep(pair, seeds, found) if plain else found
        else:
            root = None if share is None else _root_between(runs, pair, share)
            gradients, seeds = gradients_of_network(model, base.tokens, measure, places, root)
            yield seeds, gradients


def _between(runs: PairRuns, pair: int, share: float) -> Recording:
    """The run that begins between the base run (0) and the source run (1)."""
    base, source = (runs.recording(run, pair=pair) for run in (runs.base, runs.source))
    return rerun(runs.model, base, 0, torch.lerp(base.resid[0], _of_equal_length(source.resid[0], base.resid[0]), share))


def _root_between(runs: PairRuns, pair: int, share: float) -> Tensor:
    base, source = (network_root(runs.model, runs.recording(run, pair=pair).tokens) for run in (runs.base, runs.source))
    return torch.lerp(base, _of_equal_length(source, base), share)


def _of_equal_length(source: Tensor, base: Tensor) -> Tensor:
    if source.shape != base.shape:
        raise PatchError(
            "Integrated gradients go from one prompt to the other position by position, and these are of unequal length.",
            "Use method='atp', or prompts of the same length.",
        )
    return source
