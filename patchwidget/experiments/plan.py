"""Which cells a sweep consists of: the axes that were asked for, and the edits of each point."""

import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from patchwidget.engine.cells import Edit
from patchwidget.engine.sites import MODULE, Site, axis_size, check_site, find_site, layers_with
from patchwidget.errors import SiteError
from patchwidget.models.model import Model

from .patches import check_operator
from .sources import Values

Positions = str | Sequence[int] | Sequence[Sequence[int]] | Sequence[str]
Choices = Iterable[int] | Iterable[Sequence[int]]


@dataclass(frozen=True)
class Plan:
    """The axes of a sweep; a cell is one point of their product.

    Attributes:
        dims: the names of the axes, in order.
        choices: for each axis what is patched at each of its places: one layer, position, head..., or several together.
        together: the positions patched at once in each cell; None where positions are an axis.
        window: how many layers around each one are patched at once.
    """

    model: Model
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

    def with_roles(self, point: dict[str, tuple[Any, ...]], positions_of: Callable[[str], tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """The point with the positions that a role has in one prompt; they may be none."""
        if "role" not in point:
            return point
        name = "dest_pos" if self.site.name == "pattern" else "pos"
        return {**point, name: tuple(position for role in point["role"] for position in positions_of(role))}

    def fits(self, point: dict[str, tuple[int, ...]], length: int, patchable: Collection[int]) -> bool:
        """Whether a prompt of this length has the point's positions, and the source has something for them."""
        named = [point[dim] for dim in ("pos", "dest_pos", "src_pos") if dim in point]
        if self.together is not None:
            named.append(self.together or tuple(range(length)))
        return all(places and max(places) < length and any(place in patchable for place in places) for places in named)

    def edits(
        self,
        point: dict[str, tuple[int, ...]],
        values: Values,
        unchanged_before: int,
        length: int,
        patchable: Collection[int] | None = None,
    ) -> tuple[Edit, ...]:
        """The edits of one point.

        Args:
            values: what to put where.
            unchanged_before: positions before it have the same activation in both runs, so that patching them does nothing.
            length: of the prompt.
            patchable: the positions for which the source has something; all of them if None.
        """
        together = tuple(range(length)) if self.together == () else self.together
        positions = together or point.get("pos") or point["dest_pos"]
        positions = tuple(p for p in positions if p >= unchanged_before and (patchable is None or p in patchable))
        columns = point.get("src_pos")
        if not positions or (columns and min(columns) > max(positions)):  # a position never attends to later ones
            return ()
        layers, indices = self._layers(point), self._indices(point)
        return tuple(self._edit(layer, positions, index, columns, values) for layer in layers for index in indices)

    def _edit(self, layer: int, positions: tuple[int, ...], index: int | None, columns: tuple[int, ...] | None, values: Values) -> Edit:
        value = values(self.site.name, layer)[list(positions)]
        if index is not None:
            per_group = self.model.n_heads // self.model.n_kv_heads if self.site.axis == "head" else 1
            index_of_value = index // per_group if self.site.name.endswith("_per_head") else index
            if index_of_value >= value.shape[1]:
                raise SiteError(f"Neuron {index} does not exist: {self.site.name} has 0 to {value.shape[1] - 1}.", "Choose one of these.")
            value = value[:, index_of_value]
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
    model: Model,
    site: str,
    length: int,
    *,
    layers: Choices | None = None,
    positions: Positions = "each",
    heads: Choices | None = None,
    neurons: Choices | None = None,
    window: int = 1,
    operator: str = "replace",
    roles: Sequence[str] = (),
) -> Plan:
    """Check what was asked for and lay out its axes.

    Args:
        length: of the longest prompt.
        roles: those that any of the prompts has.

    Raises:
        SiteError: a site, layer, position, role, head or neuron that does not exist, or heads or neurons of a site that has none.
    """
    found = find_site(site)
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
            "layer": _choices(range(model.n_layers) if layers is None else layers, model.n_layers, "Layer", f"{model.name} has layers")
        }
        for layer in {layer for several in choices["layer"] for layer in several}:
            check_site(model, site, layer)
    _check_options(found, heads, neurons, window, operator, choices.get("layer", []))
    by_role = positions == "roles" or (not isinstance(positions, str) and any(isinstance(item, str) for item in positions))
    places: dict[str, Any] = {"role": _roles(positions, roles)} if by_role else _places(found, positions, length)
    together = places.pop("together", None)
    size = sys.maxsize if found.axis and not choices else axis_size(model, found, choices["layer"][0][0]) if choices else None
    axis = {}
    if size is not None:
        given = neurons if found.axis == "neuron" else heads
        name = "Neuron" if found.axis == "neuron" else "Head"
        axis[str(found.axis)] = _choices(range(size) if given is None else given, size, name, f"{site} has")
    # patterns are laid out as TransformerLens does it: head before destination and source
    choices |= {**axis, **places} if found.name == "pattern" else {**places, **axis}
    return Plan(model, found, tuple(choices), choices, together, window, operator)


