"""Do patches work together or are they redundant? Each alone, each two, and all together, in one pass."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr

from patchwidget.engine.edits import Cell, Edit
from patchwidget.engine.names import Names
from patchwidget.engine.sites import MODULE
from patchwidget.errors import PatchError
from patchwidget.experiments.results.result import PatchResult
from patchwidget.experiments.sweeps.patch import Patch
from patchwidget.experiments.sweeps.result_layout import Layout
from patchwidget.experiments.sweeps.sweep import Sweep, run_through
from patchwidget.models.wrapped import WrappedModel
from patchwidget.runs.pair_runs import PairRuns

from .question import patch_edits
from .reproduce import script, shown


@dataclass(frozen=True, eq=False)
class Interaction:
    """What patches do alone and together.

    Effects are fractions of the gap between the two runs, as in `PatchResult.effect`; over several prompt pairs, of the mean metric.
    Synergy is the joint effect minus the sum of the single ones: above 0 (for effects above 0) the patches need each other, below 0 they are
    redundant, 0 where they add up.

    Attributes:
        names: of the patches.
        single: [patch], the effect of each alone.
        joint: [patch, other], of each two together; on the diagonal, of each alone.
        synergy: [patch, other], joint minus both single effects; NaN on the diagonal.
        all: the effect of all together; `all_synergy` is that minus all single effects.
        result: the runs' metrics themselves, with their checks, along an axis `patches`.
    """

    names: list[str]
    single: xr.DataArray
    joint: xr.DataArray
    synergy: xr.DataArray
    all: float
    all_synergy: float
    result: PatchResult

    @classmethod
    def of(cls, names: Sequence[str], result: PatchResult) -> "Interaction":
        """Read off a result whose places are those of `combined`."""
        n, mean = len(names), result.mean()
        effect = mean.effect.to_numpy()
        joint = np.diag(effect[:n])
        for place, (i, j) in enumerate(combinations(range(n), 2), n):
            joint[i, j] = joint[j, i] = effect[place]
        synergy = joint - effect[:n, None] - effect[None, :n]
        np.fill_diagonal(synergy, np.nan)
        axes = {"patch": list(names), "other": list(names)}
        all_together = float(effect[-1])
        return cls(
            list(names),
            xr.DataArray(effect[:n], {"patch": list(names)}, name="effect"),
            xr.DataArray(joint, axes, name="effect"),
            xr.DataArray(synergy, axes, name="synergy"),
            all_together,
            all_together - float(effect[:n].sum()),
            result,
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per run: the patches in it, how many, the metric, the effect, and the synergy where there are several."""
        mean, n = self.result.mean(), len(self.names)
        effect, groups = mean.effect.to_numpy(), combined(n)
        synergy = [np.nan if len(group) == 1 else effect[i] - effect[list(group)].sum() for i, group in enumerate(groups)]
        columns = {
            "patches": mean.values["patches"].to_numpy(),
            "n": [len(group) for group in groups],
            "value": mean.values.to_numpy(),
            "effect": effect,
            "synergy": synergy,
        }
        return pd.DataFrame(columns)

    def plot(self) -> go.Figure:
        """The synergy of each two as a heat map; what they do alone and together is told where one points."""
        texts = [
            [
                f"{a} alone {self.single[i]:.3f}<br>{b} alone {self.single[j]:.3f}<br>together {self.joint[i, j]:.3f}"
                for j, b in enumerate(self.names)
            ]
            for i, a in enumerate(self.names)
        ]
        values = self.synergy.to_numpy()
        limit = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
        heat = go.Heatmap(
            z=values,
            x=self.names,
            y=self.names,
            zmin=-limit,
            zmax=limit,
            colorscale="RdBu_r",
            colorbar={"title": {"text": "synergy"}},
            text=texts,
            hovertemplate="%{text}<br>synergy %{z:.3f}<extra></extra>",
        )
        title = f"synergy · {self.result.info['metric']} · all {len(self.names)} together {self.all:.2f}, their sum {self.all - self.all_synergy:.2f}"
        layout = {"title": {"text": title, "font": {"size": 14}}, "template": "plotly_white", "yaxis": {"autorange": "reversed"}}
        return go.Figure(heat).update_layout(layout)

    def __repr__(self) -> str:
        return (
            f"Interaction({len(self.names)} patches, {self.result.info['metric']}: together {self.all:.3f} of the gap, "
            f"one by one {self.all - self.all_synergy:.3f}, synergy {self.all_synergy:+.3f})"
        )


