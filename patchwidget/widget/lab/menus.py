"""The menus of a lab: sites, metrics and directions, each in a sentence, and why this model or pair lacks one."""

from typing import Any

from patchwidget.runs.metrics import METRICS
from patchwidget.widget.transport.protocol import Message

from .experiment_pool import Bench, refusal

# name -> label, text: in the menu's order
_SITES = {
    "resid_pre": ("residual stream, before", "The residual stream as it enters a layer: all that the layers below have written."),
    "resid_mid": ("residual stream, middle", "The residual stream between a layer's attention and its MLP."),
    "resid_post": ("residual stream, after", "The residual stream as it leaves a layer."),
    "attn_out": ("attention output", "What a layer's attention adds to the residual stream."),
    "mlp_out": ("MLP output", "What a layer's MLP adds to the residual stream."),
    "z": ("head output", "Each head's output before the output projection, at all positions together."),
    "q": ("queries", "Each head's queries, at all positions together: what the head looks for."),
    "k": ("keys", "Each key/value head's keys, at all positions together: what it can be found by."),
    "v": ("values", "Each key/value head's values, at all positions together: what it hands on."),
    "pattern": ("attention pattern", "Each head's attention after the softmax, from all positions together: where it looks."),
    "mlp_post": ("neurons", "The hidden activations of the MLPs."),
}
NEURONS_ARE_DEEPER = "All neurons of all layers are too many for one grid: open a cell of another site and choose neurons."

_METRICS = {
    "logit_diff": "logit difference",
    "logit": "logit",
    "prob": "probability",
    "log_prob": "log probability",
    "prob_diff": "probability difference",
    "kl": "KL divergence",
    "rank": "rank",
    "answer_log_prob": "log probability of a long answer",
}

DIRECTIONS: list[Message] = [
    {
        "name": "denoise",
        "label": "denoise",
        "text": "Clean activations go into the corrupted run: what suffices for the answer?",
        "reason": None,
    },
    {
        "name": "noise",
        "label": "noise",
        "text": "Corrupted activations go into the clean run: what is necessary for the answer?",
        "reason": None,
    },
]


def describe_sites(experiment: Any, current: str) -> list[Message]:
    """The sites that a main grid can be of; `current` too where it is another one, a module by its path."""
    others = {} if current in _SITES else {current: (current, "A module, by its path.")}
    return [
        {"name": name, "label": label, "text": text, "reason": NEURONS_ARE_DEEPER if name == "mlp_post" else why_not(experiment, name)}
        for name, (label, text) in {**_SITES, **others}.items()
    ]


def metric_label(name: str) -> str:
    """A metric in words."""
    return _METRICS.get(name, name)


def describe_metrics(bench: Bench, pair: int) -> list[Message]:
    """Every metric, and why this pair can't be measured by it."""
    return [
        {
            "name": name,
            "label": metric_label(name) if isinstance(metric, str) else name,
            "text": _sentence(METRICS[metric]) if isinstance(metric, str) else "Your own function of the logits.",
            "reason": bench.why_not(pair, name) if isinstance(metric, str) else None,
        }
        for name, metric in bench.metrics.items()
    ]


def why_not(experiment: Any, site: str) -> str | None:
    """Why the model has no such site, or None."""
    return refusal(lambda: experiment.start(site, positions="all"))


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:].rstrip(".") + "."
