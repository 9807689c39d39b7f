"""Activation patching inside a Jupyter notebook. See the README for the ten lines that matter."""

import logging
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .errors import MetricError, ModelError, PatchError, PromptError, SiteError
from .experiments.experiment import Experiment
from .experiments.prompts import PromptPair
from .experiments.result import PatchResult
from .models.load import load, wrap
from .models.model import Model

if TYPE_CHECKING:
    from .widget.lab import PatchLab

__all__ = [
    "Experiment",
    "MetricError",
    "Model",
    "ModelError",
    "PatchError",
    "PatchLab",
    "PatchResult",
    "PromptError",
    "PromptPair",
    "SiteError",
    "__version__",
    "load",
    "wrap",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    # The widget needs the built front end; scripts that never show it should not.
    if name == "PatchLab":
        from .widget.lab import PatchLab

        return PatchLab
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
