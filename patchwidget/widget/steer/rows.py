"""What a steering panel holds: vectors, and rows that apply them."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from patchwidget.errors import PatchError
from patchwidget.steering.steer import OPERATORS, UNITS, Steer
from patchwidget.steering.vector import SteeringVector
from patchwidget.widget.transport.errors import FieldError
from patchwidget.widget.transport.protocol import Message

# (name, layers) -> the Python that makes a vector of this name for these layers
Code = Callable[[str, Sequence[int]], str]

ALL_LAYERS = -1
RUNGS = 41

POSITIONS: Mapping[str, tuple[Any, str, str]] = {
    "all": ("all", "all tokens", "at every token, of the prompt and of what is generated"),
    "prompt": ("prompt", "the prompt", "at the prompt's tokens only"),
    "last": ((-1, None), "last token on", "from the prompt's last token on: that is where the first new token is chosen"),
    "generated": (
        "generated",
        "generated",
        "at what is generated only: the first new token is chosen before that, so its probabilities stay as they are",
    ),
    "first": ("first 3", "first 3", "at the first three tokens of the prompt"),
}
"""name -> the rule as `Steer` takes it, in a word or two, in a sentence"""


def wrong(field: str, message: str, hint: str = "") -> FieldError:
    """An error that belongs under a field of the page."""
    return FieldError(field, PatchError(message, hint))


@dataclass(frozen=True, eq=False)
class Source:
    """A vector to choose.

    Attributes:
        vector: as it is applied.
        code: gives the Python that makes it.
        note: what is to be known of it, such as that it was made on other weights; "" mostly.
    """

    id: str
    name: str
    vector: SteeringVector
    code: Code
    note: str = ""

    def descriptor(self) -> Message:
        vector = self.vector
        layers = f"layer {vector.layers[0]}" if len(vector.layers) == 1 else f"layers {vector.layers[0]} to {vector.layers[-1]}"
        return {"id": self.id, "name": self.name, "about": f"{vector.method}, {vector.site}, {layers}", "note": self.note}


@dataclass(frozen=True, eq=False)
class Row:
    """A vector as it is applied.

    Attributes:
        layer: None: at the layers of the given Steer, several.
        rule: a name of POSITIONS, or "own": the given Steer's `positions`.
        given: the Steer that the row began with; its operator and schedule stay.
    """

    id: str
    source: Source
    layer: int | None
    strength: float = 1.0
    rule: str = "all"
    unit: str = "absolute"
    on: bool = True
    given: Steer | None = field(default=None)

    @property
    def positions(self) -> Any:
        return self.given.positions if self.rule == "own" and self.given else POSITIONS[self.rule][0]

    @property
    def operator(self) -> str:
        return self.given.operator if self.given else "add"

    @property
    def schedule(self) -> Callable[[int], float] | None:
        return self.given.schedule if self.given else None

    @property
    def acts(self) -> bool:
        """Whether it does anything: a cap does at 0 too."""
        return self.on and (self.strength != 0 or self.operator == "cap")

    def steer(self) -> Steer:
        """As scripts have it."""
        layers = self.given.layers if self.layer is None and self.given else self.layer
        return Steer(self.source.vector, self.strength, layers, self.positions, self.operator, self.unit, self.schedule)

    @property
    def norm(self) -> float | None:
        """What strength 1 is in units of the residual stream's median norm; of several layers the first's. None while that is not known, and
        where the strength is a fraction."""
        vector = self.source.vector
        layer = self._several[0] if self.layer is None else self.layer
        if self.operator == "project_out":
            return None
        if self.unit == "residual norm":
            return 1.0
        known = vector.residual_norms.get(layer)
        source = layer if layer in vector.vectors else vector.layers[0]
        return vector.norm(source) / known if known else None

    @property
    def limit(self) -> float:
        """The largest strength of the slider: about twice the residual stream's norm, twice the component that is projected out, and never
        less than the strength at hand."""
        usual = 2.0 if self.operator == "project_out" else 2 / self.norm if self.norm else 4.0
        return round_up(max(usual * 0.999, abs(self.strength)))

    @property
    def key(self) -> tuple[Any, ...]:
        """All that a ladder of this row depends on, but the strength."""
        return (self.id, self.source.id, self.layer, self.rule, self.unit, self.limit, self.operator, id(self.schedule))

    def strengths(self) -> list[float]:
        """The rungs of its ladder, fine around 0."""
        places = np.linspace(-1, 1, RUNGS)
        return [float(strength) for strength in self.limit * np.sign(places) * places**2]

    def changed(self, n_layers: int, changes: Message) -> "Row":
        """With other settings, as the page names them; FieldError where one can't be."""
        row = replace(self, **{name: changes[name] for name in ("on", "strength") if changes.get(name) is not None})
        if changes.get("layer") is not None:
            if changes["layer"] not in row.layers(n_layers):
                raise wrong("layer", f"This vector can't be applied at layer {changes['layer']}.", f"Choose one of {row.layers(n_layers)}.")
            row = replace(row, layer=None if changes["layer"] == ALL_LAYERS else changes["layer"])
        if changes.get("positions") is not None:
            if changes["positions"] not in row.rules():
                raise wrong("row", f"There are no positions {changes['positions']!r}.", f"Choose one of {', '.join(row.rules())}.")
            row = replace(row, rule=changes["positions"])
        if changes.get("unit") not in (None, row.unit):
            row = _in_unit(row, changes["unit"], keep=changes.get("strength") is None)
        row.steer()
        return row

    def layers(self, n_layers: int) -> list[int]:
        """Where it can be applied."""
        own = self.source.vector.layers
        return [*([ALL_LAYERS] if len(self._several) > 1 else []), *(range(n_layers) if len(own) == 1 else own)]

    @property
    def _several(self) -> list[int]:
        """The layers of the given Steer."""
        return _layers_of(self.given) if self.given else []

    def rules(self) -> dict[str, tuple[Any, str, str]]:
        own = {"own": (None, f"{self.given.positions}", "as the Steer has it that was given")} if self.given and self._is_own else {}
        return own | dict(POSITIONS)

    @property
    def _is_own(self) -> bool:
        return self.given is not None and self.given.positions not in [rule for rule, _, _ in POSITIONS.values()]

    def descriptor(self, n_layers: int, ladder: str | None) -> Message:
        return {
            "id": self.id,
            "vector": self.source.id,
            "layer": ALL_LAYERS if self.layer is None else self.layer,
            "layers": self.layers(n_layers),
            "positions": self.rule,
            "rules": [{"name": name, "label": label, "text": text} for name, (_, label, text) in self.rules().items()],
            "unit": self.unit,
            "strength": self.strength,
            "limit": self.limit,
            "norm": self.norm,
            "ladder": ladder,
            "on": self.on,
            "note": " ".join(self._notes()),
        }

    def _notes(self) -> Iterator[str]:
        """What is to be known of it beside its settings."""
        if self.source.note:
            yield self.source.note
        if self.rule == "generated":
            yield f"{POSITIONS['generated'][2].capitalize()}."
        if self.layer is None:
            yield f"At layers {', '.join(map(str, self._several))}."
        if self.operator != "add":
            yield f"{self.operator.capitalize().replace('_', ' ')}: {OPERATORS[self.operator]}."
        if self.schedule is not None:
            yield "At each token the strength is multiplied by the schedule of the Steer that was given."


