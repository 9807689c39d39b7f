"""One tensor, one name: edits of one tensor meet, whatever the tensor was called.

The residual stream leaving a block is the one that enters the next; a module named by its path may be where a site is; and the keys and values
of a group are what each of its query heads sees.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import cached_property

from torch import Tensor, nn

from patchwidget.errors import SiteError
from patchwidget.models.trace import Trace
from patchwidget.models.wrapped import WrappedModel

from .edits import Cell, Edit
from .sites import MODULE, SITES, Tap, find_tap

Place = tuple[str, int]
Address = tuple[int, int]
# sites that are a module's input or output and nothing else; what is written at resid_mid changes the stream beside the module too
_AT_MODULES = ("resid_pre", "resid_post", "attn_out", "mlp_out", "z", "mlp_post")
# sites that in a cell of such sites alone are what their tensors are called
_ONLY_NAMES = frozenset(SITES) - {"resid_post", "k_per_head", "v_per_head"}


class Names:
    """What the tensors of a model are called in its cells."""

    def __init__(self, model: WrappedModel) -> None:
        self.model = model
        self._places: dict[Place, Place] = {}
        self._given: dict[Place, set[Place]] = defaultdict(set)  # by the tensor's name, the others that were given for it

    def cell(self, cell: Cell) -> Cell:
        """The same cell, with one name for each tensor."""
        if all(edit.site in _ONLY_NAMES for edit in cell.edits):
            return cell
        edits = [self.edit(edit) for edit in cell.edits]
        viewed = {(edit.site.removesuffix("_per_head"), edit.layer) for edit in edits if edit.site.endswith("_per_head")}
        if viewed:
            edits = [part for edit in edits for part in (self.views(edit) if edit.place in viewed else [edit])]
        return replace(cell, edits=tuple(edits))

    def edit(self, edit: Edit) -> Edit:
        """The same edit under its tensor's name: that of a site where there is one; of the residual stream after the last block, "resid_pre" of
        the layer that would follow."""
        named = self._at_site(edit) if edit.site.startswith(MODULE) else edit
        site, layer = _entering(named.place)
        if site != named.site:
            named = replace(named, site=site, layer=layer)
        if named.place != edit.place:
            self._given[named.place].add(edit.place)
        return named

    def as_given(self, places: Iterable[Place]) -> set[Place]:
        """Places of cells that went through here, under the names that they came with."""
        return {given for place in places for given in self._given.get(place, {place})}

    def views(self, edit: Edit) -> list[Edit]:
        """An edit of keys or values as one of each query head that sees them."""
        per_group = self.model.n_heads // self.model.n_kv_heads
        groups = range(self.model.n_kv_heads) if edit.index is None else [edit.index]
        return [
            replace(edit, site=f"{edit.site}_per_head", index=head, value=edit.value[:, group] if edit.index is None else edit.value)
            for group in groups
            for head in range(group * per_group, (group + 1) * per_group)
        ]

    def tensor(self, edit: Edit) -> Hashable:
        """What is equal for edits of one tensor, their names being those that `edit` gives; also where several modules pass it on as it is, as an
        attention gives what its output projection gave."""
        if not edit.site.startswith(MODULE):
            return edit.place
        tap = find_tap(self.model, *edit.place)
        at = tap.module, tap.side
        if at in self._mid or at not in self._addresses:
            return self._mid.get(at, at)
        return self._sites_by_address.get(self._addresses[at], self._addresses[at])

    def _at_site(self, edit: Edit) -> Edit:
        """The edit of a module's input or output as one of the site that is there, if there is one."""
        if edit.place not in self._places:
            tap = find_tap(self.model, *edit.place)
            self._places[edit.place] = self._sites.get((tap.module, tap.side), edit.place)
        site, layer = self._places[edit.place]
        if site == "z" and edit.index is None:
            edit = replace(edit, value=edit.value.unflatten(-1, (self.model.n_heads, -1)))
        elif site == "z":  # an element of all heads' outputs side by side
            edit = replace(edit, index=None, columns=(edit.index,), value=edit.value[:, None])
        return replace(edit, site=site, layer=layer)

    @cached_property
    def _sites(self) -> dict[tuple[nn.Module, str], Place]:
        """The sites that are some module's input or output, by that."""
        found: dict[tuple[nn.Module, str], Place] = {}
        for layer in range(self.model.n_layers if self.model.has_blocks else 0):
            for site in _AT_MODULES:
                with suppress(SiteError):
                    tap = find_tap(self.model, site, layer)
                    found.setdefault((tap.module, tap.side), (site, layer))
        return found

    @cached_property
    def _mid(self) -> dict[tuple[nn.Module, str], Place]:
        blocks = self.model.anatomy.blocks if self.model.has_blocks else ()
        return {(block.mid, "input"): ("resid_mid", layer) for layer, block in enumerate(blocks) if block.mid is not None}

    @cached_property
    def _trace(self) -> Trace:
        return self.model.trace() if self.model.has_blocks else Trace([], [])

    @cached_property
    def _addresses(self) -> dict[tuple[nn.Module, str], Address]:
        """Where the inputs and outputs of modules lie in memory in one forward, which keeps all of them."""
        sides = ((call.module, side, getattr(call, side)) for call in self._trace.calls for side in ("input", "output"))
        return {(module, side): _address(tensor) for module, side, tensor in sides if tensor is not None}

    @cached_property
    def _sites_by_address(self) -> dict[Address, Place]:
        found = {self._addresses[at]: _entering(place) for at, place in self._sites.items() if at in self._addresses}
        layers = {block.attention: layer for layer, block in enumerate(self.model.anatomy.blocks)} if self.model.has_blocks else {}
        return found | {_address(one.value): ("v_per_head", layers[one.module]) for one in self._trace.attended if one.module in layers}


def _entering(place: Place) -> Place:
    """Of the residual stream leaving a block its name where it enters the next."""
    site, layer = place
    return ("resid_pre", layer + 1) if site == "resid_post" else place


def _address(tensor: Tensor) -> Address:
    return tensor.data_ptr(), tensor.numel()


def written_at(model: WrappedModel, site: str, layer: int) -> Tap:
    """Where a tensor of this name is in the model."""
    if site == "resid_pre" and layer == model.n_layers:
        return find_tap(model, "resid_post", layer - 1)
    return find_tap(model, site, layer)
