"""The hooked executor: whole forwards with plain hooks, many cells side by side in one batch. Slow, simple, and the judge of the packed one."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..models.hooks import Hooks
from ..models.model import Model
from .access import on_write
from .batch import Batch, run_chunks
from .cells import Cell, EditTable
from .measure import Measure
from .sites import find_tap


def run_hooked(model: Model, prompts: Sequence[Sequence[int]], measures: Sequence[Measure], cells: Sequence[Cell], cells_per_forward: int = 16) -> Iterator[Batch]:
    """Measure each cell by a whole forward of its base prompt, edited by hooks.

    Args:
        prompts, measures: token ids and the measure of each base prompt.
        cells_per_forward: how many cells share one forward.
    """
    order = sorted(range(len(cells)), key=lambda number: cells[number].base)
    chunks = _same_base_chunks(order, cells, cells_per_forward)
    yield from run_chunks(chunks, lambda chunk: _forward(model, prompts[cells[chunk[0]].base], measures[cells[chunk[0]].base], [cells[n] for n in chunk]))


def _same_base_chunks(order: Sequence[int], cells: Sequence[Cell], size: int) -> list[list[int]]:
    chunks: list[list[int]] = []
    for number in order:
        if not chunks or len(chunks[-1]) == size or cells[chunks[-1][0]].base != cells[number].base:
            chunks.append([])
        chunks[-1].append(number)
    return chunks


@torch.no_grad()
def _forward(model: Model, prompt: Sequence[int], measure: Measure, cells: Sequence[Cell]) -> Tensor:
    length = len(prompt)
    tokens = torch.tensor([list(prompt)] * len(cells), device=model.device)
    edits = EditTable(enumerate(cells))

    def rows_of(cell: int, positions: Sequence[int]) -> list[int]:
        return [cell * length + position for position in positions]

    with model.lock, Hooks() as hooks:
        for place in edits.places:
            on_write(hooks, find_tap(model, *place), lambda rows, place=place: edits.write(place, rows, rows_of), shared=place[0] == "resid_mid")
        logits = model.hf(input_ids=tokens, use_cache=False).logits[:, measure.position].float()
    edits.check_fired()
    return measure.of(logits if measure.tokens is None else logits[:, measure.tokens.to(logits.device)])
