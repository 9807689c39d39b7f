"""Patching inside attention: queries, keys, values and patterns, on whatever attention function the model has."""

import warnings
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from patchwidget.engine.edits import Edit, EditTable, RowsOf
from patchwidget.engine.recording import Recording, record
from patchwidget.errors import ModelError
from patchwidget.models.attention import intercepted
from patchwidget.models.wrapped import WrappedModel

# what masks add to scores is this or less where attention can't look: -inf, the dtype's least number, -10,000 in old models
_OUT_OF_SIGHT = -1e4
_LEFT_OUT = (
    "What is put into pattern has weight on positions that the attention can't look at (later ones, or outside of its window); "
    "such weight is left out."
)


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
    attend: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    edits: EditTable,
    layer: int,
    numbers: Sequence[int],
    rows_of: RowsOf,
) -> Tensor:
    """One group's attention with its edits of patterns, and of keys and values as single query heads see them.

    Where the attention can't look, patterns stay as they are: zero. A warning says so if an edit has weight there.

    Args:
        attend: (query, key, value) -> output [n, S, H, d] and pattern [n, H, S, T], the model's own function with its mask and options.
        query: [n, H, S, d].
        key, value: [n, Hkv, T, d], of which the last S positions are the group's own.
        mask: [n or 1, H or 1, S, T or more], or None.
        numbers: the cells, n of them.
        rows_of: (cell, positions) -> rows of the group, numbered from 0.

    Returns:
        [n, S, H, d]
    """
    output, pattern = attend(query, key, value)
    patterns, views = edits.at("pattern", layer, numbers), _views(edits, layer, numbers)
    if not (patterns or views):
        return output
    per_group = query.shape[1] // value.shape[1]
    output, pattern, values = output.clone(), pattern.clone(), value.repeat_interleave(per_group, 1)
    for head, (keys_seen, values_seen) in views.items():
        seen = [_seen(heads, entries, head // per_group) for heads, entries in ((key, keys_seen), (value, values_seen))]
        changed, row = attend(query, *seen)
        cells = sorted({cell for cell, _ in [*keys_seen, *values_seen]})
        output[cells, :, head], pattern[cells, head], values[cells, head] = (
            changed[cells, :, head],
            row[cells, head],
            seen[1][cells, head // per_group],
        )
    if not patterns:
        return output
    rows = as_rows(pattern).clone()
    edits.write(("pattern", layer), rows, rows_of, numbers)
    weights = rows.unflatten(0, (len(numbers), query.shape[2])).transpose(1, 2)
    outside = _goes_beyond(patterns, key.shape[2])
    if mask is not None:
        sight = in_sight(mask[..., : key.shape[2]])
        outside = outside or bool(((weights != pattern) & ~sight).any())
        weights = torch.where(sight, weights, pattern)
    if outside:
        warnings.warn(_LEFT_OUT, stacklevel=2)
    return (weights.to(value.dtype) @ values).transpose(1, 2)


def in_sight(mask: Tensor) -> Tensor:
    """Where a mask, of truth values or added to the scores, lets attention look."""
    return mask if mask.dtype == torch.bool else mask > _OUT_OF_SIGHT


def _goes_beyond(patterns: Sequence[tuple[int, Edit]], width: int) -> bool:
    """Whether edits of whole rows have weight on positions behind the last one that is here."""
    beyond = [edit.value[..., width:].flatten() for _, edit in patterns if edit.columns is None and edit.value.shape[-1] > width]
    return bool(torch.cat(beyond).any()) if beyond else False


def _views(edits: EditTable, layer: int, numbers: Sequence[int]) -> dict[int, tuple[list[tuple[int, Edit]], list[tuple[int, Edit]]]]:
    """For each query head that is to see other keys or values: those edits, with their cells' places in `numbers`."""
    place = {number: i for i, number in enumerate(numbers)}
    found: dict[int, tuple[list[tuple[int, Edit]], list[tuple[int, Edit]]]] = defaultdict(lambda: ([], []))
    for i, site in enumerate(("k_per_head", "v_per_head")):
        for number, edit in edits.at(site, layer, numbers):
            edits.missed.discard((site, layer))
            found[edit.index or 0][i].append((place[number], edit))
    return found


def _seen(heads: Tensor, entries: Sequence[tuple[int, Edit]], group: int) -> Tensor:
    """Keys or values with the edits of one group's written in; `entries`: pairs of a cell's place and an edit."""
    seen = heads.clone()
    for cell, edit in entries:
        at, new = list(edit.positions), edit.value.to(seen)
        seen[cell, group, at] = new if edit.operator == "replace" else seen[cell, group, at] + new
    return seen


@torch.no_grad()
def attention_pattern(model: WrappedModel, recording: Recording, layer: int) -> Tensor:
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
        raise _unreadable(model)
    return patterns[0]


def attention_patterns(model: WrappedModel, tokens: Sequence[int] | Tensor) -> Tensor:
    """The post-softmax attention of every layer in one run of a prompt: float32 [layers, n_heads, T, T], on the CPU.

    Raises:
        ModelError: the attention of some layer can't be intercepted.
    """
    if not model.anatomy.intercepted:
        raise _unreadable(model)
    recording = record(model, tokens, ["pattern"])
    return torch.stack([recording.at("pattern", layer).transpose(0, 1).float().cpu() for layer in range(model.n_layers)])


def _unreadable(model: WrappedModel) -> ModelError:
    message = f"The attention of {model.name} can't be intercepted, so its patterns can't be read."
    return ModelError(message, "Choose a model on transformers' attention interface.")
