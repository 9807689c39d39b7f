"""The two runs of a pair without a patch, in numbers."""

from dataclasses import dataclass

import torch

from patchwidget.models.wrapped import WrappedModel


@dataclass(frozen=True)
class Baselines:
    """Both runs without a patch: the metric of each, and the eight most probable next tokens of each as (text, probability)."""

    clean: float
    corrupted: float
    clean_top: list[tuple[str, float]]
    corrupted_top: list[tuple[str, float]]


def top_tokens(model: WrappedModel, logits: torch.Tensor, k: int = 8) -> list[tuple[str, float]]:
    """The likeliest next tokens of logits [vocabulary], as (text, probability), likeliest first."""
    best = logits.softmax(-1).topk(min(k, len(logits)))
    return [(model.token_text(int(token)), float(p)) for token, p in zip(best.indices, best.values, strict=True)]