def measure_interaction(
    runs: PairRuns, patches: Sequence[Patch], *, names: Sequence[str] | None = None, executor: str = "auto"
) -> Interaction:
    """Whether patches work together or are redundant: the effect of each, of each two, and of all, in one pass.

    Args:
        patches: two or more, of different activations.
        names: what to call them; by default what they are, such as "z 9.6".

    Returns:
        An Interaction: `.single`, `.joint`, `.synergy` (joint minus the sum of the single effects), `.all`, `.to_frame()`, `.plot()`.

    Raises:
        SiteError: a patch names something that does not exist in this model.
        PatchError: fewer than two patches, or two that replace the same activation, be it under two names.
    """
    named, groups = name_patches(patches, names), combined(len(patches))

    def cells(pairs: Sequence[int]) -> Iterator[Cell | None]:
        for i in pairs:
            edits = [patch_edits(runs, patch, i) for patch in patches]
            check_apart(runs.model, named, edits)
            yield from (Cell(tuple(edit for number in group for edit in edits[number]), i) for group in groups)

    site = "+".join(dict.fromkeys(patch.site for patch in patches))
    labels = [" + ".join(named[number] for number in group) for group in groups]
    info = {"patches": list(patches), "code": script(runs, f"interaction({shown(patches)}, names={named}).result")}
    layout = Layout.of(runs, site, {"patches": labels}, info)
    return Interaction.of(named, run_through(Sweep(runs, layout, cells, executor), site, progress=False))


def combined(n: int) -> list[tuple[int, ...]]:
    """Which of n patches are in each run: each one, each two, and all of them where these are more."""
    groups: list[tuple[int, ...]] = [(i,) for i in range(n)] + list(combinations(range(n), 2))
    return groups if n == 2 else [*groups, tuple(range(n))]


def name_patches(patches: Sequence[Patch], names: Sequence[str] | None) -> list[str]:
    """The names that were given, or what each patch is in short, such as "z 9.6 @13"; numbered where two are the same.

    Raises:
        PatchError: fewer than two patches, or not as many names as patches.
    """
    if len(patches) < 2:
        raise PatchError(f"An interaction is between patches, and there is {len(patches)}.", "Give two or more pw.Patch.")
    if names is not None and (len(names) != len(patches) or len(set(names)) != len(names)):
        raise PatchError(f"The names {list(names)} are not one for each of {len(patches)} patches.", "Give as many, each different.")
    chosen = [_name(patch) for patch in patches] if names is None else list(names)
    often, seen = Counter(chosen), Counter[str]()
    for i, name in enumerate(chosen):
        seen[name] += 1
        if often[name] > 1:
            chosen[i] = f"{name} #{seen[name]}"
    return chosen


def check_apart(model: WrappedModel, names: Sequence[str], edits: Sequence[Sequence[Edit]]) -> None:
    """Raise PatchError where two patches replace the same activation, by whatever names, so that there is no telling what both together are."""
    tensors = Names(model)
    touched = [[(spot, edit) for edit in several if edit.operator != "add" for spot in _touched(tensors, edit)] for several in edits]
    for (i, one), (j, other) in combinations(enumerate(touched), 2):
        at: dict[tuple[Hashable, int], list[tuple[_Spot, Edit]]] = defaultdict(list)
        for spot, edit in other:
            at[spot.tensor, spot.position].append((spot, edit))
        for spot, edit in one:
            met = next((there for place, there in at.get((spot.tensor, spot.position), []) if spot.meets(place)), None)
            if met is not None:
                same = "" if met.place == edit.place else f" ({_shown(met)} is the same tensor)"
                message = f"{names[i]} and {names[j]} both replace {_shown(edit)} at position {spot.position}{same}."
                raise PatchError(message, "Choose patches of different activations.")


def _name(patch: Patch) -> str:
    part = patch.head if patch.head is not None else patch.neuron
    where = patch.site if patch.layer is None else f"{patch.site} {patch.layer}"
    where = where if part is None else f"{where}.{_listed(part)}"
    return where if patch.pos is None else f"{where} @{_listed(patch.pos)}"


def _listed(value: int | Sequence[int]) -> str:
    return str(value) if isinstance(value, int) else "+".join(map(str, value))


@dataclass(frozen=True)
class _Spot:
    """What an edit replaces at one position: of which tensor, which part of it and which source of a pattern; None for all of them.

    Parts are the heads or neurons of a site, or (`elements`) single numbers of what a module takes or gives.
    """

    tensor: Hashable
    position: int
    index: int | None
    column: int | None
    elements: bool

    def meets(self, other: "_Spot") -> bool:
        """Whether both, of one tensor and position, have something in common; parts of different kinds count as if they had."""
        if self.elements != other.elements:
            return True
        return all(a is None or b is None or a == b for a, b in [(self.index, other.index), (self.column, other.column)])


def _touched(tensors: Names, edit: Edit) -> list[_Spot]:
    named = tensors.edit(edit)
    parts = tensors.views(named) if named.site in ("k", "v") else [named]
    return [
        _Spot(tensors.tensor(part), p, part.index, column, part.site.startswith(MODULE))
        for part in parts
        for p in part.positions
        for column in part.columns or (None,)
    ]


def _shown(edit: Edit) -> str:
    return edit.site if edit.site.startswith(MODULE) else f"{edit.site} of layer {edit.layer}"
