"""The packed executor: every cell computed from where its patch begins, all rows of all cells in one sequence, with no padding.

A patch at (layer l, position p) of a causal model leaves the layers before l and the positions before p as they were. One walk over
the layers carries, for each cell, rows p..T-1 from layer l on; the cells patched at a layer join there. All rows travel as one [1, R, d]
sequence through the model's own blocks, which work row by row but for attention; there each group of cells is given the base run's keys
and values of the positions before p, the base run's mask rows, and the model's own attention function.

A patch behind the attention (z, attn_out, resid_mid, mlp_post, mlp_out) changes no other row of its own block, so in that block only the
patched rows are computed ("thin" groups), on the base run's attention output; the rows after them join one block later. So it is with a
patch of queries or patterns, but that these rows attend anew.
"""

from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from patchwidget.models.attention import intercepted
from patchwidget.models.hooks import Hooks
from patchwidget.models.model import Model
from patchwidget.models.trace import main_tensor

from .access import on_write
from .attention import attend_edited, edit_heads
from .batch import Batch, run_chunks
from .cells import Cell, Edit, EditTable
from .measure import Measure
from .readout import read_logits
from .recording import Recording
from .rows import join_arguments, pick_arguments
from .sites import ATTENTION_SITES, find_site, find_tap


@dataclass(frozen=True, eq=False)
class _Planned:
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
class _Group:
    """Cells of one base that share their positions: `hidden` is [cells, positions, d_model].

    `attends`: to "own" rows (all positions from the first on are here), to the "base" run's keys and values, or "not" at all.
    """

    base: int
    positions: tuple[int, ...]
    attends: str
    numbers: list[int]
    hidden: Tensor

    @property
    def n_rows(self) -> int:
        return len(self.numbers) * len(self.positions)


