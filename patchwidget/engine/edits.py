"""What is to be computed: a cell is one run of a prompt with some of its activations replaced."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

RowsOf = Callable[[int, Sequence[int]], list[int]]
# operators that move a row along a direction by an amount that depends on the row
ALONG = frozenset({"project_out", "cap"})


@dataclass(frozen=True, eq=False)
class Edit:
    """One replacement within a run.

    Attributes:
        site, layer: where.
        positions: which positions, n of them, each once; for patterns, destinations.
        value: what to put there: [n, d], or [n, d_head] for one head, [n] for one neuron, [n, T] or [n, columns] for patterns.
        index: which head or neuron; None for the whole vector.
        columns: which sources of a pattern, each once; None for the whole row. Without a head, elements of all heads' vectors side by side.
        operator: "replace", or "add" to what stands there; of whole vectors also "project_out" and "cap" along `value` (see `moved_along`).
        strength: of the last two.
    """

    site: str
    layer: int
    positions: tuple[int, ...]
    value: Tensor
    index: int | None = None
    columns: tuple[int, ...] | None = None
    operator: str = "replace"
    strength: float = 1.0

    @property
    def place(self) -> tuple[str, int]:
        return self.site, self.layer


@dataclass(frozen=True, eq=False)
class Cell:
    """One run of base prompt number `base` with these edits in it, all in one forward; edits of one tensor in the order given."""

    edits: tuple[Edit, ...]
    base: int = 0


class EditTable:
    """The edits of many cells that are run side by side, by site and layer, ready to be written into a tensor of rows.

    Where edits of a cell meet, each finds what the one before it left: the last "replace" holds, and what is added after it is added to that.

    Attributes:
        missed: the (site, layer) pairs not reached yet: a patch that silently does nothing is worse than none.
    """

    def __init__(self, cells: Iterable[tuple[int, Cell]]) -> None:
        """`cells`: pairs of a cell's number (what `rows_of` understands) and the cell."""
        self._edits: dict[tuple[str, int], list[tuple[int, Edit]]] = defaultdict(list)
        for number, cell in cells:
            for edit in cell.edits:
                self._edits[edit.place].append((number, edit))
        self.missed = set(self._edits)

    @property
    def places(self) -> Collection[tuple[str, int]]:
        """The (site, layer) pairs that are edited."""
        return self._edits.keys()

    def at(self, site: str, layer: int, numbers: Collection[int]) -> list[tuple[int, Edit]]:
        """The edits of these cells at one place."""
        if (site, layer) not in self._edits:
            return []
        wanted = set(numbers)
        return [(number, edit) for number, edit in self._edits[site, layer] if number in wanted]

    def write(self, place: tuple[str, int], rows: Tensor, rows_of: RowsOf, numbers: Collection[int] | None = None) -> None:
        """Write the edits of one place into `rows` [R, d] or [R, heads, d_head], in place.

        Args:
            rows_of: (cell, positions) -> numbers of its rows.
            numbers: only these cells' edits; all of them if None.
        """
        self.missed.discard(place)
        entries = self._edits[place] if numbers is None else self.at(*place, numbers)
        for turn in _in_turns(entries):
            alike: dict[tuple[bool, bool, str], list[tuple[int, Edit]]] = defaultdict(list)
            for number, edit in turn:
                alike[edit.index is None, edit.columns is None, edit.operator].append((number, edit))
            for (whole, whole_row, operator), chosen in alike.items():
                target, value = _target(chosen, rows, rows_of, whole=whole, whole_row=whole_row)
                if operator in ALONG:
                    strengths = torch.tensor([edit.strength for _, edit in chosen for _ in edit.positions], device=rows.device)
                    rows[target] = moved_along(operator, rows[target], value, strengths)
                else:
                    rows.index_put_(target, value, accumulate=operator == "add")


def moved_along(operator: str, rows: Tensor, value: Tensor, strength: Tensor) -> Tensor:
    """Rows [n, d] moved along directions `value` [n, d], with strengths [n]; computed in float32.

    "add": rows + strength * value.
    "project_out": rows without `strength` times their component along the direction: 1 takes it out (directional ablation, Arditi et al. 2024,
        arXiv:2406.11717), 2 mirrors it.
    "cap": rows whose component along the direction is greater than `strength` times the length of `value` are brought down to that.
    """
    wide, value, strength = rows.float(), value.float(), strength[:, None].float()
    if operator == "add":
        return (wide + strength * value).to(rows.dtype)
    length = value.norm(dim=-1, keepdim=True)
    direction = value / length.clamp_min(torch.finfo(torch.float32).tiny)  # a row of zeros has none, and moves nothing
    component = (wide * direction).sum(-1, keepdim=True)
    change = -strength * component if operator == "project_out" else (strength * length - component).clamp_max(0)
    return (wide + change * direction).to(rows.dtype)


def _in_turns(entries: list[tuple[int, Edit]]) -> list[list[tuple[int, Edit]]]:
    """Entries in the order in which they are written; in one turn no element is written twice, so that it can be written at once."""
    if len({number for number, _ in entries}) == len(entries):
        return [entries]
    by_cell: dict[int, list[Edit]] = defaultdict(list)
    for number, edit in entries:
        by_cell[number].append(edit)
    turns: dict[int, list[tuple[int, Edit]]] = defaultdict(list)
    for number, edits in by_cell.items():
        for turn, edit in zip(_turns(edits) if len(edits) > 1 else (0,), edits, strict=True):
            turns[turn].append((number, edit))
    return [turns[turn] for turn in sorted(turns)]


def _turns(edits: Sequence[Edit]) -> Iterator[int]:
    """The turn of each edit of one cell and place: a new one where it meets an edit of the turn before it."""
    turn, written = 0, defaultdict[int, set[int | None]](set)  # position -> heads or neurons, None for all of them
    for edit in edits:
        met = (written[position] for position in edit.positions if position in written)
        if any(edit.index is None or edit.index in indices or None in indices for indices in met):
            turn += 1
            written.clear()
        for position in edit.positions:
            written[position].add(edit.index)
        yield turn


def _target(
    entries: list[tuple[int, Edit]], rows: Tensor, rows_of: RowsOf, *, whole: bool, whole_row: bool
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Where entries of one kind are written in `rows`, as index tensors, and what."""
    indices = [[row for number, edit in entries for row in rows_of(number, edit.positions)]]
    if not whole:
        indices.append([edit.index or 0 for _, edit in entries for _ in edit.positions])
    if whole_row:
        value = torch.cat([edit.value for _, edit in entries])
        value = value[..., : rows.shape[-1]] if value.ndim > 1 else value  # patterns of a shorter run have fewer sources
    else:
        lengths = torch.tensor([len(edit.columns or ()) for _, edit in entries for _ in edit.positions])
        indices = [torch.tensor(index).repeat_interleave(lengths).tolist() for index in indices]
        columns = [column for _, edit in entries for _ in edit.positions for column in edit.columns or ()]
        if whole and rows.ndim > 2:
            indices.append([column // rows.shape[-1] for column in columns])
            columns = [column % rows.shape[-1] for column in columns]
        indices.append(columns)
        value = torch.cat([edit.value.flatten() for _, edit in entries])
    return tuple(torch.tensor(index, device=rows.device) for index in indices), value.to(rows)
