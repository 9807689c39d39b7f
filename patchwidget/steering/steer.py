"""How a vector is applied: how strongly, in which layers, at which positions, by which operator."""

import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from patchwidget.engine.edits import Edit
from patchwidget.engine.generation.steering import Span, Steering
from patchwidget.engine.sites import check_site, find_layer
from patchwidget.errors import PatchError, SiteError
from patchwidget.given import Index, Indices, Number, as_list, plain
from patchwidget.models.wrapped import WrappedModel
from patchwidget.public import public

from .construct import Elsewhere
from .provenance import warn_if_other
from .vector import SteeringVector

OPERATORS = {
    "add": "adds strength times the vector",
    "project_out": "takes out strength times the component along the vector; 1 removes it (directional ablation, Arditi et al. 2024)",
    "cap": "brings the component along the vector down to at most strength times the vector's length",
}
UNITS = {
    "absolute": "strength multiplies the vector as it is",
    "residual norm": "strength multiplies the vector scaled to the residual stream's median norm at its layer",
}
# "all", "prompt", "generated", "first 3" or 3, (start, stop), a slice or a range
Positions = str | Index | tuple[Index | None, Index | None] | slice | range
# the order in which the sites of one block are passed
_DEPTH = {site: depth for depth, site in enumerate(["resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post"])}


@public
@dataclass(frozen=True, eq=False)
class Steer:
    """A vector as it is applied.

    Attributes:
        vector: a SteeringVector, or what `SteeringVector.of` takes, such as {layer: tensor}.
        strength: negative steers the other way; 0 does nothing (but with "cap").
        layers: one or several, negative ones counted from the last; the vector's own if not given. A vector of one layer can be applied at any.
        positions: "all"; "prompt"; "generated"; "first 3" or 3, the sequence's first three; or a span (start, stop) as in a Python slice, where
            negative numbers count from the prompt's end and an open end goes on through what is generated. Positions are absolute: padding
            does not count, and a cache changes nothing. The first generated token is chosen at the prompt's last position, so "generated"
            acts from the second one on, and (-1, None) from the first. A vector by position (actadd) is laid from the first steered position on.
        operator: "add", "project_out" or "cap". To keep the component above a limit, cap -vector at the negative limit.
        unit: "absolute" or "residual norm"; of no account to project_out, whose strength is a fraction.
        schedule: i -> factor of the strength at the i-th steered position, from 0; such as `lambda i: 0.9**i`.

    Raises:
        PatchError: a strength that is no finite number, an unknown operator, unit or position rule, layers that are no numbers.
    """

    vector: Any  # a SteeringVector once it is made, which type checkers can't know
    strength: Number = 1.0
    layers: Indices | None = None
    positions: Positions = "all"
    operator: str = "add"
    unit: str = "absolute"
    schedule: Callable[[int], float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "vector", SteeringVector.of(self.vector))
        for name in ("strength", "layers", "positions"):
            given = getattr(self, name)
            object.__setattr__(self, name, given if isinstance(given, range) else plain(given))
        if not isinstance(self.strength, int | float) or not math.isfinite(self.strength):
            raise PatchError(f"The strength is {self.strength!r}.", "Give a finite number; for several strengths, model.ladder.")
        if not (self.layers is None or all(isinstance(layer, int) for layer in as_list(self.layers))):
            raise PatchError(f"layers={self.layers!r} are no numbers.", "Give a layer, or a list of layers.")
        for name, value, known in [("operator", self.operator, OPERATORS), ("unit", self.unit, UNITS)]:
            if value not in known:
                meanings = "; ".join(f"{key!r} ({meaning})" for key, meaning in known.items())
                raise PatchError(f"There is no {name} {value!r}.", f"Use {meanings}.")
        _bounds(self.positions, 0)  # tells at once what is wrong with a rule

    def bound(self, model: WrappedModel, lengths: Sequence[int]) -> list[Steering]:
        """This steer as the engine applies it to prompts of these lengths, one item per layer.

        Raises:
            PatchError: the vector is of another width than the model, or does not know the residual norm that the unit asks for.
            SiteError: no such layer or site in this model; or the vector has several layers, and not one that was asked for.

        Warns where the vector was made on other weights.
        """
        self.vector.check_width(model)
        spans = tuple(span_of(self.positions, length) for length in lengths)
        steerings: list[Steering] = []
        for layer in self._layers(model):
            check_site(model, self.vector.site, layer)
            value = self._scaled(layer)
            steerings.append(Steering(self.vector.site, layer, value, self.operator, float(self.strength), spans, self.schedule))
        warn_if_other(model, self.vector.provenance)
        return steerings

    def _layers(self, model: WrappedModel) -> list[int]:
        if self.layers is None:
            return self.vector.layers
        layers = as_list(self.layers)
        if not layers:
            raise SiteError("The list of layers is empty.", "Leave it out for the vector's own.")
        return [find_layer(model, layer) for layer in layers]

    def _scaled(self, layer: int) -> Tensor:
        """The vector for one layer, in its unit."""
        vector = self.vector
        source = layer if layer in vector.vectors or len(vector.layers) > 1 else vector.layers[0]
        if self.unit == "absolute" or self.operator == "project_out":
            return vector[source]
        if not vector.norm(source) > 0:
            raise PatchError("A zero vector can't be scaled to the residual stream's norm.", "Check what made it.")
        return vector[source] * (vector.residual_norm(layer) / vector.norm(source))