class PackedExecutor:
    """Runs cells on recorded base runs of one model.

    Args:
        bases: the recordings of the base prompts; cells name them by number.
        measures: one per base.
        max_rows: how many rows may travel together in one walk.

    Attributes:
        missed: (site, layer) pairs that were to be patched and that the model never passed.
    """

    def __init__(self, model: Model, bases: Sequence[Recording], measures: Sequence[Measure], max_rows: int = 512) -> None:
        self.model, self.bases, self.measures, self.max_rows = model, bases, measures, max_rows
        self.missed: set[tuple[str, int]] = set()
        lengths = [base.length for base in bases]
        self._offsets = [0, *accumulate(lengths)]
        self._calls = [join_arguments([base.calls[layer] for base in bases], lengths) for layer in range(model.n_layers)]

    def run(self, cells: Sequence[Cell]) -> Generator[Batch, None, None]:
        """Measure the cells, in batches, in an order that packs well. Between batches nothing is left on the model."""
        planned = {plan.number: plan for plan in (self._plan(number, cell) for number, cell in enumerate(cells))}
        untouched = [number for number, plan in planned.items() if not plan.cell.edits]
        if untouched:
            yield Batch(untouched, self._base_values([planned[number].cell.base for number in untouched]))
        moving = [plan for plan in planned.values() if plan.cell.edits]
        yield from run_chunks(self._chunks(moving), lambda chunk: self._walk([planned[number] for number in chunk]))

    def _plan(self, number: int, cell: Cell) -> _Planned:
        """Where a cell enters. Edits that can't reach the measured position are dropped; one without any is equal to its base."""
        measured, n_layers = self.measures[cell.base].positions, self.model.n_layers
        edits = [_cut(edit, measured, n_layers) for edit in map(_as_block_input, cell.edits)]
        edits = [edit for edit in edits if edit is not None]
        if not edits:
            return _Planned(number, replace(cell, edits=()), n_layers, "block", (), 0)
        layer = min(edit.layer for edit in edits)
        first = [edit for edit in edits if edit.layer == layer]
        reach = {find_site(edit.site).enters for edit in first}
        enters = next(kind for kind in ("block", "attention", "after") if kind in reach)
        entry = tuple(sorted({position for edit in first for position in edit.positions}))
        start = min(min(edit.positions) for edit in edits)
        return _Planned(number, replace(cell, edits=tuple(edits)), layer, enters, entry, start)

    def _chunks(self, plans: Sequence[_Planned]) -> list[list[int]]:
        """Cells that travel together: neighbours by entry layer, since a walk begins at its first cell's layer, up to `max_rows` rows."""
        chunks: list[list[int]] = []
        rows = self.max_rows
        for plan in sorted(plans, key=lambda plan: (plan.layer, plan.cell.base, plan.start)):
            needed = self.measures[plan.cell.base].last + 1 - plan.start
            if rows + needed > self.max_rows:
                chunks.append([])
                rows = 0
            chunks[-1].append(plan.number)
            rows += needed
        return chunks

    def _base_values(self, bases: Sequence[int]) -> Tensor:
        return torch.cat([self.measures[base].of_logits(self.bases[base].logits[None]) for base in bases])

    def _measured_rows(self, group: _Group) -> Tensor:
        """A group's rows at the measured positions, [cells, positions, d_model]; those before its first row are the base run's."""
        before = [position for position in self.measures[group.base].positions if position < group.positions[0]]
        own = [position - group.positions[0] for position in self.measures[group.base].positions if position >= group.positions[0]]
        unchanged = self.bases[group.base].resid[-1][before].expand(len(group.numbers), -1, -1)
        return torch.cat([unchanged.to(group.hidden.device), group.hidden[:, own]], 1)

    @torch.no_grad()
    def _walk(self, plans: Sequence[_Planned]) -> Tensor:
        """One pass over the layers with these cells; their values [cells, metrics] in the order of `plans`."""
        edits = EditTable((plan.number, plan.cell) for plan in plans)
        joining: dict[int, list[_Planned]] = defaultdict(list)
        for plan in plans:
            joining[plan.layer].append(plan)
        live: dict[tuple[int, int], _Group] = {}
        with self.model.lock:
            for layer in range(min(joining), self.model.n_layers):
                self._enter(live, [plan for plan in joining[layer] if not plan.thin], layer)
                thin = self._thin_groups([plan for plan in joining[layer] if plan.thin], layer)
                self._step(layer, [*live.values(), *thin], edits)
                self._widen(live, thin, {plan.number: plan for plan in joining[layer]}, layer + 1)
            self._enter(live, joining[self.model.n_layers], self.model.n_layers)
            self._write(("resid_pre", self.model.n_layers), list(live.values()), edits)
            values = self._read_out(list(live.values()))
        self.missed |= edits.missed
        return torch.stack([values[plan.number] for plan in plans])

    def _enter(self, live: dict[tuple[int, int], _Group], plans: Sequence[_Planned], layer: int) -> None:
        """Whole cells join the group of their base and start, with the base run's rows."""
        by_start: dict[tuple[int, int], list[int]] = defaultdict(list)
        for plan in plans:
            by_start[plan.cell.base, plan.start].append(plan.number)
        for (base, start), numbers in by_start.items():
            rows = self.bases[base].resid[layer][start : self.measures[base].last + 1]
            self._join(live, base, start, numbers, rows.expand(len(numbers), -1, -1))

    def _join(self, live: dict[tuple[int, int], _Group], base: int, start: int, numbers: list[int], hidden: Tensor) -> None:
        group = live.get((base, start))
        if group is None:
            positions = tuple(range(start, self.measures[base].last + 1))
            live[base, start] = _Group(base, positions, "own", list(numbers), hidden)
        else:
            group.numbers += numbers
            group.hidden = torch.cat([group.hidden, hidden.to(group.hidden.device)])

    def _thin_groups(self, plans: Sequence[_Planned], layer: int) -> list[_Group]:
        by_rows: dict[tuple[int, tuple[int, ...], str], list[int]] = defaultdict(list)
        for plan in plans:
            by_rows[plan.cell.base, plan.entry, "base" if plan.enters == "attention" else "not"].append(plan.number)
        return [
            _Group(base, positions, attends, numbers, self.bases[base].resid[layer][list(positions)].expand(len(numbers), -1, -1))
            for (base, positions, attends), numbers in by_rows.items()
        ]

    def _widen(self, live: dict[tuple[int, int], _Group], thin: Sequence[_Group], plans: dict[int, _Planned], layer: int) -> None:
        """After their first block, thin cells go on with every row from their start: the computed ones among the base run's."""
        for group in thin:
            base = self.bases[group.base].resid[layer]
            whole = base[: self.measures[group.base].last + 1].repeat(len(group.numbers), 1, 1)
            whole[:, list(group.positions)] = group.hidden.to(whole.device)
            by_start: dict[int, list[int]] = defaultdict(list)
            for place, number in enumerate(group.numbers):
                by_start[plans[number].start].append(place)
            for start, places in by_start.items():
                self._join(live, group.base, start, [group.numbers[place] for place in places], whole[places, start:])

    def _step(self, layer: int, groups: Sequence[_Group], edits: EditTable) -> None:
        """Carry all groups through one block, in one sequence."""
        model, block = self.model, self.model.anatomy.blocks[layer]
        self._write(("resid_pre", layer), groups, edits)
        hidden = torch.cat([group.hidden.flatten(0, 1).to(groups[0].hidden.device) for group in groups])[None]
        rows = torch.tensor([self._offsets[g.base] + p for g in groups for _ in g.numbers for p in g.positions], device=hidden.device)
        args, kwargs = pick_arguments(self._calls[layer], rows, self._offsets[-1])
        rows_of = _row_numbers(groups)
        with Hooks() as hooks, intercepted(model.hf, lambda *a, **k: self._attend(layer, groups, edits, *a, **k)):
            for place in edits.places:
                if place[1] == layer and place[0] != "resid_pre" and place[0] not in ATTENTION_SITES:
                    on_write(hooks, find_tap(model, *place), partial(edits.write, place, rows_of=rows_of), shared=place[0] == "resid_mid")
            if "hidden_states" in kwargs:
                output = block.module(*args, **{**kwargs, "hidden_states": hidden})
            else:
                output = block.module(hidden, *args[1:], **kwargs)
        after = main_tensor(output)
        if after is None:
            raise LookupError(f"{type(block.module).__name__} returned no tensor")
        for group, part in zip(groups, after[0].split([group.n_rows for group in groups]), strict=True):
            group.hidden = part.unflatten(0, (len(group.numbers), len(group.positions)))

    def _write(self, place: tuple[str, int], groups: Sequence[_Group], edits: EditTable) -> None:
        """Write edits of the residual stream before a block straight into the groups' rows."""
        if place not in edits.places:
            return
        rows = torch.cat([group.hidden.flatten(0, 1) for group in groups])
        edits.write(place, rows, _row_numbers(groups))
        for group, part in zip(groups, rows.split([group.n_rows for group in groups]), strict=True):
            group.hidden = part.unflatten(0, (len(group.numbers), len(group.positions)))

    def _attend(
        self, layer: int, groups: Sequence[_Group], edits: EditTable, own: Any, module: Any, *qkv_mask: Tensor | None, **kw: Any
    ) -> tuple[Tensor, None]:
        """The attention of one block: each group by itself, on the base run's keys and values before its rows."""
        rows_of = _row_numbers(groups)
        query, key, value = (edit_heads(edits, site, layer, x, rows_of) for site, x in zip("qkv", qkv_mask, strict=False) if x is not None)
        outputs: list[Tensor] = []
        offset = 0
        for group in groups:
            record, n = self.bases[group.base].attention[layer], len(group.numbers)
            if group.attends == "not":
                outputs.append(record.output[list(group.positions)].repeat(n, 1, 1))
            else:
                q, k, v = (_unpack(x, offset, n, len(group.positions)) for x in (query, key, value))
                k, v = (_on_base(base, own_rows, group) for base, own_rows in [(record.key, k), (record.value, v)])
                mask = None if record.mask is None else record.mask[:, :, list(group.positions), : k.shape[2]]
                attend = partial(_attend_with, own, module, mask, kw)
                output = attend_edited(attend, q, k, v, edits, layer, group.numbers, _row_numbers([group]))
                outputs.append(output.flatten(0, 1))
            offset += group.n_rows
        return torch.cat(outputs)[None], None

    def _read_out(self, groups: Sequence[_Group]) -> dict[int, Tensor]:
        """Each cell's metrics, by its number."""
        values: dict[int, Tensor] = {}
        for base in {group.base for group in groups}:
            chosen = [group for group in groups if group.base == base]
            numbers = [number for group in chosen for number in group.numbers]
            rows = torch.cat([self._measured_rows(group) for group in chosen])
            logits = read_logits(self.model, rows.flatten(0, 1), self.measures[base].tokens).unflatten(0, rows.shape[:2])
            values.update(zip(numbers, self.measures[base].of(logits).float().cpu(), strict=True))
        return values


