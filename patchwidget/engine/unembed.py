"""From the residual stream after the last block to logits, for some rows and some tokens only."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from patchwidget.models.wrapped import WrappedModel


def read_logits(model: WrappedModel, hidden: Tensor, tokens: Tensor | None = None) -> Tensor:
    """Logits of `hidden` [rows, d_model], the residual stream after the last block.

    Args:
        tokens: the vocabulary's columns to compute; all of them if None.

    Returns:
        float32 [rows, len(tokens) or vocabulary].
    """
    for module in model.anatomy.tail or ():
        hidden = module(hidden)
    head = model.anatomy.head
    if tokens is None:
        logits = head(hidden)
    elif type(head) is nn.Linear and not head.weight.is_meta:  # meta: accelerate has put it aside until the module is called
        tokens = tokens.to(head.weight.device)
        logits = functional.linear(hidden.to(head.weight.device), head.weight[tokens], None if head.bias is None else head.bias[tokens])
    else:
        logits = head(hidden)[:, tokens]
    return _rescale(model, logits).float()


def _rescale(model: WrappedModel, logits: Tensor) -> Tensor:
    """What some architectures do to their logits after the head; that it is right is checked on each prompt's own run."""
    config = model.hf.config.get_text_config()  # type: ignore[union-attr,operator]
    if scaling := getattr(config, "logits_scaling", None):  # Granite
        logits = logits / scaling
    if scale := getattr(config, "logit_scale", None):  # Cohere
        logits = logits * scale
    if cap := getattr(config, "final_logit_softcapping", None):  # Gemma 2
        logits = torch.tanh(logits / cap) * cap
    return logits
