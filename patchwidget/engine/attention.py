"""Patching inside attention: queries, keys, values and patterns, on whatever attention function the model has."""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from patchwidget.errors import ModelError
from patchwidget.models.attention import intercepted
from patchwidget.models.model import Model

from .cells import Edit, EditTable, RowsOf
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
    return _as_seen_by_each(attend, query, key, value, edits, layer, numbers, output)


def _as_seen_by_each(
    attend: Any, query: Tensor, key: Tensor, value: Tensor, edits: EditTable, layer: int, numbers: Sequence[int], output: Tensor
) -> Tensor:
    """For each query head that is to see other keys or values: attend with them, and take that head's output only."""
    entries = {site: edits.at(site, layer, numbers) for site in ("k_per_head", "v_per_head")}
    edits.missed.difference_update((site, layer) for site, found in entries.items() if found)
    place, output = {number: i for i, number in enumerate(numbers)}, output.clone()
    for head in sorted({edit.index or 0 for found in entries.values() for _, edit in found}):
        chosen = {site: [(place[number], edit) for number, edit in found if edit.index == head] for site, found in entries.items()}
        group = head // (query.shape[1] // key.shape[1])
        changed = attend(query, _seen(key, chosen["k_per_head"], group), _seen(value, chosen["v_per_head"], group))[0]
        cells = sorted({cell for found in chosen.values() for cell, _ in found})
        output[cells, :, head] = changed[cells, :, head]
    return output


def _seen(heads: Tensor, entries: Sequence[tuple[int, Edit]], group: int) -> Tensor:
    """Keys or values with the edits of one group's written in; `entries`: pairs of a cell's place and an edit."""
    seen = heads.clone()
    for cell, edit in entries:
        at, new = list(edit.positions), edit.value.to(seen)
        seen[cell, group, at] = new if edit.operator == "replace" else seen[cell, group, at] + new
    return seen


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
