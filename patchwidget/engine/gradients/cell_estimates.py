"""Estimates of cells from gradients: each edit's change of an activation times the metric's gradient there, summed over a cell's edits."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from patchwidget.engine.edits import ALONG, Cell, Edit, moved_along
from patchwidget.models.wrapped import WrappedModel

from .backward import SiteGradients
from .capture import ATTENDED, Place
from .qk_fix import change_by_keys, change_by_queries

_STREAM = frozenset({"resid_pre", "resid_mid", "resid_post"})
_QUERIES_AND_KEYS = frozenset({"q", "k", "k_per_head"})
Numbered = tuple[int, Edit]  # an edit with the number of its cell


class CellEstimates:
    """Adds up what gradients say of cells.

    Args:
        cells: of one base run. What they put at one place is the same in each of them, as it is in a sweep.
        own: (site, layer) -> the base run's activation there, [T, ...].
        qk_fix: take queries and keys through the pattern that they give, computed anew.
        drop: the gradients come with variants, each with one layer dropped.
    """

    def __init__(self, model: WrappedModel, cells: Sequence[Cell], own: Callable[[str, int], Tensor], *, qk_fix: bool, drop: bool) -> None:
        self.model, self.own, self.qk_fix = model, own, qk_fix
        self.n_variants = model.n_layers if drop else 1
        self._edits: dict[Place, list[Numbered]] = defaultdict(list)
        for number, cell in enumerate(cells):
            for edit in cell.edits:
                self._edits[edit.site, edit.layer].append((number, edit))
        self._n_cells, self._total = len(cells), torch.empty(0)
        in_stream = [all(edit.site in _STREAM for edit in cell.edits) for cell in cells]
        self._n_dropped = torch.tensor([self.n_variants - (not stream) for stream in in_stream])

    @property
    def places(self) -> list[Place]:
        """Where gradients are needed."""
        return [self._where(place) for place in self._edits]

    def add(self, found: SiteGradients, weight: float = 1.0) -> None:
        """Count in the gradients at one place."""
        for place, edits in self._edits.items():
            if self._where(place) == found.place:
                parts = self._through_pattern(place, edits, found) if place != found.place else self._linear(place, edits, found.gradient)
                for cells, change in parts:
                    self._count(place[1], cells, weight * change)

    def totals(self) -> Tensor:
        """The estimated change of each metric, float32 [metrics, cells]."""
        if self.n_variants == 1:
            return self._total[:, 0]
        size = self._total.abs().sum(1) / self._n_dropped
        return torch.where(self._total.sum(1) < 0, -size, size)

    def _where(self, place: Place) -> Place:
        return (ATTENDED, place[1]) if self.qk_fix and place[0] in _QUERIES_AND_KEYS else place

    def _count(self, layer: int, cells: Tensor, change: Tensor) -> None:
        """Add changes [metrics, variants, n] to the cells they belong to; the first variant stands for all layers below."""
        if self._total.numel() == 0:
            self._total = torch.zeros(change.shape[0], self.n_variants, self._n_cells)
        if self.n_variants > 1:
            change = torch.cat([change[:, :1].expand(-1, layer, -1), change[:, 1:]], 1)
        self._total.index_add_(2, cells, change.cpu())

    def _linear(self, place: Place, edits: Sequence[Numbered], gradient: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
        """Change of the activation times gradient, row by row of the edits: their cells [n] and changes [metrics, variants, n]."""
        own = self.own(*place)
        if place[0].endswith("_per_head"):
            own = own.repeat_interleave(self.model.n_heads // own.shape[1], 1)
        for chosen in _by_kind(edits):
            rows, columns = _rows(chosen, own.device), chosen[0][1].columns
            before, slope = own[rows].float(), gradient[:, :, *rows]
            if columns is not None:
                before, slope = before[..., list(columns)], slope[..., list(columns)]
            change = slope * _step(chosen, before)
            yield _cells_of_rows(chosen), change.flatten(3).sum(-1) if change.ndim > 3 else change

    def _through_pattern(self, place: Place, edits: Sequence[Numbered], found: SiteGradients) -> Iterable[tuple[Tensor, Tensor]]:
        """The same for queries and keys, by the change of the heads' outputs [T, H, d_head] times the gradient there."""
        if found.attention is None:
            raise LookupError(f"no attention was seen in layer {place[1]}")
        per_group = self.model.n_heads // self.model.n_kv_heads
        new = self._written(place, edits, per_group)
        if place[0] == "q":
            by_row = torch.einsum("mvthd,thd->mvth", found.gradient, change_by_queries(found.attention, new))
            for chosen in _by_kind(edits):
                change = by_row[:, :, *_rows(chosen, new.device)]
                yield _cells_of_rows(chosen), change if chosen[0][1].index is not None else change.sum(-1)
            return
        groups = list(dict.fromkeys(edit.positions for _, edit in edits))
        changes = change_by_keys(found.attention, new, groups)
        by_group = torch.stack([torch.einsum("mvthd,thd->mvh", found.gradient, change) for change in changes], 2)
        if place[0] == "k":
            by_group = by_group.unflatten(-1, (-1, per_group)).sum(-1)
        number_of, heads = {positions: i for i, positions in enumerate(groups)}, range(by_group.shape[-1])
        entries = [(n, number_of[edit.positions], head) for n, edit in edits for head in (heads if edit.index is None else [edit.index])]
        cells, group, head = (torch.tensor(column) for column in zip(*entries, strict=True))
        yield cells, by_group[:, :, group, head]

    def _written(self, place: Place, edits: Sequence[Numbered], per_group: int) -> Tensor:
        """The site's activations [T, heads, d_head] with all edits in them; keys as query heads see them are those of their key/value head."""
        new = self.own(*place).clone()
        for number, edit in edits:
            index = None if edit.index is None else edit.index // (per_group if place[0] == "k_per_head" else 1)
            rows = _rows([(number, replace(edit, index=index))], new.device)
            before = self.own(*place)[rows].float()
            new[rows] = (before + _step([(number, edit)], before)).to(new)
        return new


def _by_kind(edits: Iterable[Numbered]) -> list[list[Numbered]]:
    """Edits that can be looked at together: of whole vectors or of parts, of the same columns, with the same operator."""
    alike: dict[tuple[bool, tuple[int, ...] | None, str], list[Numbered]] = defaultdict(list)
    for number, edit in edits:
        alike[edit.index is None, edit.columns, edit.operator].append((number, edit))
    return list(alike.values())


def _rows(edits: Sequence[Numbered], device: torch.device) -> tuple[Tensor, ...]:
    """Where the rows of edits of one kind are in their site's activations."""
    positions = torch.tensor([position for _, edit in edits for position in edit.positions], device=device)
    if edits[0][1].index is None:
        return (positions,)
    return positions, torch.tensor([edit.index or 0 for _, edit in edits for _ in edit.positions], device=device)


def _cells_of_rows(edits: Sequence[Numbered]) -> Tensor:
    return torch.tensor([number for number, edit in edits for _ in edit.positions])


def _step(edits: Sequence[Numbered], before: Tensor) -> Tensor:
    """How far edits of one kind move their rows, given these in float32."""
    operator = edits[0][1].operator
    value = torch.cat([edit.value for _, edit in edits]).to(before)
    if value.ndim > 1:
        value = value[..., : before.shape[-1]]  # patterns of a shorter run have fewer sources
    if operator == "add":
        return value
    if operator in ALONG:
        strengths = torch.tensor([edit.strength for _, edit in edits for _ in edit.positions], device=before.device)
        return moved_along(operator, before, value, strengths) - before
    return value - before
