"""The next-token distributions of a ladder, computed in one packed pass where that proves itself on this model, and by plain forwards where not."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from patchwidget.engine.edits import Cell
from patchwidget.engine.executors.hooked import HookedExecutor
from patchwidget.engine.executors.packed import PackedExecutor
from patchwidget.engine.measure import Measure
from patchwidget.errors import PatchError
from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.pair import PromptPair
from patchwidget.runs.checks import Check, reached_check, tolerance
from patchwidget.runs.pair_runs import PairRuns


@dataclass(frozen=True, eq=False)
class Rungs:
    """What was computed, and how.

    Attributes:
        log_probs: float32 [1 + cells, vocabulary], on the CPU: without steering, then each cell's.
        executor: "packed" or "hooked".
        checks: what they were checked by.
        runs: the recorded prompt.
    """

    log_probs: Tensor
    executor: str
    checks: list[Check]
    runs: PairRuns


def climb(model: WrappedModel, prompt: list[int], cells: Sequence[Cell], executor: str, runs: PairRuns | None = None) -> Rungs:
    """The next-token distribution after a prompt in each cell.

    Args:
        executor: "auto" falls back from "packed" to "hooked" where a check fails.
        runs: the recorded prompt, if it is there; it is recorded anew where the model is no more what it was.

    Warns where a check fails.
    """
    if executor not in ("auto", "packed", "hooked"):
        raise PatchError(f"executor={executor!r} is not known.", "Use 'auto', 'packed' or 'hooked'.")
    new = PairRuns(model, PromptPair(prompt), "kl") if runs is None else runs
    if executor == "hooked" or (executor == "auto" and new.why_not_packed()):
        return _by_forwards(new, cells)
    new.choose_executor("packed")  # tells why it can't be
    packed = _packed(new, cells)
    failed = [check for check in packed.checks if not check.ok]
    if not failed:
        return packed
    if runs is not None:
        return climb(model, prompt, cells, executor)
    told = "; ".join(f"{check.text} It is off by {check.value:.2g}, and {check.limit:.2g} is allowed." for check in failed)
    then = "Plain forwards were taken instead." if executor == "auto" else "Use executor='hooked'."
    warnings.warn(f"The packed executor is not right for {model.name}. What fails: {told} {then}", stacklevel=4)
    return packed if executor == "packed" else _by_forwards(new, cells)


def _packed(runs: PairRuns, cells: Sequence[Cell]) -> Rungs:
    """One packed pass; the prompt as it is and one cell are computed by a plain forward too."""
    base = runs.recording(runs.base)
    engine = runs.make_executor("packed", measures=[_measure(runs)])
    found = torch.cat([base.logits[-1:].float().log_softmax(-1).cpu(), _measured(engine, cells)])
    chosen = [0, *_middle(cells)]
    plain = _by_forwards(runs, [cells[number - 1] for number in chosen[1:]]).log_probs
    off = (found[chosen] - plain).abs().where(found[chosen].isfinite() | plain.isfinite(), 0).amax(-1).tolist()
    limit = tolerance(runs.model.dtype, float(base.logits.abs().max()))
    names = ["unsteered", "steered"]
    texts = ["Strength 0 is the model's own distribution.", "A steered rung is what a plain steered forward gives."]
    checks = [Check(name, value <= limit, value, limit, text) for name, value, text in zip(names, off, texts, strict=False)]
    return Rungs(found, "packed", [*checks, reached_check(engine.missed)], runs)


def _by_forwards(runs: PairRuns, cells: Sequence[Cell]) -> Rungs:
    """One whole forward for each, in batches."""
    engine = runs.make_executor("hooked", measures=[_measure(runs)])
    return Rungs(_measured(engine, [Cell(()), *cells]), "hooked", [reached_check(engine.missed)], runs)


def _measure(runs: PairRuns) -> Measure:
    return Measure(lambda logits: logits[:, -1].log_softmax(-1), None, (runs.pair.length - 1,))


def _measured(engine: PackedExecutor | HookedExecutor, cells: Sequence[Cell]) -> Tensor:
    """Float32 [cells, vocabulary], on the CPU."""
    found: Tensor | None = None
    for batch in engine.run(cells):
        found = torch.empty(len(cells), batch.values.shape[1]) if found is None else found
        found[batch.cells] = batch.values
    return torch.empty(0) if found is None else found


def _middle(cells: Sequence[Cell]) -> list[int]:
    """Which row of the ladder, counted from 1, is compared: the middle one of those that change something; none if there is none."""
    changing = [number for number, cell in enumerate(cells, 1) if cell.edits]
    return changing[len(changing) // 2 :][:1]
