"""The hooked executor: whole forwards with plain hooks, many cells in one batch. Slow, simple, and the judge of the packed one."""

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from patchwidget.engine.chunking import Batch, run_chunks
from patchwidget.engine.edits import Cell, EditTable
from patchwidget.engine.measure import Measure
from patchwidget.engine.names import Names
from patchwidget.engine.sites import ATTENTION_SITES
from patchwidget.engine.tap_hooks import on_edits
from patchwidget.models.attention import intercepted
from patchwidget.models.hooks import Hooks
from patchwidget.models.wrapped import WrappedModel

from .attention import attend_edited, edit_heads


class HookedExecutor:
    """Measures each cell by a whole forward of its base prompt, edited by hooks.

    Args:
        prompts, measures: token ids and the measure of each base prompt; cells name them by number.
        max_rows: how many positions, of all cells together, share one forward.
        around: gives what the forwards of a base prompt go in, by its number; nothing if not given.

    Attributes:
        missed: (site, layer) pairs that were to be patched and that the model never passed.
    """

    def __init__(
        self,
        model: WrappedModel,
        prompts: Sequence[Sequence[int] | Tensor],
        measures: Sequence[Measure],
        max_rows: int,
        around: Callable[[int], AbstractContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        self.model, self.prompts, self.measures, self.max_rows, self.around = model, prompts, measures, max_rows, around
        self.missed: set[tuple[str, int]] = set()
        self._names = Names(model)

    def run(self, cells: Sequence[Cell]) -> Generator[Batch, None, None]:
        """Measure the cells, in batches. Between batches nothing is left on the model."""
        named = [self._names.cell(cell) for cell in cells]
        yield from run_chunks(self._chunks(named), lambda chunk: self._forward([named[number] for number in chunk]))

    def _chunks(self, cells: Sequence[Cell]) -> list[list[int]]:
        chunks: list[list[int]] = []
        for base in sorted({cell.base for cell in cells}):
            numbers = [number for number, cell in enumerate(cells) if cell.base == base]
            size = max(1, self.max_rows // len(self.prompts[base]))
            chunks += [numbers[i : i + size] for i in range(0, len(numbers), size)]
        return chunks

    @torch.no_grad()
    def _forward(self, cells: Sequence[Cell]) -> Tensor:
        prompt, measure = self.prompts[cells[0].base], self.measures[cells[0].base]
        single = self.model.inputs(prompt)
        tokens = single.expand(len(cells), *single.shape[1:])
        length = 1 if single.ndim == 2 and single.is_floating_point() else single.shape[1]
        edits = EditTable(enumerate(cells))

        def rows_of(cell: int, positions: Sequence[int]) -> list[int]:
            return [cell * length + position for position in positions]

        def attend(own: Any, module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kw: Any) -> Any:
            layer = layers[module]
            query, key, value = (edit_heads(edits, site, layer, x, rows_of) for site, x in [("q", query), ("k", key), ("v", value)])
            function = lambda q, k, v: own(module, q, k, v, mask, **kw)  # noqa: E731
            return attend_edited(function, query, key, value, mask, edits, layer, range(len(cells)), rows_of), None

        blocks = self.model.anatomy.blocks if self.model.has_blocks else ()
        layers = {block.attention: layer for layer, block in enumerate(blocks)}
        inside = any(site in ATTENTION_SITES for site, _ in edits.places)
        around = self.around(cells[0].base)
        with around, self.model.lock, Hooks() as hooks, intercepted(self.model.hf, attend) if inside else nullcontext():
            on_edits(hooks, self.model, edits, [place for place in edits.places if place[0] not in ATTENTION_SITES], rows_of)
            logits = self.model.logits_at(tokens, measure.positions)
        self.missed |= self._names.as_given(edits.missed)
        return measure.of_logits(logits)
