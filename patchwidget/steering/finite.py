"""Logits that say nothing: a strength that is too great for the dtype is told, and not taken for the text that argmax makes of it.

Too large activations give logits that are NaN or infinite; or all the same, where a norm has divided by infinity and left zeros.
"""

import torch
from torch import Tensor
from transformers import LogitsProcessor

from patchwidget.errors import ModelError
from patchwidget.models.wrapped import WrappedModel


def check_finite(model: WrappedModel, logits: Tensor, *, steered: bool, where: str = "at this strength") -> None:
    """Raise ModelError where a row of logits [..., vocabulary] says nothing. A token that is ruled out may have -inf."""
    highest = logits.amax(-1)  # NaN and inf come out on top
    if not torch.isfinite(highest).all():
        what = "are not finite"
    elif steered and logits.shape[-1] > 1 and (highest == logits.amin(-1)).any():
        what = "are all the same"
    else:
        return
    if steered:
        raise ModelError(f"The model's logits {what} {where}: a number grew too large for {model.dtype}.", "Lower the strength.")
    message = f"The model's logits {what}: a weight is NaN, or a number grew too large for {model.dtype}."
    raise ModelError(message, "Load the model in float32 or bfloat16, or check its weights.")


class FiniteOnly(LogitsProcessor):
    """Ends a generation by ModelError where its logits say nothing."""

    def __init__(self, model: WrappedModel, *, steered: bool) -> None:
        self._model, self._steered = model, steered

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # type: ignore[override]
        check_finite(self._model, scores, steered=self._steered)
        return scores
