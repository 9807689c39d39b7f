"""What is to be computed: a cell is one run of a prompt with some of its activations replaced."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Edit:
    """One replacement within a run.

    Attributes:
        site, layer: where.
        positions: which positions, n of them.
        index: which head; None for the whole vector.
        value: [n, d], or [n, d_head] for one head; what stands there instead.
    """

    site: str
    layer: int
    positions: tuple[int, ...]
    value: Tensor
    index: int | None = None


@dataclass(frozen=True, eq=False)
class Cell:
    """One run of base prompt number `base` with these edits in it, all in one forward."""

    edits: tuple[Edit, ...]
    base: int = 0


class EditTable:
    """The edits of many cells that are run side by side, by site and layer, ready to be written into a tensor of rows."""

    def __init__(self, cells: Iterable[tuple[int, Cell]]) -> None:
        """`cells`: pairs of a cell's number (what `rows_of` understands) and the cell."""
        self._edits: dict[tuple[str, int], list[tuple[int, Edit]]] = defaultdict(list)
        for number, cell in cells:
            for edit in cell.edits:
                self._edits[edit.site, edit.layer].append((number, edit))
        self.fired: set[tuple[str, int]] = set()

    @property
    def places(self) -> set[tuple[str, int]]:
        """The (site, layer) pairs that are edited."""
        return set(self._edits)

    def write(self, place: tuple[str, int], rows: Tensor, rows_of: Callable[[int, Sequence[int]], list[int]]) -> None:
        """Write the edits of one place into `rows` [R, d] or [R, heads, d_head], in place; `rows_of(cell, positions)` numbers the rows."""
        entries = self._edits[place]
        self.fired.add(place)
        for indexed in (False, True):
            chosen = [(number, edit) for number, edit in entries if (edit.index is not None) == indexed]
            if not chosen:
                continue
            where = torch.tensor([row for number, edit in chosen for row in rows_of(number, edit.positions)], device=rows.device)
            value = torch.cat([edit.value for _, edit in chosen]).to(rows)
            if indexed:
                index = torch.tensor([edit.index for _, edit in chosen for _ in edit.positions], device=rows.device)
                rows[where, index] = value
            else:
                rows[where] = value

    @property
    def missed(self) -> set[tuple[str, int]]:
        """Places that were never reached: a patch that silently does nothing is worse than none."""
        return self.places - self.fired
