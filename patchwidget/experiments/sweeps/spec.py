"""Which cells a sweep consists of: the axes that were asked for, and the edits of each point."""

import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from patchwidget.engine.edits import Edit
from patchwidget.engine.sites import MODULE, Site, axis_size, check_site, find_site, layers_with
from patchwidget.errors import SiteError
from patchwidget.given import Index, Indices, checked_index, whole
from patchwidget.models.wrapped import WrappedModel

from .patch import check_operator
from .sources import Values

Positions = str | Index | Iterable[Index | Indices | str]
Choices = Index | Iterable[Index | Indices]


@dataclass(frozen=True)
class Plan:
    """The axes of a sweep; a cell is one point of their product.

    Attributes:
        dims: the names of the axes, in order.
        choices: for each axis what is patched at each of its places: one layer, position, head..., or several together. Positions that count
            from the end are other ones in each prompt where these are of unequal length, and stay negative there.
        together: the positions patched at once in each cell; () for all of them, None where positions are an axis.
        window: how many layers around each one are patched at once.
    """

    model: WrappedModel
    site: Site
    dims: tuple[str, ...]
    choices: dict[str, list[tuple[int, ...]]]
    together: tuple[int, ...] | None
    window: int
    operator: str

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(self.choices[dim]) for dim in self.dims)

    @property
    def coords(self) -> dict[str, list[Any]]:
        """The axes' labels: numbers, or "3+5" where several are patched together."""
        return {dim: [x[0] if len(x) == 1 else "+".join(map(str, x)) for x in self.choices[dim]] for dim in self.dims}

    def points(self) -> list[dict[str, tuple[int, ...]]]:
        """Every point, in C order of `shape`."""
        return [dict(zip(self.dims, values, strict=True)) for values in product(*(self.choices[dim] for dim in self.dims))]

    def in_prompt(
        self, point: dict[str, tuple[Any, ...]], length: int, positions_of: Callable[[str], tuple[int, ...]]
    ) -> dict[str, tuple[int, ...]]:
        """The point with the positions that it has in one prompt of this length: of its roles (they may be none), and from the end."""
        name = "dest_pos" if self.site.name == "pattern" else "pos"
        if "role" in point:
            return {**point, name: tuple(position for role in point["role"] for position in positions_of(role))}
        named = self.together or point.get(name)
        return point if named is None else {**point, name: tuple(dict.fromkeys(p + length if p < 0 else p for p in named))}

    def fits(self, place: dict[str, tuple[int, ...]], length: int, patchable: Collection[int]) -> bool:
        """Whether a prompt of this length has the positions of a point (as `in_prompt` gives it), and the source has something for them."""
        named = [place[dim] for dim in ("pos", "dest_pos", "src_pos") if dim in place] or [tuple(range(length))]
        return all(
            several and min(several) >= 0 and max(several) < length and any(position in patchable for position in several)
            for several in named
        )

    def edits(
        self,
        place: dict[str, tuple[int, ...]],
        values: Values,
        unchanged_before: int,
        length: int,
        patchable: Collection[int] | None = None,
    ) -> tuple[Edit, ...]:
        """The edits of one point.

        Args:
            place: the point, as `in_prompt` gives it.
            values: what to put where.
            unchanged_before: positions before it have the same activation in both runs, so that patching them does nothing.
            length: of the prompt.
            patchable: the positions for which the source has something; all of them if None.
        """
        positions = place.get("dest_pos" if self.site.name == "pattern" else "pos", tuple(range(length)))
        positions = tuple(p for p in positions if p >= unchanged_before and (patchable is None or p in patchable))
        columns = place.get("src_pos")
        if not positions or (columns and min(columns) > max(positions)):  # a position never attends to later ones
            return ()
        layers, indices = self._layers(place), self._indices(place)
        return tuple(self._edit(layer, positions, index, columns, values) for layer in layers for index in indices)

    def _edit(self, layer: int, positions: tuple[int, ...], index: int | None, columns: tuple[int, ...] | None, values: Values) -> Edit:
        value = values(self.site.name, layer)[list(positions)]
        if index is not None:
            if self.site.axis == "neuron":  # of a module it is known only now how many it has
                index = checked_index(index, value.shape[1], "Neuron", f"{self.site.name} has")
            per_group = self.model.n_heads // self.model.n_kv_heads if self.site.name.endswith("_per_head") else 1
            value = value[:, index // per_group]
        if columns is not None:
            value = value[:, list(columns)]
        return Edit(self.site.name, layer, positions, value, index, columns, self.operator)

    def _indices(self, point: dict[str, tuple[int, ...]]) -> Sequence[int | None]:
        """Which heads or neurons; all of them together are the whole vector, which is one edit instead of many."""
        chosen = point.get(self.site.axis or "", ())
        if len(chosen) > 1 and "layer" in point and "src_pos" not in point and not self.site.name.endswith("_per_head"):
            every = axis_size(self.model, self.site, point["layer"][0])
            return (None,) if len(set(chosen)) == every else chosen
        return chosen or (None,)

    def _layers(self, point: dict[str, tuple[int, ...]]) -> Iterable[int]:
        if "layer" not in point:
            return layers_with(self.model, self.site.name)
        if self.window == 1:
            return point["layer"]
        (center,) = point["layer"]
        return range(max(0, center - self.window // 2), min(self.model.n_layers, center + (self.window + 1) // 2))


def make_plan(
    model: WrappedModel,
    site: str,
    lengths: Sequence[int],
    *,
    layers: list | None = None,
    positions: Any = "each",
    heads: list | None = None,
    neurons: list | None = None,
    window: Any = 1,
    operator: str = "replace",
    roles: Sequence[str] = (),
) -> Plan:
    """Check what was asked for and lay out its axes.

    Args:
        lengths: of the prompts.
        layers, positions, heads, neurons: as in `Experiment.sweep`, in plain Python.
        roles: those that any of the prompts has.

    Raises:
        SiteError: a site, layer, position, role, head or neuron that does not exist, or heads or neurons of a site that has none.
    """
    found, window = find_site(site), whole(window, "window")
    if site.startswith(MODULE):
        if layers is not None or window > 1:
            raise SiteError(
                f"{site} is one module, and layers or a window were given.", "Leave them out; the path says which module it is."
            )
        check_site(model, site, layers_with(model, site)[0])
        choices = {}
        found = replace(found, axis="neuron" if neurons is not None else None)
    else:
        _check_blocks(model, site)
        choices = {
            "layer": _choices(
                list(range(model.n_layers)) if layers is None else layers, model.n_layers, "Layer", f"{model.name} has layers"
            )
        }
        for layer in {layer for several in choices["layer"] for layer in several}:
            check_site(model, site, layer)
    _check_options(found, heads, neurons, window, operator, choices.get("layer", []))
    by_role = positions == "roles" or (not isinstance(positions, str) and any(isinstance(item, str) for item in positions))
    places: dict[str, Any] = {"role": _roles(positions, roles)} if by_role else _places(found, positions, lengths)
    together = places.pop("together", None)
    size = sys.maxsize if found.axis and not choices else axis_size(model, found, choices["layer"][0][0]) if choices else None
    axis = {}
    if size is not None:
        given = neurons if found.axis == "neuron" else heads
        name = "Neuron" if found.axis == "neuron" else "Head"
        axis[str(found.axis)] = _choices(
            list(range(size)) if given is None else given, size, name, f"{site} has", from_end=size < sys.maxsize
        )
    # patterns are laid out as TransformerLens does it: head before destination and source
    choices |= {**axis, **places} if found.name == "pattern" else {**places, **axis}
    return Plan(model, found, tuple(choices), choices, together, window, operator)


def _check_blocks(model: WrappedModel, site: str) -> None:
    if not model.has_blocks:
        _ = model.anatomy  # where it is not a language model this says so
        raise SiteError(f"{model.name} has no {site}: it has no blocks.", "Patch a module by its path: 'module:...'.")


def _check_options(site: Site, heads: object, neurons: object, window: int, operator: str, layers: Sequence[tuple[int, ...]]) -> None:
    if heads is not None and site.axis not in ("head", "kv_head"):
        raise SiteError(f"The site {site.name} is not divided into heads.", "Leave heads out, or choose z, q, k, v or pattern.")
    if neurons is not None and site.axis != "neuron":
        raise SiteError(f"The site {site.name} is not divided into neurons.", "Leave neurons out, or choose mlp_post.")
    if window > 1 and any(len(several) > 1 for several in layers):
        raise SiteError(f"A window of {window} layers can't be laid around several layers at once.", "Give layers one by one.")
    check_operator(operator)


def _places(site: Site, positions: Any, lengths: Sequence[int]) -> dict[str, Any]:
    """The axes of positions, or the positions `together`; () stands for all of them, however long a prompt is."""
    name = "dest_pos" if site.name == "pattern" else "pos"
    each = [(position,) for position in range(max(lengths))]
    if isinstance(positions, str):
        if positions == "entries" and site.name == "pattern":
            return {"dest_pos": each, "src_pos": each}
        if positions not in ("each", "all"):
            hint = (
                "Use 'each', 'all', 'roles', a list of positions that are patched together, a list of lists or of roles; "
                "'entries' for single entries of pattern."
            )
            raise SiteError(f"positions={positions!r} is not known for {site.name}.", hint)
        return {name: each} if positions == "each" else {"together": ()}
    chosen = _choices(positions, max(lengths), "Position", "the prompts have positions", from_end=min(lengths) == max(lengths))
    if not all(isinstance(item, int) for item in positions):
        return {name: chosen}
    together = tuple(sorted({position for several in chosen for position in several}))
    _check_together(together, min(lengths))
    return {"together": together}


def _check_together(positions: Sequence[int], shortest: int) -> None:
    for position in positions:
        if not -shortest <= position < shortest:
            raise SiteError(
                f"Position {position} does not exist in every pair: the shortest has {shortest} tokens.",
                "Choose earlier ones, or count from the end with -1.",
            )


def _roles(positions: Any, known: Sequence[str]) -> list[tuple[str, ...]]:
    """The roles that were asked for, each a place of its own."""
    if not known:
        raise SiteError("The prompts have no roles.", "Give PromptPair(..., roles={'subject': 'Paris'}), or ask for positions.")
    chosen = list(known) if positions == "roles" else list(positions)
    for role in chosen:
        if role not in known:
            raise SiteError(f"There is no role {role!r}: the prompts have {', '.join(known)}.", "Choose some of these.")
    return [(role,) for role in chosen]


def _choices(values: Any, size: int, what: str, range_of: str, *, from_end: bool = True) -> list[tuple[int, ...]]:
    """Each item as a tuple: one number, or several that are patched together; once each, and from 0 on if `from_end`."""
    if not isinstance(values, list | tuple):
        raise SiteError(f"{what}s {values!r} are no list of numbers.", "Give numbers, or lists of numbers that are patched together.")
    found = [tuple(item) if isinstance(item, list | tuple) else (item,) for item in values]
    if not found or not all(found):
        raise SiteError(f"An empty list was given where {what.lower()}s were expected, so there are no cells.", "Leave it out to take all.")
    counted = [[(number, checked_index(number, size, what, range_of)) for number in several] for several in found]
    return [tuple(dict.fromkeys(at if from_end else number for number, at in several)) for several in counted]
