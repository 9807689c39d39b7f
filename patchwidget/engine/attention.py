"""Patching inside attention: queries, keys, values and patterns, on whatever attention function the model has."""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from patchwidget.errors import ModelError
from patchwidget.models.attention import intercepted
from patchwidget.models.model import Model

from .cells import EditTable, RowsOf
from .recording import Recording


def edit_heads(edits: EditTable, site: str, layer: int, heads: Tensor, rows_of: RowsOf, numbers: Collection[int] | None = None) -> Tensor:
    """`heads` [B, H, S, d] with the edits of q, k or v (of these cells, or of all) written in; the same tensor where there are none."""
    if (site, layer) not in edits.places:
        return heads
    rows = as_rows(heads).clone()
    edits.write((site, layer), rows, rows_of, numbers)
    return rows.unflatten(0, (heads.shape[0], heads.shape[2])).transpose(1, 2)


def as_rows(heads: Tensor) -> Tensor:
    """[B, H, S, d] -> [B * S, H, d]: one row per position."""
    return heads.transpose(1, 2).flatten(0, 1)


def attend_edited(
    attend: Any, query: Tensor, key: Tensor, value: Tensor, edits: EditTable, layer: int, numbers: Sequence[int], rows_of: RowsOf
) -> Tensor:
    """One group's attention with its edits of patterns, and of keys and values as single query heads see them.

    Args:
        attend: (query, key, value) -> output [n, S, H, d] and pattern [n, H, S, T], the model's own function with its mask and options.
        query: [n, H, S, d].
        key, value: [n, Hkv, T, d], of which the last S positions are the group's own.
        numbers: the cells, n of them.
        rows_of: (cell, positions) -> rows of the group, numbered from 0.

    Returns:
        [n, S, H, d]
    """
    output, pattern = attend(query, key, value)
    patterns = edits.at("pattern", layer, numbers)
    if patterns:
        rows = as_rows(pattern).clone()
        edits.write(("pattern", layer), rows, rows_of, numbers)
        weights = rows.unflatten(0, (len(numbers), query.shape[2])).transpose(1, 2)
        groups = query.shape[1] // value.shape[1]
        output = (weights.to(value.dtype) @ value.repeat_interleave(groups, 1)).transpose(1, 2)
    for site in ("k_per_head", "v_per_head"):
        output = _as_seen_by_each(attend, query, key, value, edits, site, layer, numbers, output)
    return output


def _as_seen_by_each(
    attend: Any, query: Tensor, key: Tensor, value: Tensor, edits: EditTable, site: str, layer: int, numbers: Sequence[int], output: Tensor
) -> Tensor:
    """For each query head that is to see other keys (or values): attend with them, and take that head's output only."""
    entries = edits.at(site, layer, numbers)
    if not entries:
        return output
    edits.missed.discard((site, layer))
    place, output = {number: i for i, number in enumerate(numbers)}, output.clone()
    per_group = query.shape[1] // key.shape[1]
    for head in sorted({edit.index or 0 for _, edit in entries}):
        seen = (key if site == "k_per_head" else value).clone()
        chosen = [(place[number], edit) for number, edit in entries if edit.index == head]
        for cell, edit in chosen:
            at = list(edit.positions)
            new = edit.value.to(seen)
            seen[cell, head // per_group, at] = new if edit.operator == "replace" else seen[cell, head // per_group, at] + new
        changed = attend(query, seen, value)[0] if site == "k_per_head" else attend(query, key, seen)[0]
        cells = [cell for cell, _ in chosen]
        output[cells, :, head] = changed[cells, :, head]
    return output


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
        message = f"The attention of {model.name} can't be intercepted, so its patterns can't be read."
        raise ModelError(message, "Choose a model on transformers' attention interface.")
    return patterns[0]
