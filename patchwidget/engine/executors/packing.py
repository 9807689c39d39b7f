"""What travels through a packed walk: cells that know where they enter, in groups that share their positions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from patchwidget.engine.edits import Cell, Edit, RowsOf
from patchwidget.engine.sites import find_site


@dataclass(frozen=True, eq=False)
class Planned:
    """A cell in the walk: it enters at `layer`, with only its `entry` rows unless `enters` is "block", and goes on with rows `start`.."""

    number: int
    cell: Cell
    layer: int
    enters: str
    entry: tuple[int, ...]
    start: int

    @property
    def thin(self) -> bool:
        return self.enters != "block"


@dataclass(eq=False)
class Group:
    """Cells of one base that share their positions.

    Attributes:
        attends: to "own" rows (all positions from the first on are here), to the "base" run's keys and values, or "not" at all.
        numbers: the cells.
        hidden: [cells, positions, d_model].
        given: keys and values [cells, Hkv, T, d] where they are known beforehand.
    """

    base: int
    positions: tuple[int, ...]
    attends: str
    numbers: list[int]
    hidden: Tensor
    given: tuple[Tensor, Tensor] | None = None

    @property
    def n_rows(self) -> int:
        return len(self.numbers) * len(self.positions)

    def unpack(self, heads: Tensor, offset: int) -> Tensor:
        """This group's rows, from row `offset` of the packed heads [1, H, R, d], as [cells, H, positions, d]."""
        return heads[0, :, offset : offset + self.n_rows].unflatten(1, (len(self.numbers), len(self.positions))).transpose(0, 1)

    def on_base(self, base: Tensor, own: Tensor) -> Tensor:
        """The keys or values that it attends to: the base run's [1, Hkv, T, d] before its own rows, or the base run's alone."""
        whole = base.expand(len(self.numbers), -1, -1, -1)
        if self.attends == "base":
            return whole[:, :, : self.positions[-1] + 1]
        return torch.cat([whole[:, :, : self.positions[0]], own], 2)


def plan_cell(number: int, cell: Cell, measured: tuple[int, ...], n_layers: int) -> Planned:
    """Where a cell, with one name for each tensor, enters. Edits that can't reach the measured positions are dropped; a cell without any is equal
    to its base."""
    edits = [_cut(edit, measured, n_layers) for edit in cell.edits]
    edits = [edit for edit in edits if edit is not None]
    if not edits:
        return Planned(number, replace(cell, edits=()), n_layers, "block", (), 0)
    layer = min(edit.layer for edit in edits)
    first = [edit for edit in edits if edit.layer == layer]
    reach = {find_site(edit.site).enters for edit in first}
    enters = next(kind for kind in ("block", "attention", "after") if kind in reach)
    entry = tuple(sorted({position for edit in first for position in edit.positions}))
    start = min(min(edit.positions) for edit in edits)
    return Planned(number, replace(cell, edits=tuple(edits)), layer, enters, entry, start)


def row_numbers(groups: Sequence[Group]) -> RowsOf:
    """A function (cell number, positions) -> rows of the sequence in which these groups are packed."""
    first: dict[int, int] = {}
    places: dict[int, dict[int, int]] = {}
    offset = 0
    for group in groups:
        place = {position: i for i, position in enumerate(group.positions)}
        for number in group.numbers:
            first[number], places[number] = offset, place
            offset += len(group.positions)
    return lambda number, positions: [first[number] + places[number][position] for position in positions]


def pack(groups: Sequence[Group]) -> Tensor:
    """All rows of these groups, [R, d_model]."""
    device = groups[0].hidden.device
    return torch.cat([group.hidden.flatten(0, 1).to(device) for group in groups])


def take_back(groups: Sequence[Group], rows: Tensor) -> None:
    """Give the groups their rows out of the packed ones."""
    for group, part in zip(groups, rows.split([group.n_rows for group in groups]), strict=True):
        group.hidden = part.unflatten(0, (len(group.numbers), len(group.positions)))


def _cut(edit: Edit, measured: tuple[int, ...], n_layers: int) -> Edit | None:
    """The part of an edit that can reach the measured positions: nothing after them, and where no attention follows only their rows."""
    last = edit.layer == n_layers or (edit.layer == n_layers - 1 and find_site(edit.site).enters != "block")
    keep = [i for i, p in enumerate(edit.positions) if p in measured or (p < measured[-1] and not last)]
    if len(keep) == len(edit.positions):
        return edit
    return replace(edit, positions=tuple(edit.positions[i] for i in keep), value=edit.value[keep]) if keep else None
