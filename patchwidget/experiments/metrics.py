"""Metrics: one number per run, from its logits in float32."""

from collections.abc import Callable

import torch
from torch import Tensor

from patchwidget.engine.measure import Measure
from patchwidget.errors import MetricError

from .prompts import TokenPair

Metric = str | Callable[[Tensor], Tensor]


def metric_name(metric: Metric) -> str:
    """The metric's name: its own if it is one of ours, the function's otherwise."""
    return metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)


def make_measure(metric: Metric, pair: TokenPair, position: int) -> Measure:
    """The metric as the engine measures it, at one position of this pair.

    - `"logit_diff"`: mean logit of the answers minus mean logit of the distractors (Wang et al. 2022; Zhang and Nanda 2023 recommend it
      over probability, which hides negative components).
    - a function of logits [cells, vocabulary] (float32) that returns [cells].

    Raises:
        MetricError: no such metric, or the pair has no answer or distractor for it.
    """
    if callable(metric):
        return Measure(lambda logits: _checked(metric, logits), None, position)
    if metric != "logit_diff":
        raise MetricError(
            f"There is no metric {metric!r}.", "Use 'logit_diff', or a function of logits [cells, vocabulary] that returns [cells]."
        )
    for tokens, name in [(pair.answers, "answer"), (pair.distractors, "distractor")]:
        if not tokens:
            raise MetricError(
                f"The metric logit_diff needs an {name}, and the pair has none.".replace("an d", "a d"), f"Give {name}= to PromptPair."
            )
    n = len(pair.answers)
    return Measure(lambda logits: logits[:, :n].mean(1) - logits[:, n:].mean(1), torch.tensor(pair.answers + pair.distractors), position)


def _checked(metric: Callable[[Tensor], Tensor], logits: Tensor) -> Tensor:
    values = metric(logits)
    if not isinstance(values, Tensor):
        raise MetricError(
            f"The metric {metric_name(metric)!r} returned a {type(values).__name__}.", "Return a tensor with one number per cell."
        )
    if values.shape != logits.shape[:1]:
        raise MetricError(
            f"The metric {metric_name(metric)!r} returned shape {list(values.shape)} for logits of shape {list(logits.shape)}.",
            f"It has to return one number per cell, shape [{logits.shape[0]}].",
        )
    return values
