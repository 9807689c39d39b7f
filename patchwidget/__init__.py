"""Activation patching inside a Jupyter notebook. See the README for the ten lines that matter."""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .errors import MetricError, ModelError, PatchError, PromptError, SiteError
    from .experiments.experiment import Experiment
    from .experiments.paths.nodes import Node
    from .experiments.presets.causal_trace import causal_trace
    from .experiments.presets.directions import both_directions
    from .experiments.presets.head_roles import head_roles
    from .experiments.presets.mediation import mediation
    from .experiments.presets.movers import find_movers
    from .experiments.results.compare import compare
    from .experiments.results.result import PatchResult, open_result
    from .experiments.sweeps.patch import Patch
    from .experiments.sweeps.sources import Mean, Noise, Placebo, Resample
    from .loading import load, wrap
    from .model import Model
    from .prompts import tasks
    from .prompts.pair import PromptPair
    from .prompts.prompt_set import PromptSet
    from .steering.generation import Generation
    from .steering.steer import Steer
    from .steering.vector import SteeringVector
    from .widget.lab.widget import PatchLab
    from .widget.steer.widget import SteerLab

__all__ = [
    "Experiment",
    "Generation",
    "Mean",
    "MetricError",
    "Model",
    "ModelError",
    "Node",
    "Noise",
    "Patch",
    "PatchError",
    "PatchLab",
    "PatchResult",
    "Placebo",
    "PromptError",
    "PromptPair",
    "PromptSet",
    "Resample",
    "SiteError",
    "Steer",
    "SteerLab",
    "SteeringVector",
    "__version__",
    "both_directions",
    "causal_trace",
    "compare",
    "find_movers",
    "head_roles",
    "load",
    "mediation",
    "open_result",
    "tasks",
    "wrap",
]

# Imported when first used: the command line should not wait for torch, nor a script for the widget.
_HOME = {
    **dict.fromkeys(["MetricError", "ModelError", "PatchError", "PromptError", "SiteError"], "errors"),
    "Experiment": "experiments.experiment",
    **dict.fromkeys(["Mean", "Noise", "Placebo", "Resample"], "experiments.sweeps.sources"),
    "Generation": "steering.generation",
    "Model": "model",
    "Node": "experiments.paths.nodes",
    "Patch": "experiments.sweeps.patch",
    "PatchLab": "widget.lab.widget",
    "PatchResult": "experiments.results.result",
    "PromptPair": "prompts.pair",
    "PromptSet": "prompts.prompt_set",
    "Steer": "steering.steer",
    "SteerLab": "widget.steer.widget",
    "SteeringVector": "steering.vector",
    **dict.fromkeys(["load", "wrap"], "loading"),
    "both_directions": "experiments.presets.directions",
    "causal_trace": "experiments.presets.causal_trace",
    "compare": "experiments.results.compare",
    "find_movers": "experiments.presets.movers",
    "head_roles": "experiments.presets.head_roles",
    "mediation": "experiments.presets.mediation",
    "open_result": "experiments.results.result",
}
_MODULES = {"tasks": "prompts.tasks"}

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value = import_module(f"{__name__}.{_MODULES[name]}")
    elif name in _HOME:
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "load":  # which takes its time: what the first question needs may as well come with it
        import_module(f"{__name__}.experiments.experiment")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
