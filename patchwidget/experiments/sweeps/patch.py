"""Single patches, to be applied together in one run."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from patchwidget.engine.edits import Edit
from patchwidget.engine.sites import MODULE, axis_size, check_site, find_layer, find_site, layers_with
from patchwidget.errors import SiteError
from patchwidget.given import Index, Indices, as_list, checked_index, plain
from patchwidget.models.wrapped import WrappedModel
from patchwidget.public import public

from .sources import Source, Values, as_source


@public
@dataclass(frozen=True, eq=False)
class Patch:
    """One activation, or part of it, to be replaced.

    Several that are applied together and meet in one tensor, whatever they call it (resid_post is the next layer's resid_pre, k_per_head what a
    head sees of k), do so in the order given: the last "replace" holds, and what is added after it is added to that. Else the order is the
    model's own; so it is where one module passes on as it is what another gave, such as an attention what its output projection gave
    ("module:...o_proj" before attn_out).

    Attributes:
        site: where; "module:<path>" for the output of any module, with ".input" behind it for its input.
        layer: which; not needed for a module, whose path says it.
        pos: a position, several (each counts once), or None for all of them; for patterns, destinations.
        head: a head (a key/value head of k and v), several, or None for all.
        neuron: a neuron of mlp_post, several, or None for all.
        src_pos: only these sources of a pattern. Where a destination can't look its pattern stays zero.
        source: with what (see `Experiment.sweep`); None for the other run's activation.
        source_pos: take the source's activations from these positions instead of the same ones; as many as `pos`, or one for all.
        operator: "replace" or "add".

    Negative numbers count from the end, those of positions from that of the prompt that is patched (of `source_pos`: that they are taken from).
    """

    site: str
    layer: Index | None = None
    pos: Indices | None = None
    head: Indices | None = None
    neuron: Indices | None = None
    src_pos: Indices | None = None
    source: Source | None = None
    source_pos: Indices | None = None
    operator: str = "replace"

    def __post_init__(self) -> None:
        for name in ("layer", "pos", "head", "neuron", "src_pos", "source_pos"):
            object.__setattr__(self, name, plain(getattr(self, name)))
        object.__setattr__(self, "source", as_source(self.source))

    def edits(
        self, model: WrappedModel, length: int, values: Values, patchable: Collection[int] | None = None, source_length: int | None = None
    ) -> list[Edit]:
        """The patch as edits of a prompt of this length.

        Args:
            values: what its source puts where.
            patchable: the positions for which the source has something; all of them if None.
            source_length: how many positions `values` has, if not `length`.

        Raises:
            SiteError: it names something that does not exist, or its operator is not known.
        """
        check_operator(self.operator)
        layer = self._layer(model)
        check_site(model, self.site, layer)
        site = find_site(self.site)
        if self.site.startswith(MODULE) and self.neuron is not None:
            site = replace(site, axis="neuron")
        positions = self._positions(length, range(length) if patchable is None else patchable)
        taken = self._source_positions(positions, source_length or length)
        value = values(self.site, layer)[list(taken)]
        columns = self._columns(positions, length)
        chosen, stray = (self.neuron, self.head) if site.axis == "neuron" else (self.head, self.neuron)
        if stray is not None or (chosen is not None and site.axis is None):
            raise SiteError(f"{self.site} is not divided into what the patch names.", "heads: z, q, k, v, pattern; neurons: mlp_post.")
        size = value.shape[-1] if site.axis == "neuron" else axis_size(model, site, layer) or 0
        indices = _several(chosen, size, "Head or neuron", f"{self.site} has")
        if indices is None and self.site.endswith("_per_head"):
            indices = tuple(range(model.n_heads))
        per_group = model.n_heads // model.n_kv_heads if self.site.endswith("_per_head") else 1
        parts = [(None, value)] if indices is None else [(index, value[:, index // per_group]) for index in indices]
        return [Edit(self.site, layer, positions, _columns_of(part, columns), index, columns, self.operator) for index, part in parts]

    def _layer(self, model: WrappedModel) -> int:
        if self.site.startswith(MODULE):
            return layers_with(model, self.site)[0]
        if self.layer is None:
            raise SiteError(f"The patch of {self.site} names no layer.", "Give layer=.")
        return find_layer(model, self.layer)

    def _positions(self, length: int, patchable: Collection[int]) -> tuple[int, ...]:
        named = _several(self.pos, length, "Position", "the prompt has positions")
        if named is None:
            return tuple(position for position in range(length) if position in patchable)
        for position in named:
            if position not in patchable:
                message = f"Position {position} corresponds to no token of the other prompt, so there is nothing to patch it with."
                raise SiteError(message, "Align it by hand (align=), or name a source_pos.")
        return named

    def _source_positions(self, positions: tuple[int, ...], length: int) -> tuple[int, ...]:
        taken = _several(self.source_pos, length, "Source position", "the prompt has positions", repeats=True)
        if taken is None:
            return positions
        if len(taken) not in (1, len(positions)):
            raise SiteError(f"{len(taken)} source positions were given for {len(positions)} positions.", "Give as many, or one for all.")
        return taken if len(taken) == len(positions) else taken * len(positions)

    def _columns(self, positions: tuple[int, ...], length: int) -> tuple[int, ...] | None:
        columns = _several(self.src_pos, length, "Source position", "the prompt has positions")
        if columns is not None and self.site != "pattern":
            raise SiteError(
                f"src_pos belongs to patterns, and the patch is of {self.site}.", "Use source_pos to copy from another position."
            )
        if columns is not None and max(columns) > min(positions):
            raise SiteError(
                f"Position {min(positions)} can't attend to position {max(columns)}, which comes later.", "Choose earlier sources."
            )
        if columns is not None and self.head is None:
            raise SiteError("Single entries of a pattern belong to a head, and none was given.", "Give head=.")
        return columns


def check_operator(operator: str) -> None:
    """Raise SiteError unless patches and sweeps know the operator."""
    if operator not in ("replace", "add"):
        raise SiteError(f"operator={operator!r} is not known.", "Use 'replace' or 'add'.")


def _columns_of(value: Tensor, columns: tuple[int, ...] | None) -> Tensor:
    return value if columns is None else value[:, list(columns)]


def _several(value: int | Sequence[int] | None, size: int, what: str, range_of: str, *, repeats: bool = False) -> tuple[int, ...] | None:
    """The numbers that were given, each once unless it may repeat; None where none were."""
    if value is None:
        return None
    found = tuple(checked_index(item, size, what, range_of) for item in as_list(value))
    if not found:
        raise SiteError(f"{what}: an empty list was given.", "Leave it out to take all.")
    return found if repeats else tuple(dict.fromkeys(found))
