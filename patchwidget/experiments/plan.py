"""Which cells a sweep consists of: the axes that were asked for, and one cell of edits for each point."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from torch import Tensor

from patchwidget.engine.cells import Cell, Edit
from patchwidget.engine.sites import Site, check_layer, find_site, find_tap
from patchwidget.errors import SiteError
from patchwidget.models.model import Model

Positions = str | Sequence[int]


@dataclass(frozen=True)
class Plan:
    """The axes of a sweep. `dims` are its axis names in order and `coords` their values; a cell is one point of their product.

    Attributes:
        together: the positions patched at once in each cell; None where `pos` is an axis.
    """

    site: Site
    dims: tuple[str, ...]
    coords: dict[str, list[int]]
    together: tuple[int, ...] | None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(self.coords[dim]) for dim in self.dims)

    def points(self) -> list[dict[str, int]]:
        """Every point, in C order of `shape`."""
        return [dict(zip(self.dims, values, strict=True)) for values in product(*(self.coords[dim] for dim in self.dims))]

    def cells(self, value_at: Callable[[int], Tensor], unchanged_before: int) -> list[Cell]:
        """One cell per point, in C order.

        Args:
            value_at: layer -> what to put there, [positions, ...].
            unchanged_before: positions before it have the same activation in both runs, so that patching them does nothing.
        """
        return [Cell(tuple(self._edits(point, value_at, unchanged_before))) for point in self.points()]

    def _edits(self, point: dict[str, int], value_at: Callable[[int], Tensor], unchanged_before: int) -> Iterable[Edit]:
        positions = self.together if self.together is not None else (point["pos"],)
        positions = tuple(position for position in positions if position >= unchanged_before)
        if positions:
            value, head = value_at(point["layer"])[list(positions)], point.get("head")
            yield Edit(self.site.name, point["layer"], positions, value if head is None else value[:, head], head)


def make_plan(
    model: Model,
    site: str,
    length: int,
    layers: Iterable[int] | None = None,
    positions: Positions = "each",
    heads: Iterable[int] | None = None,
) -> Plan:
    """Check what was asked for and lay out its axes.

    Raises:
        SiteError: a site, layer, position or head that does not exist, or heads of a site that has none.
    """
    found = find_site(site)
    layer_list = list(range(model.n_layers)) if layers is None else [int(layer) for layer in layers]
    for layer in layer_list:
        check_layer(model, layer)
        find_tap(model, site, layer)
    coords = {"layer": layer_list}
    together = _together(positions, length)
    if together is None:
        coords["pos"] = list(range(length))
    if found.axis == "head":
        coords["head"] = list(range(model.n_heads)) if heads is None else _in_range(heads, model.n_heads, "Head", f"{model.name} has heads")
    elif heads is not None:
        raise SiteError(f"The site {site} is not divided into heads.", "Leave heads out, or choose z.")
    if not all(coords.values()):
        raise SiteError(f"The sweep of {site} has no cells: an empty list was given.", "Leave the argument out to take all.")
    return Plan(found, tuple(coords), coords, together)


def _together(positions: Positions, length: int) -> tuple[int, ...] | None:
    if isinstance(positions, str):
        if positions not in ("each", "all"):
            raise SiteError(f"positions={positions!r} is not known.", "Use 'each', 'all' or a list of positions that are patched together.")
        return None if positions == "each" else tuple(range(length))
    chosen = _in_range(positions, length, "Position", "the prompts have positions")
    if not chosen:
        raise SiteError("An empty list of positions was given.", "Give at least one position, 'each' or 'all'.")
    return tuple(sorted(set(chosen)))


def _in_range(values: Iterable[int], size: int, what: str, range_of: str) -> list[int]:
    found = [int(value) for value in values]
    for value in found:
        if not 0 <= value < size:
            raise SiteError(f"{what} {value} does not exist: {range_of} 0 to {size - 1}.", "Choose one of these.")
    return found