# what is given as `steer=`: a Steer; a vector, which is added with strength 1; several of these; or nothing
Steers = Steer | SteeringVector | Elsewhere | Sequence[Steer | SteeringVector | Elsewhere] | None


def steers_of(steer: Steers) -> list[Steer]:
    """What was given as `steer=` as a list; empty if nothing was. PatchError where something is no vector, or one that is not finite."""
    if steer is None:
        return []
    if isinstance(steer, Sequence):
        return [item if isinstance(item, Steer) else Steer(item) for item in steer]
    return [steer if isinstance(steer, Steer) else Steer(steer)]


def bind(model: WrappedModel, steers: Sequence[Steer], lengths: Sequence[int]) -> list[Steering]:
    """All steers as the engine applies them, in the order in which a forward passes their places."""
    return in_order([steering for steer in steers for steering in steer.bound(model, lengths)])


def in_order(steerings: Sequence[Steering]) -> list[Steering]:
    """Steerings as a forward passes their places; those at one place as they were given."""
    return sorted(steerings, key=lambda steering: (steering.layer, _DEPTH[steering.site]))


def edits_of(steerings: Sequence[Steering], length: int) -> tuple[Edit, ...]:
    """What they do to the first prompt, of this length, as edits for the executors."""
    return tuple(edit for steering in steerings for edit in _edits(steering, steering.reach(0, 0, length)))


def _edits(steering: Steering, positions: range) -> list[Edit]:
    values, strengths = steering.at(0, positions)
    if steering.operator != "cap" and not strengths.any():
        return []  # nothing is moved, so nothing has to be computed
    if steering.operator == "add":
        return [Edit(steering.site, steering.layer, tuple(positions), values * strengths[:, None], operator="add")]
    return [
        Edit(
            steering.site,
            steering.layer,
            tuple(position for position, here in zip(positions, same, strict=True) if here),
            values[same],
            operator=steering.operator,
            strength=float(strength),
        )
        for strength in strengths.unique()
        for same in [strengths == strength]
    ]


def span_of(positions: Any, length: int) -> Span:
    """The (start, stop) that a rule (`Positions`) means in a sequence whose prompt has `length` tokens.

    Raises:
        PatchError: it is no rule, or holds no position.
    """
    start, stop = _bounds(positions, length)
    start = 0 if start is None else start if start >= 0 else max(0, length + start)
    stop = sys.maxsize if stop is None else stop if stop >= 0 else length + stop
    if start >= stop:
        raise PatchError(f"positions={positions!r} holds no position of a prompt of {length} tokens.", "Let it stop after it starts.")
    return start, stop


def _bounds(positions: Any, length: int) -> tuple[int | None, int | None]:
    first = re.fullmatch(r"first (\d+)", positions) if isinstance(positions, str) else None
    if first:
        return 0, int(first[1])
    if isinstance(positions, str) and positions in ("all", "prompt", "generated"):
        return {"all": (0, None), "prompt": (0, length), "generated": (length, None)}[positions]
    if isinstance(positions, int):
        return 0, max(0, positions)
    if isinstance(positions, slice | range) and positions.step in (None, 1):
        return positions.start, positions.stop
    if isinstance(positions, tuple) and len(positions) == 2 and all(end is None or isinstance(end, int) for end in positions):
        return positions
    raise PatchError(
        f"positions={positions!r} is not known.", "Use 'all', 'prompt', 'generated', 'first 3', or a span (start, stop) such as (-1, None)."
    )
