"""How many rows may travel together in a given amount of memory. An estimate from above; where it is wrong, chunks are halved."""

from collections.abc import Iterable

import psutil
import torch
from torch import nn

from patchwidget.models.wrapped import WrappedModel

from .recording import Recording

# More rows at once are no faster: by then matrix products are at their best, and what is live no longer fits into a processor's cache.
_ENOUGH_ROWS, _ENOUGH_ROWS_ON_A_GPU = 1024, 8192


def free_memory(device: torch.device) -> int:
    """Bytes that are free where the model is."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available


def bytes_per_row(model: WrappedModel, length: int) -> int:
    """What one row (a position of a cell) needs at most while it passes a block, for prompts of this length; its share of the logits too."""
    item = model.dtype.itemsize
    if not model.has_blocks:
        return item * 8 * max((max(weight.shape) for weight in model.hf.parameters() if weight.ndim), default=1)
    block = model.anatomy.blocks[-1].module
    copies = _copies(model, block)
    widths = int(sum(copies.get(weight, 1) * max(weight.shape[-2:]) for weight in block.parameters() if weight.ndim > 1))
    scores = model.n_heads * length * (2 * item + 8)  # in the model's dtype and in float32, before and after the softmax
    keys = 2 * length * (model.n_heads + model.n_kv_heads) * model.d_head * item  # the cell's, and once more repeated for each query head
    return item * (widths + 4 * model.d_model) + scores + keys


def bytes_of_recording(model: WrappedModel, length: int) -> int:
    """What a recorded run of a prompt of this length holds at most: residual stream, heads, keys, values, and one more site."""
    if not model.has_blocks:
        return bytes_per_row(model, length) * length
    attention = (2 * model.n_heads + 2 * model.n_kv_heads) * model.d_head
    hidden = max(max(weight.shape[-2:]) for weight in model.anatomy.blocks[-1].module.parameters() if weight.ndim > 1)
    widest = max(hidden, model.n_heads * length)  # neurons, or patterns
    return model.dtype.itemsize * length * model.n_layers * (model.d_model + attention + widest)


def _copies(model: WrappedModel, block: nn.Module) -> dict[nn.Parameter, float]:
    """How often a row passes the weights of a mixture's experts, where it is not once: each expert gets a copy of the rows that are sent to it.

    The experts are one tensor [experts, in, out], or modules in a list.
    """
    config = model.hf.config.get_text_config()  # type: ignore[union-attr,operator]
    chosen = getattr(config, "num_experts_per_tok", None)
    lists = [module for module in block.modules() if isinstance(module, nn.ModuleList)] if chosen else []
    apart = {weight: 2 * (chosen or 1) / len(experts) for experts in lists for weight in experts.parameters()}
    return apart | {weight: 2 * (chosen or 1) for weight in block.parameters() if weight.ndim == 3}


def size_of(recordings: Iterable[Recording]) -> int:
    """Bytes that recordings hold; a tensor that several hold counts once."""
    found = {}
    for recording in recordings:
        attention = [x for record in recording.attention for x in (record.key, record.value, record.mask, record.output) if x is not None]
        for tensor in [*recording.resid, *attention, *recording.sites.values()]:
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(found.values())


def rows_within(model: WrappedModel, length: int, budget: int) -> int:
    """How many rows may travel together: as many as fit into these bytes, or as many as are of use; less than one where none fits."""
    enough = _ENOUGH_ROWS if model.device.type == "cpu" else _ENOUGH_ROWS_ON_A_GPU
    return min(enough, budget // bytes_per_row(model, length))
