"""A node in the middle of a path: what its changed input makes of its output, all else being the base run's."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from patchwidget.engine.edits import Cell, Edit, EditTable
from patchwidget.engine.executors.attention import attend_edited, edit_heads
from patchwidget.engine.recording import Recording
from patchwidget.engine.sites import find_tap
from patchwidget.engine.tap_hooks import on_read
from patchwidget.models.attention import intercepted
from patchwidget.models.hooks import Hooks
from patchwidget.models.wrapped import WrappedModel

from .frozen_run import Edits


def pass_through(model: WrappedModel, base: Recording, changed: Edits, positions: Sequence[int], head: int | None = None) -> Edits:
    """The output of a node whose input is changed.

    Args:
        changed: edits of one layer's q, k or v (also as one head sees them); or of its mlp_out, which is an output already.
        positions: the positions of the output that go on.
        head: the head whose output goes on; None for every one that changes.

    Returns:
        Edits of that layer's z, or of its mlp_out.
    """
    if not changed or changed[0].site == "mlp_out":
        return changed
    layer, first = changed[0].layer, min(edit.positions[0] for edit in changed)
    reached = tuple(position for position in positions if position >= first)
    if not reached:
        return ()
    z = _attend_again(model, base, layer, changed)[list(reached)]
    return (Edit("z", layer, reached, z if head is None else z[:, head], head),)


@torch.no_grad()
def _attend_again(model: WrappedModel, base: Recording, layer: int, changed: Edits) -> Tensor:
    """z [T, n_heads, d_head] of one layer of the base run with these edits of its queries, keys and values."""
    edits = EditTable([(0, Cell(changed))])
    kept: list[Tensor] = []

    def rows_of(cell: int, positions: Sequence[int]) -> list[int]:
        return list(positions)

    def attend(own: Any, module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kw: Any) -> Any:
        query, key, value = (edit_heads(edits, site, layer, x, rows_of) for site, x in [("q", query), ("k", key), ("v", value)])
        function = lambda q, k, v: own(module, q, k, v, mask, **kw)  # noqa: E731
        return attend_edited(function, query, key, value, mask, edits, layer, [0], rows_of), None

    args, kwargs = base.calls[layer]
    with model.lock, Hooks() as hooks, intercepted(model.hf, attend):
        on_read(hooks, find_tap(model, "z", layer), lambda rows: kept.append(rows.clone()))
        model.anatomy.blocks[layer].module(*args, **kwargs)
    return kept[0]
