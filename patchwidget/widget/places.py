"""Places in an experiment: the axes of a grid with their labels, what a place is called, and whether it is there."""

from collections.abc import Sequence
from typing import Any

from patchwidget.errors import PatchError, SiteError

from .views import Axis


def token_labels(experiment: Any) -> tuple[str, ...]:
    """The tokens that positions are labelled with: the clean prompt's, or the patched run's where the two are of unequal length."""
    pair = experiment.pair
    return tuple(pair.clean_tokens if len(pair.clean_tokens) == len(pair.corrupted_tokens) else _base_tokens(experiment))


def axis_of(name: str, coords: Sequence[Any], tokens: Sequence[str]) -> Axis:
    """One side of a grid from an axis of a sweep; positions are labelled with their tokens."""
    values = None if list(coords) == list(range(len(coords))) else tuple(coords)
    labels = tuple(str(tokens[position]) for position in coords) if name.endswith("pos") else None
    return Axis(name, len(coords), values, labels)


def head_axis(experiment: Any, site: str) -> str:
    """ "head", or "kv_head" where query heads share it; SiteError where the site has no heads."""
    axis = experiment.start(site, positions="all").dims[-1]
    if axis not in ("head", "kv_head"):
        raise SiteError(f"The site {site} is not divided into heads.", "Choose z, q, k, v or pattern.")
    return axis


def check_place(experiment: Any, name: str, place: int) -> None:
    """PatchError where there is no such layer, head or position (`name` says which of these)."""
    model = experiment.model
    sizes = {
        "layer": ("Layer", "this model has layers", model.n_layers),
        "head": ("Head", "this model has heads", model.n_heads),
        "pos": ("Position", "these prompts have positions", len(token_labels(experiment))),
    }
    what, there_are, size = sizes[name]
    if not 0 <= place < size:
        raise PatchError(f"{what} {place} does not exist: {there_are} 0 to {size - 1}.", f"Choose a {name} from 0 to {size - 1}.")


def token_name(experiment: Any, pos: int | None) -> str:
    """A position in words."""
    return "all tokens" if pos is None else f"{token_labels(experiment)[pos]!r} ({pos})"


def site_name(site: str) -> str:
    """What of a head a site is, in words."""
    return {"q": "queries", "k": "keys", "v": "values", "k_per_head": "keys", "v_per_head": "values", "pattern": "patterns"}.get(site, site)


def _base_tokens(experiment: Any) -> Sequence[str]:
    return experiment.pair.corrupted_tokens if experiment.direction == "denoise" else experiment.pair.clean_tokens
