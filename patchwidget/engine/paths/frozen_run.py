"""Path patching, its first half: what arrives at a receiver's input when a sender changes and all other heads are held at the base run.

With every head's output held, nothing crosses positions: a row of the residual stream is changed by its own sender, its norms and its MLPs
alone. So the rows of all senders, at the positions where one changes and a receiver reads, travel as one packed sequence through the
model's own blocks, and no attention is computed: the heads' outputs are written over with the base run's. What the receivers read there
become the edits of the second half, which any executor runs: the base run with these inputs, everything after them recomputed.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from patchwidget.engine.chunking import chunks_of, run_chunks
from patchwidget.engine.edits import Cell, Edit, EditTable
from patchwidget.engine.executors.attention import as_rows
from patchwidget.engine.executors.block_call import call_block, pick_arguments
from patchwidget.engine.recording import Recording
from patchwidget.engine.sites import find_tap
from patchwidget.engine.tap_hooks import on_read, on_write
from patchwidget.models.attention import intercepted
from patchwidget.models.hooks import Hooks
from patchwidget.models.wrapped import WrappedModel

# rule -> the sites held at the base run, but for what senders change of them
FREEZE = {"heads": ("z",), "all": ("z", "mlp_out")}
Edits = tuple[Edit, ...]
Keep = Callable[[str, Tensor], None]


@dataclass(frozen=True)
class Receiver:
    """An input at which paths end.

    Attributes:
        site: q, k, v, k_per_head, v_per_head, resid_post, or mlp_in: the residual stream as the MLP takes it.
        positions: where it is read, and overwritten in the second half.
        index: a head; a key/value head of k and v; None for all, and where there are none.
    """

    site: str
    layer: int
    positions: tuple[int, ...]
    index: int | None = None


@dataclass(frozen=True, eq=False)
class _Traveller:
    """A sender on its way: it joins at `layer`, with the rows of these positions."""

    number: int
    edits: Edits
    layer: int
    positions: tuple[int, ...]


class FrozenRun:
    """Carries changes of a recorded base run to the inputs of receivers.

    Args:
        base: the recording, with the frozen sites in it.
        freeze: a rule of `FREEZE`.
        max_rows: how many rows may travel together.

    Attributes:
        missed: (site, layer) pairs that a sender was to change and that the model never passed.
    """

    def __init__(self, model: WrappedModel, base: Recording, freeze: str, max_rows: int) -> None:
        self.model, self.base, self.frozen, self.max_rows = model, base, FREEZE[freeze], max_rows
        self.missed: set[tuple[str, int]] = set()
        self._all_held = {"z", "mlp_out"} <= set(self.frozen)

    def receive(self, senders: Sequence[Edits], receivers: Sequence[Receiver]) -> list[Edits]:
        """What each sender's change makes of the receivers' inputs.

        Args:
            senders: for each, edits of z, attn_out, mlp_out, resid_pre or resid_mid.

        Returns:
            For each sender the receivers' inputs, as edits of the base run (of mlp_out, for the input of an MLP). None where the change
            does not arrive at all.
        """
        travellers = {t.number: t for t in (_prepare(i, edits, receivers) for i, edits in enumerate(senders)) if t}
        received: dict[int, list[Edit]] = {}

        def walk(numbers: Sequence[int]) -> Tensor:
            received.update(self._walk([travellers[number] for number in numbers], receivers))
            return torch.empty(len(numbers), 0)

        for _ in run_chunks(self._chunks(list(travellers.values())), walk):
            pass
        return [tuple(received.get(number, ())) for number in range(len(senders))]

    def _chunks(self, travellers: Sequence[_Traveller]) -> list[list[int]]:
        """Senders that travel together: neighbours by layer, up to `max_rows` rows."""
        ordered = sorted(travellers, key=lambda traveller: traveller.layer)
        return chunks_of(((traveller.number, len(traveller.positions)) for traveller in ordered), self.max_rows)

    @torch.no_grad()
    def _walk(self, travellers: Sequence[_Traveller], receivers: Sequence[Receiver]) -> dict[int, list[Edit]]:
        """One pass over the layers with these senders; what they make of the receivers' inputs, by number."""
        edits = EditTable((traveller.number, Cell(traveller.edits)) for traveller in travellers)
        joining: dict[int, list[_Traveller]] = defaultdict(list)
        for traveller in travellers:
            joining[traveller.layer].append(traveller)
        rows, received = _Rows(), _Received(receivers, self.model.n_heads // self.model.n_kv_heads)
        hidden = self.base.resid[0][:0]
        with self.model.lock:
            for layer in range(min(joining), max(receiver.layer for receiver in receivers) + 1):
                rows.add(joining[layer])
                entering = self.base.resid[layer][rows.positions[len(hidden) :]]
                hidden = torch.cat([hidden.to(entering.device), entering])
                if ("resid_pre", layer) in edits.places:
                    edits.write(("resid_pre", layer), hidden, rows.of)
                if self._all_held and all(receiver.layer != layer for receiver in receivers):
                    hidden = self._add_held(layer, hidden, rows, edits)
                else:
                    hidden = self._step(layer, hidden, rows, edits, partial(received.keep, layer, rows))
                    received.keep(layer, rows, "resid_post", hidden)
        self.missed |= edits.missed
        return received.edits

    def _add_held(self, layer: int, hidden: Tensor, rows: "_Rows", edits: EditTable) -> Tensor:
        """The rows after a block that adds to each what it adds in the base run; only those are computed that a sender changes there."""
        before, after = (self.base.resid[at][rows.positions].to(hidden.device) for at in (layer, layer + 1))
        changed = _Rows(traveller for traveller in rows.travellers if any(edit.layer == layer for edit in traveller.edits))
        output = after + (hidden - before)  # in this order, no change stays none
        if changed.travellers:
            at = [row for traveller in changed.travellers for row in rows.of(traveller.number, traveller.positions)]
            output[at] = self._step(layer, hidden[at], changed, edits)
        return output

    def _step(self, layer: int, hidden: Tensor, rows: "_Rows", edits: EditTable, keep: Keep | None = None) -> Tensor:
        """Carry rows through one block, with everything held that is to be; `keep` is given what receivers may want."""
        block, positions = self.model.anatomy.blocks[layer], torch.tensor(rows.positions, device=hidden.device)
        args, kwargs = pick_arguments(self.base.calls[layer], positions, self.base.length)

        def attend(own: Any, module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kw: Any) -> Any:
            for site, heads in (("q", query), ("k", key), ("v", value)):
                if keep:
                    keep(site, as_rows(heads))
            return self.base.attention[layer].output[rows.positions][None], None

        with Hooks() as hooks, intercepted(self.model.hf, attend):
            if keep and block.mlp_out is not None:  # read before it is written over
                on_read(hooks, find_tap(self.model, "mlp_out", layer), partial(keep, "mlp_in"))
            for site in {*self.frozen, *(site for site, at in edits.places if at == layer)} - {"resid_pre"}:
                write = partial(self._write, site, layer, rows, edits)
                on_write(hooks, find_tap(self.model, site, layer), write, shared=site == "resid_mid")
            return call_block(block.module, hidden[None], args, kwargs)[0]

    def _write(self, site: str, layer: int, rows: "_Rows", edits: EditTable, target: Tensor) -> None:
        """Hold a site at the base run, and change what senders change of it."""
        if site in self.frozen:
            target.copy_(self.base.at(site, layer)[rows.positions])
        if (site, layer) in edits.places:
            edits.write((site, layer), target, rows.of)


class _Rows:
    """Which row of the packed sequence is whose.

    Attributes:
        positions: for each row, its position in the base run.
    """

    def __init__(self, travellers: Iterable[_Traveller] = ()) -> None:
        self.positions: list[int] = []
        self.travellers: list[_Traveller] = []
        self._places: dict[int, dict[int, int]] = {}
        self.add(travellers)

    def add(self, travellers: Iterable[_Traveller]) -> None:
        for traveller in travellers:
            self._places[traveller.number] = {position: len(self.positions) + i for i, position in enumerate(traveller.positions)}
            self.positions += traveller.positions
            self.travellers.append(traveller)

    def of(self, number: int, positions: Sequence[int]) -> list[int]:
        return [self._places[number][position] for position in positions]


class _Received:
    """What was read at the receivers' inputs, as edits, by the sender's number."""

    def __init__(self, receivers: Sequence[Receiver], heads_per_group: int) -> None:
        self._receivers, self._heads_per_group = receivers, heads_per_group
        self.edits: dict[int, list[Edit]] = defaultdict(list)

    def keep(self, layer: int, rows: _Rows, site: str, values: Tensor) -> None:
        """Keep what receivers of this site want of `values` [rows, ...]."""
        for receiver in self._receivers:
            if receiver.layer == layer and receiver.site.removesuffix("_per_head") == site:
                for traveller in rows.travellers:
                    self.edits[traveller.number].append(self._edit(receiver, traveller, rows, values))

    def _edit(self, receiver: Receiver, traveller: _Traveller, rows: _Rows, values: Tensor) -> Edit:
        positions = tuple(position for position in receiver.positions if position in traveller.positions)
        value = values[rows.of(traveller.number, positions)]
        if receiver.index is not None:
            value = value[:, receiver.index // (self._heads_per_group if receiver.site.endswith("_per_head") else 1)]
        # the input of an MLP, and of nothing else, is changed just as if its output were
        site = "mlp_out" if receiver.site == "mlp_in" else receiver.site
        return Edit(site, receiver.layer, positions, value, receiver.index)


def _prepare(number: int, edits: Edits, receivers: Sequence[Receiver]) -> _Traveller | None:
    """A sender with the rows that count; None if none does.

    Of one receiver, what does not change in it need not be overwritten. Of several, one could change another at any later position, so from
    the first change on all of them are.
    """
    read = {position for receiver in receivers for position in receiver.positions}
    changed = {position for edit in edits for position in edit.positions}
    arrives = read & changed
    rows = sorted(arrives if len(receivers) == 1 else {position for position in read if position >= min(changed)}) if arrives else ()
    kept = [edit for edit in (_at(edit, rows) for edit in edits) if edit.positions]
    return _Traveller(number, tuple(kept), min(edit.layer for edit in kept), tuple(rows)) if kept else None


def _at(edit: Edit, positions: Sequence[int]) -> Edit:
    """The part of an edit at these positions."""
    keep = [i for i, position in enumerate(edit.positions) if position in positions]
    return replace(edit, positions=tuple(edit.positions[i] for i in keep), value=edit.value[keep])
