"""Places in an experiment: the axes of a grid with their labels, what a place is called, and whether it is there."""

from collections.abc import Sequence
from typing import Any

from patchwidget.errors import PatchError, PromptError, SiteError

from .views import Axis

DIFFERING = "[{}]"
"""Label of a position at which several prompts have different tokens."""


def place_axis(experiment: Any) -> str:
    """What places in the prompts are counted by: "pos"; or "role" where several prompts of unequal length have only their roles in common.

    Raises:
        PromptError: several prompts of unequal length have no roles either.
    """
    lengths = _lengths(experiment)
    if len(lengths) == 1:
        return "pos"
    if any(pair.roles for pair in experiment.pairs):
        return "role"
    raise PromptError(
        f"The {len(experiment.pairs)} prompts have from {min(lengths)} to {max(lengths)} tokens and no roles, so their places do not correspond.",
        "Give PromptPair(..., roles={'subject': ...}), choose a site by head such as z, which is patched at all tokens together, or one pair.",
    )


def token_labels(experiment: Any) -> tuple[str, ...]:
    """The tokens that positions are labelled with; where several prompts have different ones there, the position's number in brackets."""
    pairs = experiment.pairs if experiment.runs.several else [experiment.pair]
    tokens = [_tokens_of(experiment, pair) for pair in pairs]
    return tuple(some[0] if len(set(some)) == 1 else DIFFERING.format(i) for i, some in enumerate(zip(*tokens, strict=False)))


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
    if name == "pos" and len(_lengths(experiment)) > 1:
        raise PatchError(f"Position {place} is another place in each prompt: they are of unequal length.", "Choose a role, or one pair.")
    sizes = {
        "layer": ("Layer", "this model has layers", model.n_layers),
        "head": ("Head", "this model has heads", model.n_heads),
        "pos": ("Position", "these prompts have positions", len(token_labels(experiment))),
    }
    what, there_are, size = sizes[name]
    if not 0 <= place < size:
        raise PatchError(f"{what} {place} does not exist: {there_are} 0 to {size - 1}.", f"Choose a {name} from 0 to {size - 1}.")


def token_name(experiment: Any, pos: int | str | None) -> str:
    """A position or a role in words."""
    if pos is None:
        return "all tokens"
    if isinstance(pos, str):
        return pos
    token = token_labels(experiment)[pos]
    return f"position {pos}" if token == DIFFERING.format(pos) else f"{token!r} ({pos})"


def site_name(site: str) -> str:
    """What of a head a site is, in words."""
    return {"q": "queries", "k": "keys", "v": "values", "k_per_head": "keys", "v_per_head": "values", "pattern": "patterns"}.get(site, site)


def _lengths(experiment: Any) -> set[int]:
    """Of the prompts that are patched."""
    if not experiment.runs.several:
        return {len(_tokens_of(experiment, experiment.pair))}
    return {experiment.runs.length(i) for i in range(len(experiment.pairs))}


def _tokens_of(experiment: Any, pair: Any) -> Sequence[str]:
    """The clean prompt's, or the patched run's where the two are of unequal length."""
    base = pair.corrupted_tokens if experiment.direction == "denoise" else pair.clean_tokens
    return pair.clean_tokens if len(pair.clean_tokens) == len(pair.corrupted_tokens) else base
