"""The step from a cell of a lab to its steering panel."""

from typing import Any

from patchwidget.experiments.steering.extract import STEERED_SITES

from .protocol import Message


def steer_step(model: Any, site: str) -> list[Message]:
    """What is offered at a cell of layer and token, where vectors live at this site."""
    if site not in STEERED_SITES:
        return []
    generates = getattr(getattr(model, "hf", None), "can_generate", lambda: False)()
    step = {
        "method": "steer",
        "label": "steer from this cell",
        "text": "The clean minus the corrupted activation here, as a vector with a slider, in a panel under the lab",
        "params": {"site": site},
        "takes": {"layer": "layer", "pos": "pos"},
        "only": None,
        "reason": None if generates else f"{model.name} does not generate text by continuing a prompt.",
    }
    return [step]
