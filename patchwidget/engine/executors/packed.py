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
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from patchwidget.engine.chunking import Batch, chunks_of, run_chunks
from patchwidget.engine.edits import Cell, EditTable
from patchwidget.engine.measure import Measure
from patchwidget.engine.names import Names
from patchwidget.engine.recording import Recording
from patchwidget.engine.sites import ATTENTION_SITES, MODULE
from patchwidget.engine.tap_hooks import on_edits
from patchwidget.engine.unembed import read_logits
from patchwidget.models.attention import intercepted
from patchwidget.models.hooks import Hooks
from patchwidget.models.wrapped import WrappedModel

from .attention import attend_edited, edit_heads
from .block_call import call_block, join_arguments, pick_arguments
from .packing import Group, Planned, pack, plan_cell, row_numbers, take_back


class PackedExecutor:
    """Runs cells on recorded base runs of one model.

    Args:
        bases: the recordings of the base prompts; cells name them by number.
        measures: one per base.
        max_rows: how many rows may travel together in one walk.

    Attributes:
        missed: (site, layer) pairs that were to be patched and that the model never passed.
    """

    def __init__(self, model: WrappedModel, bases: Sequence[Recording], measures: Sequence[Measure], max_rows: int) -> None:
        self.model, self.bases, self.measures, self.max_rows = model, bases, measures, max_rows
        self.missed: set[tuple[str, int]] = set()
        self._names = Names(model)
        lengths = [base.length for base in bases]
        self._offsets = [0, *accumulate(lengths)]
        self._calls = [join_arguments([base.calls[layer] for base in bases], lengths) for layer in range(model.n_layers)]

    def run(self, cells: Sequence[Cell]) -> Generator[Batch, None, None]:
        """Measure the cells, in batches, in an order that packs well. Between batches nothing is left on the model."""
        n_layers, named = self.model.n_layers, map(self._names.cell, cells)
        planned = [plan_cell(number, cell, self.measures[cell.base].positions, n_layers) for number, cell in enumerate(named)]
        untouched = [plan.number for plan in planned if not plan.cell.edits]
        if untouched:
            yield Batch(untouched, self._base_values([planned[number].cell.base for number in untouched]))
        moving = [plan for plan in planned if plan.cell.edits]
        yield from run_chunks(self._chunks(moving), lambda chunk: self._walk([planned[number] for number in chunk]))

    def _chunks(self, plans: Sequence[Planned]) -> list[list[int]]:
        """Cells that travel together: neighbours by entry layer, since a walk begins at its first cell's layer, up to the rows allowed."""
        ordered = sorted(plans, key=lambda plan: (plan.layer, plan.cell.base, plan.start))
        return chunks_of(((plan.number, self.measures[plan.cell.base].last + 1 - plan.start) for plan in ordered), self.max_rows)

    def _base_values(self, bases: Sequence[int]) -> Tensor:
        return torch.cat([self.measures[base].of_logits(self.bases[base].logits[None]) for base in bases])

    @torch.no_grad()
    def _walk(self, plans: Sequence[Planned]) -> Tensor:
        """One pass over the layers with these cells; their values [cells, metrics] in the order of `plans`."""
        edits = EditTable((plan.number, plan.cell) for plan in plans)
        joining: dict[int, list[Planned]] = defaultdict(list)
        for plan in plans:
            joining[plan.layer].append(plan)
        end = self.model.n_layers
        live: dict[tuple[int, int], Group] = {}
        thin: list[Group] = []
        with self.model.lock:
            for layer in range(min(joining), end):
                self._enter(live, [plan for plan in joining[layer] if not plan.thin], layer)
                thin = self._thin_groups([plan for plan in joining[layer] if plan.thin], layer)
                self._write(("resid_pre", layer), list(live.values()), edits)
                if layer == end - 1:
                    self._leave_only_measured_rows(layer, list(live.values()), edits)
                self._step(layer, [*live.values(), *thin], edits)
                if layer < end - 1:
                    self._widen(live, thin, {plan.number: plan for plan in joining[layer]}, layer + 1)
            last = [*live.values(), *thin, *self._thin_groups(joining[end], end)]
            self._write(("resid_pre", end), last, edits)
            values = self._read_out(last)
        self.missed |= self._names.as_given(edits.missed)
        return torch.stack([values[plan.number] for plan in plans])

    def _enter(self, live: dict[tuple[int, int], Group], plans: Sequence[Planned], layer: int) -> None:
        """Whole cells join the group of their base and start, with the base run's rows."""
        by_start: dict[tuple[int, int], list[int]] = defaultdict(list)
        for plan in plans:
            by_start[plan.cell.base, plan.start].append(plan.number)
        for (base, start), numbers in by_start.items():
            rows = self.bases[base].resid[layer][start : self.measures[base].last + 1]
            self._join(live, base, start, numbers, rows.expand(len(numbers), -1, -1))

    def _join(self, live: dict[tuple[int, int], Group], base: int, start: int, numbers: list[int], hidden: Tensor) -> None:
        group = live.get((base, start))
        if group is None:
            positions = tuple(range(start, self.measures[base].last + 1))
            live[base, start] = Group(base, positions, "own", list(numbers), hidden)
        else:
            group.numbers += numbers
            group.hidden = torch.cat([group.hidden, hidden.to(group.hidden.device)])

    def _thin_groups(self, plans: Sequence[Planned], layer: int) -> list[Group]:
        by_rows: dict[tuple[int, tuple[int, ...], str], list[int]] = defaultdict(list)
        for plan in plans:
            by_rows[plan.cell.base, plan.entry, "base" if plan.enters == "attention" else "not"].append(plan.number)
        return [
            Group(base, positions, attends, numbers, self.bases[base].resid[layer][list(positions)].expand(len(numbers), -1, -1))
            for (base, positions, attends), numbers in by_rows.items()
        ]

    def _widen(self, live: dict[tuple[int, int], Group], thin: Sequence[Group], plans: dict[int, Planned], layer: int) -> None:
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

    def _leave_only_measured_rows(self, layer: int, groups: Sequence[Group], edits: EditTable) -> None:
        """Take the keys and values of all rows of the last block, and keep the rows that are measured."""
        if not groups or any(place[1] == layer and place[0].startswith(MODULE) for place in edits.places):
            return  # a module's own edits may be of any row
        groups = [group for group in groups if set(group.positions) - set(self.measures[group.base].positions)]
        if not groups:
            return

        def attend(own: Any, module: Any, query: Tensor, key: Tensor, value: Tensor, *_: Any, **kw: Any) -> Any:
            rows_of, offset = row_numbers(groups), 0
            heads = [edit_heads(edits, site, layer, x, rows_of, _numbers(groups)) for site, x in [("k", key), ("v", value)]]
            for group in groups:
                record = self.bases[group.base].attention[layer]
                own_rows = [group.unpack(x, offset) for x in heads]
                group.given = (group.on_base(record.key, own_rows[0]), group.on_base(record.value, own_rows[1]))
                offset += group.n_rows
            raise _Reached

        with suppress(_Reached):
            self._call(layer, groups, attend)
        for group in groups:
            own = [i for i, position in enumerate(group.positions) if position in self.measures[group.base].positions]
            group.positions, group.hidden = tuple(group.positions[i] for i in own), group.hidden[:, own]

    def _step(self, layer: int, groups: Sequence[Group], edits: EditTable) -> None:
        """Carry all groups through one block, in one sequence."""
        with Hooks() as hooks:
            inside = [place for place in edits.places if place[1] == layer and place[0] != "resid_pre" and place[0] not in ATTENTION_SITES]
            on_edits(hooks, self.model, edits, inside, row_numbers(groups))
            take_back(groups, self._call(layer, groups, partial(self._attend, layer, groups, edits)))

    def _call(self, layer: int, groups: Sequence[Group], attend: Callable[..., Any]) -> Tensor:
        """The block's output for the groups' rows in one sequence, [R, d_model], with this attention."""
        module, hidden = self.model.anatomy.blocks[layer].module, pack(groups)[None]
        rows = torch.tensor([self._offsets[g.base] + p for g in groups for _ in g.numbers for p in g.positions], device=hidden.device)
        args, kwargs = pick_arguments(self._calls[layer], rows, self._offsets[-1])
        with intercepted(module, attend):
            return call_block(module, hidden, args, kwargs)[0]

    def _write(self, place: tuple[str, int], groups: Sequence[Group], edits: EditTable) -> None:
        """Write edits of the residual stream before a block straight into the groups' rows."""
        if place in edits.places:
            rows = pack(groups)
            edits.write(place, rows, row_numbers(groups))
            take_back(groups, rows)

    def _attend(
        self,
        layer: int,
        groups: Sequence[Group],
        edits: EditTable,
        own: Any,
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *_: Any,
        **kw: Any,
    ) -> tuple[Tensor, None]:
        """The attention of one block: each group by itself, on the base run's keys and values before its rows."""
        rows_of, on_own = row_numbers(groups), _numbers(group for group in groups if not group.given)
        query = edit_heads(edits, "q", layer, query, rows_of)
        key, value = (edit_heads(edits, site, layer, x, rows_of, on_own) for site, x in [("k", key), ("v", value)])
        outputs: list[Tensor] = []
        offset = 0
        for group in groups:
            record, n = self.bases[group.base].attention[layer], len(group.numbers)
            if group.attends == "not":
                outputs.append(record.output[list(group.positions)].repeat(n, 1, 1))
            else:
                k, v = group.given or (group.on_base(b, group.unpack(x, offset)) for b, x in [(record.key, key), (record.value, value)])
                mask = None if record.mask is None else record.mask[:, :, list(group.positions), : k.shape[2]]
                attend = partial(_attend_with, own, module, mask, kw)
                output = attend_edited(attend, group.unpack(query, offset), k, v, mask, edits, layer, group.numbers, row_numbers([group]))
                outputs.append(output.flatten(0, 1))
            offset += group.n_rows
        return torch.cat(outputs)[None], None

    def _read_out(self, groups: Sequence[Group]) -> dict[int, Tensor]:
        """Each cell's metrics, by its number."""
        values: dict[int, Tensor] = {}
        for base in {group.base for group in groups}:
            chosen = [group for group in groups if group.base == base]
            numbers = [number for group in chosen for number in group.numbers]
            rows = torch.cat([self._measured_rows(group) for group in chosen])
            logits = read_logits(self.model, rows.flatten(0, 1), self.measures[base].tokens).unflatten(0, rows.shape[:2])
            values.update(zip(numbers, self.measures[base].of(logits).float().cpu(), strict=True))
        return values

    def _measured_rows(self, group: Group) -> Tensor:
        """A group's rows at the measured positions, [cells, positions, d_model]; those that it does not have are the base run's."""
        measured = self.measures[group.base].positions
        rows = self.bases[group.base].resid[-1][list(measured)].to(group.hidden.device).repeat(len(group.numbers), 1, 1)
        here = [position for position in measured if position in group.positions]
        rows[:, [measured.index(position) for position in here]] = group.hidden[:, [group.positions.index(position) for position in here]]
        return rows


class _Reached(Exception):  # noqa: N818  (not an error)
    """The block's attention has been reached, and the rest of the block is not needed."""


def _numbers(groups: Iterable[Group]) -> list[int]:
    return [number for group in groups for number in group.numbers]


def _attend_with(own: Any, module: Any, mask: Tensor | None, kw: dict[str, Any], query: Tensor, key: Tensor, value: Tensor) -> Any:
    return own(module, query, key, value, mask, **kw)
