"""Reading one layer's attention pattern from a recorded run, without running the rest of the model."""

from typing import Any

import torch
from torch import Tensor

from patchwidget.errors import ModelError
from patchwidget.models.attention import intercepted
from patchwidget.models.model import Model

from .recording import Recording


@torch.no_grad()
def attention_pattern(model: Model, recording: Recording, layer: int) -> Tensor:
    """The post-softmax attention of one layer in a recorded run: from each destination (row) to each source position.

    Returns:
        float32 [n_heads, T, T].

    Raises:
        ModelError: this layer's attention can't be intercepted.
    """
    patterns: list[Tensor] = []

    def attend(own: Any, module: Any, *args: Any, **kw: Any) -> Any:
        output, pattern = own(module, *args, **kw)
        if pattern is not None:
            patterns.append(pattern[0].float())
        return output, pattern

    args, kwargs = recording.calls[layer]
    with model.lock, intercepted(model.hf, attend):
        model.anatomy.blocks[layer].module(*args, **kwargs)
    if not patterns:
        raise ModelError(
            f"The attention of {model.name} can't be intercepted, so its patterns can't be read.",
            "Choose a model on transformers' attention interface.",
        )
    return patterns[0]