def _as_block_input(edit: Edit) -> Edit:
    """The residual stream leaving a block is the one that enters the next."""
    return replace(edit, site="resid_pre", layer=edit.layer + 1) if edit.site == "resid_post" else edit


def _cut(edit: Edit, measured: tuple[int, ...], n_layers: int) -> Edit | None:
    """The part of an edit that can reach the measured positions: nothing after them, and where no attention follows only their rows."""
    last = edit.layer == n_layers or (edit.layer == n_layers - 1 and find_site(edit.site).enters != "block")
    keep = [i for i, p in enumerate(edit.positions) if p in measured or (p < measured[-1] and not last)]
    if len(keep) == len(edit.positions):
        return edit
    return replace(edit, positions=tuple(edit.positions[i] for i in keep), value=edit.value[keep]) if keep else None


def _row_numbers(groups: Sequence[_Group]) -> Any:
    """A function (cell number, positions) -> rows of the packed sequence."""
    first: dict[int, int] = {}
    places: dict[int, dict[int, int]] = {}
    offset = 0
    for group in groups:
        place = {position: i for i, position in enumerate(group.positions)}
        for number in group.numbers:
            first[number], places[number] = offset, place
            offset += len(group.positions)
    return lambda number, positions: [first[number] + places[number][position] for position in positions]


def _unpack(packed: Tensor, offset: int, n: int, length: int) -> Tensor:
    """One group's rows out of the packed heads [1, H, R, d], as [n, H, length, d]."""
    return packed[0, :, offset : offset + n * length].unflatten(1, (n, length)).transpose(0, 1)


def _on_base(base: Tensor, own: Tensor, group: _Group) -> Tensor:
    """The keys or values that a group attends to: the base run's [1, Hkv, T, d] before its own rows, or the base run's alone."""
    whole = base.expand(len(group.numbers), -1, -1, -1)
    if group.attends == "base":
        return whole[:, :, : group.positions[-1] + 1]
    return torch.cat([whole[:, :, : group.positions[0]], own], 2)


def _attend_with(own: Any, module: Any, mask: Tensor | None, kw: dict[str, Any], query: Tensor, key: Tensor, value: Tensor) -> Any:
    return own(module, query, key, value, mask, **kw)