def first_row(name: str, source: Source, given: Steer | None, layer: int | None = None) -> Row:
    """How a vector is applied at first: as it was given, or at its layer (the middle one of several) with strength 1."""
    if given is None:
        own = source.vector.layers
        return Row(name, source, own[len(own) // 2] if layer is None else layer)
    known = [rule for rule, (positions, _, _) in POSITIONS.items() if positions == given.positions]
    layers, unit = _layers_of(given), "absolute" if given.operator == "project_out" else given.unit
    return Row(name, source, layers[0] if len(layers) == 1 else None, given.strength, known[0] if known else "own", unit, given=given)


def _layers_of(steer: Steer) -> list[int]:
    """Where it is applied."""
    return [steer.layers] if isinstance(steer.layers, int) else list(steer.vector.layers if steer.layers is None else steer.layers)


def _in_unit(row: Row, unit: str, *, keep: bool) -> Row:
    """In another unit; with `keep` as strong as before."""
    if unit not in UNITS:
        raise wrong("row", f"There is no unit {unit!r}.", f"Use one of {', '.join(UNITS)}.")
    new = replace(row, unit=unit)
    if row.norm is None or new.norm is None:
        raise wrong("row", "The residual stream's norm is not known yet.", "Wait for the first numbers, then choose the unit.")
    return replace(new, strength=float(f"{row.strength * row.norm / new.norm:.3g}")) if keep else new


def round_up(value: float) -> float:
    """The next of 1, 2, 3, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(step * power for step in (1, 2, 3, 5, 10) if step * power >= value * (1 - 1e-9))
