"""Causal mediation analysis: how much of what a word does to the answer goes through each component (Vig et al. 2020, arXiv:2004.12265)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr

from patchwidget.errors import PatchError, SiteError
from patchwidget.experiments.experiment import Experiment
from patchwidget.experiments.reproduce import setup, shown
from patchwidget.experiments.results.result import PatchResult
from patchwidget.experiments.sweeps.spec import Choices
from patchwidget.given import as_list
from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.pair import PromptPair
from patchwidget.prompts.prompt_set import PromptSet
from patchwidget.public import public
from patchwidget.runs.checks import worst_checks

# component -> the site, and whether all of a layer ("layer") or of the model ("model") goes together
COMPONENTS = {
    "heads": ("pattern", "each"),
    "head_layers": ("pattern", "layer"),
    "head_model": ("pattern", "model"),
    "neurons": ("mlp_post", "each"),
    "neuron_layers": ("mlp_post", "layer"),
    "neuron_model": ("mlp_post", "model"),
}


@dataclass(frozen=True, eq=False)
class Mediation:
    """Total, indirect and direct effects.

    Attributes:
        total: by pair, odds(x') / odds(x) - 1, where odds = p(answer) / p(distractor).
        effects: component -> PatchResult with axes (pair, effect, ...): effect "indirect" (x, with the component as it is in x') and "direct"
            (x', with the component as it is in x), both as a relative change of the odds of x, like the total. Its recovery is the share of the
            mean total effect; its mean, statistics, plots and files are those of any result.
    """

    total: xr.DataArray
    effects: dict[str, PatchResult]

    def __getitem__(self, component: str) -> PatchResult:
        """The effects of one kind of component."""
        if component not in self.effects:
            raise PatchError(f"{component!r} was not measured.", f"There are {', '.join(self.effects)}.")
        return self.effects[component]

    def to_frame(self) -> pd.DataFrame:
        """The mean over pairs, one row for each component and effect."""
        frames = []
        for name, result in self.effects.items():
            frame = result.mean().to_frame().assign(component=name)
            frames.append(frame.rename(columns={"recovery": "share of total"}))
        return pd.concat(frames, ignore_index=True)

    def plot(self, component: str | None = None) -> go.Figure:
        """The share of the total effect that goes through each component; the first kind if none is named."""
        return self[component or next(iter(self.effects))].plot()

    def __repr__(self) -> str:
        measured = ", ".join(self.effects)
        return f"Mediation({self.total.size} pairs, mean total effect {float(self.total.mean()):.3g} times the odds; {measured})"


@public
def mediation(
    model: WrappedModel,
    task: PromptPair | PromptSet | Sequence[PromptPair],
    *,
    components: Sequence[str] = ("heads", "head_layers", "head_model", "neuron_layers", "neuron_model"),
    role: str | None = "profession",
    layers: Choices | None = None,
    neurons: Choices | None = None,
    executor: str = "auto",
    progress: bool = True,
) -> Mediation:
    """Total, indirect and direct effects of heads and neurons.

    x is the corrupted prompt of each pair ("The nurse said that"), x' the clean one ("The man said that"), and odds = p(answer) / p(distractor)
    after the prompt, anti-stereotypical by stereotypical in the paper. All effects are relative changes odds / odds(x) - 1, by pair, then
    averaged. Heads are their attention patterns at every position; neurons the hidden activations of the MLP (as the down projection
    receives them) at the tokens of `role`.

    Args:
        task: one pair or several, each of equal length, with one answer and one distractor each; `pw.tasks.gendered_pronouns(model)` for the paper's.
        components: of "heads", "head_layers" (all heads of a layer together), "head_model" (all heads), "neurons", "neuron_layers",
            "neuron_model". Single neurons are many: choose layers for them.
        role: where neurons are set; None for all positions.
        layers, neurons: which; all by default.

    Raises:
        SiteError: the model has no such place, or the pairs no such role.
        PatchError: a component is not known.
    """
    layer_list, neuron_list = as_list(layers), as_list(neurons)
    strange = [name for name in components if name not in COMPONENTS]
    if strange or not components:
        raise PatchError(f"components={list(components)!r} is not known.", f"Choose of {', '.join(COMPONENTS)}.")
    pairs = [task] if isinstance(task, PromptPair) else task
    indirect, direct = (Experiment(model, pairs, direction=direction) for direction in ("denoise", "noise"))
    if any(pair.shifted for pair in indirect.pairs):
        raise SiteError(
            "A pattern of attention can't be taken from a prompt whose tokens do not correspond.", "Use prompts of equal length."
        )
    effects = {}
    for name in components:
        site, together = COMPONENTS[name]
        options = _cells(model, site, together, role, layer_list, neuron_list)
        restored, held = (experiment.sweep(site, executor=executor, progress=progress, **options) for experiment in (indirect, direct))
        asked = {"components": [name], "role": role, "layers": layer_list, "neurons": neuron_list}
        arguments = ", ".join(f"{option}={shown(value)}" for option, value in asked.items())
        code = f"{setup(indirect.runs)}result = pw.mediation(model, pair, {arguments})[{name!r}]\n"
        effects[name] = _relative(name, restored, held, code)
    return Mediation(next(iter(effects.values())).clean, effects)  # type: ignore[arg-type]


def _cells(model: WrappedModel, site: str, together: str, role: str | None, layers: list | None, neurons: list | None) -> dict[str, Any]:
    chosen = list(range(model.n_layers)) if layers is None else layers
    every = range(model.n_heads) if site == "pattern" else _neurons(model)
    group = None if together == "each" else [list(every)]
    options: dict[str, Any] = {"layers": [chosen] if together == "model" else chosen}
    options["positions"] = "all" if site == "pattern" or role is None else [role]
    if site == "pattern":
        return options | {"heads": group}
    return options | {"neurons": neurons if together == "each" else group}


def _neurons(model: WrappedModel) -> range:
    from patchwidget.engine.sites import axis_size, find_site

    return range(axis_size(model, find_site("mlp_post"), 0) or 0)


def _growth(difference: Any) -> Any:
    """exp(difference) - 1: what a difference of logits makes of odds."""
    return np.expm1(difference)


def _relative(name: str, indirect: PatchResult, direct: PatchResult, code: str) -> PatchResult:
    """Logit differences as relative changes of the odds of x: the odds are the exponential of the logit difference of two tokens."""
    base = indirect.corrupted
    effects = xr.DataArray(["indirect", "direct"], dims="effect", name="effect")
    values = xr.concat([_growth(result.values - base) for result in (indirect, direct)], effects)
    values = values.squeeze([dim for dim in ("role",) if dim in values.dims], drop=True)
    crowded = [dim for dim in ("head", "neuron", "layer") if dim in values.dims and isinstance(values[dim].to_numpy()[0], str)]
    values = values.squeeze(crowded, drop=True).transpose("pair", "effect", ...).rename("relative change of the odds")
    state = np.stack([result.state for result in (indirect, direct)], 1).reshape(values.shape)
    total = _growth(indirect.clean - base)
    noise = max(indirect.noise, direct.noise) * (1 + float(abs(total).max()))
    info = {**indirect.info, "site": f"mediation by {name}", "metric": "relative change of the odds", "direction": "denoise", "code": code}
    return PatchResult(values, total, total * 0, state, worst_checks([indirect.checks, direct.checks]), noise, info)
