"""The arithmetic that a sweep can't do without, in matrix products with the model's weights: what its time is held against.

Of a block, rows before the patch are the base run's. Of the last block, only keys and values are needed in every row. Of the patched
block, a patch of one head or neuron needs what it changes. Attention itself and the unembedding's few tokens are not counted.
"""

from dataclasses import dataclass
from typing import Any

from benchmarks.peers.tasks import Cell, Task
from patchwidget.model import Model


@dataclass(frozen=True)
class Weights:
    """How many a row is multiplied with, in one block."""

    query: int
    key_value: int
    output: int
    mlp: int

    @property
    def all(self) -> int:
        return self.query + self.key_value + self.output + self.mlp


def operations(model: Model, task: Task) -> float:
    """Floating-point operations that the task's cells need, those of a Llama."""
    first = next(p for p, (a, b) in enumerate(zip(task.clean, task.corrupted, strict=True)) if a != b)
    weights = weights_of(model.anatomy.blocks[0].module)
    return 2.0 * sum(_of_cell(task.site, cell, len(task.clean), first, model, weights) for cell in task.cells)


def weights_of(block: Any) -> Weights:
    attention = block.self_attn
    return Weights(
        _size(attention.q_proj),
        _size(attention.k_proj, attention.v_proj),
        _size(attention.o_proj),
        _size(block.mlp.gate_proj, block.mlp.up_proj, block.mlp.down_proj),
    )


def _of_cell(site: str, cell: Cell, length: int, first: int, model: Model, weights: Weights) -> float:
    start = first if cell.pos is None else cell.pos
    if start < first:
        return 0.0  # there the two runs are the same
    rows, last = length - start, model.n_layers - 1
    if site == "resid_pre":
        return _of_blocks(last - cell.layer, rows, weights)
    own = {"mlp_post": 0.0}.get(site, weights.output / model.n_heads + weights.mlp)
    spreads = site in ("k", "v")  # to every row behind
    if cell.layer == last:
        return own if spreads or cell.pos in (None, length - 1) else 0.0
    return own * (rows if spreads or cell.pos is None else 1) + _of_blocks(last - cell.layer - 1, rows, weights)


def _of_blocks(before_last: int, rows: int, weights: Weights) -> float:
    """Of the last block and some before it."""
    return before_last * rows * weights.all + rows * weights.key_value + weights.all - weights.key_value


def _size(*layers: Any) -> int:
    return sum(layer.weight.numel() for layer in layers)
