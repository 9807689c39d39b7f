"""Cells that are selected together: their joint effect, and whether it is more than the sum of theirs."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np

from patchwidget.errors import SiteError
from patchwidget.experiments.results.data import EXACT
from patchwidget.experiments.sweeps.patch import Patch
from patchwidget.widget.transport.protocol import Message

from .experiment_pool import Setting
from .explanations import explain_selection
from .views import GridView

_COORDINATES = ("layer", "pos", "head", "neuron", "src_pos")
Measured = tuple[float, float]  # the metric, and recovery


def as_cells(patches: Iterable[Any]) -> list[Message]:
    """Patches, or what has their fields, as plain dictionaries without what is None.

    Raises:
        SiteError: something that is no patch, or one that names what a cell can't.
    """
    if isinstance(patches, str | Mapping) or is_dataclass(patches):
        raise SiteError(f"A selection is a list of patches, and this is {patches!r}.", "Put it into a list.")
    return [_as_cell(patch) for patch in patches]


def _as_cell(patch: Any) -> Message:
    given = {f.name: getattr(patch, f.name) for f in fields(patch)} if isinstance(patch, Patch) else patch
    if not isinstance(given, Mapping) or not isinstance(given.get("site"), str):
        raise SiteError(f"{patch!r} is no patch.", "Give pw.Patch('z', layer=9, head=6), or a dictionary with these names.")
    plain = {name: value for name, value in given.items() if value is not None and (name, value) != ("operator", "replace")}
    strange = plain.keys() - {"site", *_COORDINATES}
    if strange:
        raise SiteError(f"A selected cell has no {min(strange)}.", f"It has a site and any of {', '.join(_COORDINATES)}.")
    return {name: _plain(plain[name]) for name in ("site", *_COORDINATES) if name in plain}


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    return [int(item) for item in value] if isinstance(value, Iterable) else int(value)


@dataclass(kw_only=True)
class Selection:
    """The selected cells, and what is known of them.

    Attributes:
        request: the id of the request that selected them.
        setting: in which their effects are measured.
    """

    cells: list[Message] = field(default_factory=list)
    request: str | None = None
    status: str = "none"
    joint: Measured | None = None
    parts: list[Measured] | None = None
    noise_floor: float | None = None
    setting: Setting | None = None
    problem: tuple[str, str] | None = None

    @property
    def direction(self) -> str:
        return self.setting.direction if self.setting else "denoise"

    @property
    def live(self) -> bool:
        """Whether it is still to be measured."""
        return self.status in {"queued", "running"}

    @property
    def synergy(self) -> float | None:
        """The joint effect minus the sum of the parts' effects."""
        if self.joint is None or self.parts is None:
            return None
        return self._effect(self.joint) - sum(map(self._effect, self.parts))

    def descriptor(self) -> Message:
        """For the page."""
        parts = self.parts or []
        explained = self.joint is not None and self.parts is not None and np.isfinite([self.joint[1], *(part[1] for part in parts)]).all()
        return {
            "cells": self.cells,
            "status": self.status,
            "joint": self.joint and self._describe(self.joint),
            "parts": None if self.parts is None else [self._describe(part) for part in parts],
            "synergy": self.synergy,
            "noise_floor": self.noise_floor,
            "explain": explain_selection(self._effect(self.joint), [*map(self._effect, parts)], self.direction)
            if explained and self.joint
            else "",
            "message": self.problem and self.problem[0],
            "hint": self.problem and self.problem[1],
        }

    def measure_joint(self, experiment: Any) -> tuple[Measured, float]:
        """All cells patched in one run; and its noise floor."""
        together = _mean(experiment, [Patch(**cell) for cell in self.cells])
        return (float(together.values), float(together.recovery)), float(together.noise_floor)

    def measure_parts(self, experiment: Any, joint: Measured, grids: Iterable[GridView]) -> Iterator[Measured]:
        """Each cell by itself; one that stands in one of the grids is not measured again."""
        known = list(grids)
        for cell in self.cells:
            part = joint if len(self.cells) == 1 else _known(cell, known)
            if part is None:
                alone = _mean(experiment, Patch(**cell))
                part = (float(alone.values), float(alone.recovery))
            yield part

    def _effect(self, measured: Measured) -> float:
        return measured[1] if self.direction == "denoise" else 1 - measured[1]

    def _describe(self, measured: Measured) -> Message:
        return {"value": measured[0], "recovery": measured[1], "effect": self._effect(measured)}


def _mean(experiment: Any, patches: Patch | list[Patch]) -> Any:
    """The result of patches; of several pairs the mean."""
    result = experiment.patch(patches)
    return result.mean() if experiment.runs.several else result


def _known(cell: Message, grids: list[GridView]) -> Measured | None:
    """What an exact cell of some grid says of this patch."""
    for grid in grids:
        place = grid.place_of(cell)
        if place is not None and grid.state[place] == EXACT:
            return float(grid.values[place]), float(grid.recovery[place])
    return None
