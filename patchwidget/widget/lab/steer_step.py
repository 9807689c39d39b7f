"""The step from a cell of a lab to its steering panel."""

from typing import Any

from patchwidget.steering.methods import STEERED_SITES
from patchwidget.widget.transport.protocol import Message

from .drilldown import ONE_PAIR_ONLY


def steer_step(experiment: Any, site: str) -> list[Message]:
    """What is offered at a cell of layer and token, where vectors live at this site."""
    if site not in STEERED_SITES:
        return []
    model = experiment.model
    generates = getattr(getattr(model, "hf", None), "can_generate", lambda: False)()
    reason = None if generates else f"{model.name} does not generate text by continuing a prompt."
    step = {
        "method": "steer",
        "label": "steer from this cell",
        "text": "The clean minus the corrupted activation here, as a vector with a slider, in a panel under the lab",
        "params": {"site": site},
        "takes": {"layer": "layer", "pos": "pos"},
        "only": None,
        "reason": ONE_PAIR_ONLY if experiment.runs.several else reason,
    }
    return [step]
