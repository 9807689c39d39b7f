"""Metrics: one number per run, from its logits in float32."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from patchwidget.engine.measure import Measure
from patchwidget.errors import MetricError
from patchwidget.prompts.token_pair import TokenPair

Metric = str | Callable[[Tensor], Tensor]
Metrics = Metric | Sequence[Metric] | Mapping[str, Metric]

# name -> what it is, for people
METRICS = {
    "logit_diff": "mean logit of the answers minus mean logit of the distractors",
    "logit": "mean logit of the answers",
    "prob": "mean probability of the answers",
    "log_prob": "mean log-probability of the answers, in nats",
    "prob_diff": "mean probability of the answers minus that of the distractors",
    "kl": "Kullback-Leibler divergence of the run's next-token distribution from the source run's, D(source || run), in nats",
    "rank": "mean rank of the answers among all tokens; 0 is the likeliest",
    "answer_log_prob": "summed log-probability of an answer of several tokens, each fed in after the one before, in nats",
}
_NEEDS_DISTRACTOR = {"logit_diff", "prob_diff"}
_NEEDS_NO_ANSWER = {"kl"}
_NEEDS_ONLY_LOGITS_OF_ANSWERS = {"logit_diff", "logit"}


def name_metrics(metrics: Metrics) -> dict[str, Metric]:
    """What was asked for as name -> metric, in order; functions are called by their own names.

    Raises:
        MetricError: an unknown name, the same name twice, or nothing at all.
    """
    if isinstance(metrics, Mapping):
        named = dict(metrics)
    else:
        several = [metrics] if isinstance(metrics, str) or callable(metrics) else list(metrics)
        named = {own_name(metric): metric for metric in several}
        if len(named) < len(several):
            raise MetricError("Two metrics have the same name.", "Give them as a dictionary of names.")
    if not named:
        raise MetricError("No metric was given.", "Use 'logit_diff', for example.")
    for metric in named.values():
        if not callable(metric) and metric not in METRICS:
            known = ", ".join(METRICS)
            raise MetricError(
                f"There is no metric {metric!r}.", f"Use one of {known}; or a function of logits [cells, vocabulary] that returns [cells]."
            )
    return named


def make_measure(
    metrics: Mapping[str, Metric], pair: TokenPair, positions: tuple[int, ...], source_log_probs: Callable[[], Tensor]
) -> Measure:
    """The metrics as the engine measures them, all from one run.

    Zhang and Nanda 2023 (arXiv:2309.16042) recommend the logit difference over probability, which hides negative components.

    Args:
        positions: where the logits are read; several only for `answer_log_prob`, one per token of the answer.
        source_log_probs: gives the source run's log-probabilities [vocabulary], for `kl`.

    Raises:
        MetricError: the pair has no answer or distractor for a metric.
    """
    for metric in metrics.values():
        if isinstance(metric, str):
            _check_answers(metric, pair)
    few = all(isinstance(metric, str) and metric in _NEEDS_ONLY_LOGITS_OF_ANSWERS for metric in metrics.values())
    answers, distractors = torch.tensor(pair.answers), torch.tensor(pair.distractors)
    if few:
        tokens = torch.cat([answers, distractors]).long()
        answers, distractors = torch.arange(len(answers)), torch.arange(len(answers), len(tokens))
    functions = [
        partial(_custom, metric, name) if callable(metric) else partial(_BUILT_IN[metric], answers, distractors, source_log_probs)
        for name, metric in metrics.items()
    ]
    return Measure(lambda logits: torch.stack([function(logits) for function in functions], 1), tokens if few else None, positions)


def own_name(metric: Metric) -> str:
    """What a metric is called that was given without a name."""
    return metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)


def _check_answers(metric: str, pair: TokenPair) -> None:
    if metric not in _NEEDS_NO_ANSWER and not pair.answers:
        raise MetricError(f"The metric {metric} needs an answer, and the pair has none.", "Give answer= to PromptPair.")
    if metric in _NEEDS_DISTRACTOR and not pair.distractors:
        raise MetricError(f"The metric {metric} needs a distractor, and the pair has none.", "Give distractor= to PromptPair.")


def _custom(metric: Callable[[Tensor], Tensor], name: str, logits: Tensor) -> Tensor:
    logits = logits[:, -1]
    values = metric(logits)
    if not isinstance(values, Tensor):
        raise MetricError(f"The metric {name!r} returned a {type(values).__name__}.", "Return a tensor with one number per cell.")
    if values.shape != logits.shape[:1]:
        raise MetricError(
            f"The metric {name!r} returned shape {list(values.shape)} for logits of shape {list(logits.shape)}.",
            f"It has to return one number per cell, shape [{logits.shape[0]}].",
        )
    return values.float()


# Each built-in metric: (answers [n], distractors [m], source log-probabilities, logits [cells, positions, columns]) -> [cells].


def _logit(answers: Tensor, distractors: Tensor, source: object, logits: Tensor) -> Tensor:
    return logits[:, -1, answers].mean(1)


def _logit_diff(answers: Tensor, distractors: Tensor, source: object, logits: Tensor) -> Tensor:
    return logits[:, -1, answers].mean(1) - logits[:, -1, distractors].mean(1)


def _prob(answers: Tensor, distractors: Tensor, source: object, logits: Tensor) -> Tensor:
    return logits[:, -1].softmax(-1)[:, answers].mean(1)


def _log_prob(answers: Tensor, distractors: Tensor, source: object, logits: Tensor) -> Tensor:
    return logits[:, -1].log_softmax(-1)[:, answers].mean(1)


def _prob_diff(answers: Tensor, distractors: Tensor, source: object, logits: Tensor) -> Tensor:
    probabilities = logits[:, -1].softmax(-1)
    return probabilities[:, answers].mean(1) - probabilities[:, distractors].mean(1)


def _kl(answers: Tensor, distractors: Tensor, source: Callable[[], Tensor], logits: Tensor) -> Tensor:
    ours, theirs = logits[:, -1].log_softmax(-1), source().to(logits.device)
    return (theirs.exp() * (theirs - ours)).sum(-1)


def _rank(answers: Tensor, distractors: Tensor, source: object, logits: Tensor) -> Tensor:
    logits = logits[:, -1]
    return torch.stack([(logits > logits[:, [answer]]).sum(1) for answer in answers], 1).float().mean(1)


def _answer_log_prob(answers: Tensor, distractors: Tensor, source: object, logits: Tensor) -> Tensor:
    steps = torch.arange(len(answers))
    return logits.log_softmax(-1)[:, steps, answers].sum(1)


_BUILT_IN: dict[str, Callable[..., Tensor]] = {
    "logit_diff": _logit_diff,
    "logit": _logit,
    "prob": _prob,
    "log_prob": _log_prob,
    "prob_diff": _prob_diff,
    "kl": _kl,
    "rank": _rank,
    "answer_log_prob": _answer_log_prob,
}