def _check_blocks(model: Model, site: str) -> None:
    if not model.has_blocks:
        _ = model.anatomy  # where it is not a language model this says so
        raise SiteError(f"{model.name} has no {site}: it has no blocks.", "Patch a module by its path: 'module:...'.")


def _check_options(site: Site, heads: object, neurons: object, window: int, operator: str, layers: Sequence[tuple[int, ...]]) -> None:
    if heads is not None and site.axis not in ("head", "kv_head"):
        raise SiteError(f"The site {site.name} is not divided into heads.", "Leave heads out, or choose z, q, k, v or pattern.")
    if neurons is not None and site.axis != "neuron":
        raise SiteError(f"The site {site.name} is not divided into neurons.", "Leave neurons out, or choose mlp_post.")
    if window < 1 or (window > 1 and any(len(several) > 1 for several in layers)):
        raise SiteError(f"A window of {window} layers can't be laid around these layers.", "Give a whole number, and layers one by one.")
    check_operator(operator)


def _places(site: Site, positions: Positions, length: int) -> dict[str, Any]:
    """The axes of positions, or the positions `together`; () stands for all of them, however long a prompt is."""
    name = "dest_pos" if site.name == "pattern" else "pos"
    each = [(position,) for position in range(length)]
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
    chosen = _choices(positions, length, "Position", "the prompts have positions")  # type: ignore[arg-type]
    if all(isinstance(item, int) for item in positions):
        return {"together": tuple(sorted({position for several in chosen for position in several}))}
    return {name: chosen}


def _roles(positions: Any, known: Sequence[str]) -> list[tuple[str, ...]]:
    """The roles that were asked for, each a place of its own."""
    if not known:
        raise SiteError("The prompts have no roles.", "Give PromptPair(..., roles={'subject': 'Paris'}), or ask for positions.")
    chosen = list(known) if positions == "roles" else list(positions)
    for role in chosen:
        if role not in known:
            raise SiteError(f"There is no role {role!r}: the prompts have {', '.join(known)}.", "Choose some of these.")
    return [(role,) for role in chosen]


def _choices(values: Choices, size: int, what: str, range_of: str) -> list[tuple[int, ...]]:
    """Each item as a tuple: one number, or several that are patched together."""
    found = [tuple(dict.fromkeys(int(x) for x in item)) if isinstance(item, Iterable) else (int(item),) for item in values]
    if not found or not all(found):
        raise SiteError(f"An empty list was given where {what.lower()}s were expected, so there are no cells.", "Leave it out to take all.")
    for value in {value for several in found for value in several}:
        if not 0 <= value < size:
            raise SiteError(f"{what} {value} does not exist: {range_of} 0 to {size - 1}.", "Choose one of these.")
    return found
