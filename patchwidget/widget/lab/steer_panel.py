"""Steering from a cell of a lab: a panel in an output under it, made when it is first asked for; each cell after that is one more row."""

from typing import Any

from IPython.display import display, publish_display_data

from patchwidget.widget.steer.widget import SteerLab
from patchwidget.widget.transport.protocol import Methods

METHODS: Methods = {
    "steer": {"layer": "a whole number", "pos": "a whole number", "site": "a text", "parent?": "a cell, or the way to one"},
}
"""What a lab understands besides its own methods."""


class SteerUnder:
    """The steering panel of one lab; `name` is the lab's id."""

    def __init__(self, name: str) -> None:
        self._place = f"{name}-steering"
        self.panel: SteerLab | None = None

    def display_under(self) -> None:
        """Keep a place for it."""
        display({"text/html": ""}, raw=True, display_id=self._place)

    def add(self, experiment: Any, layer: int, pos: int, site: str) -> None:
        """One more row, of the vector at this cell; returns at once."""
        if self.panel is None:
            self.panel = SteerLab(experiment.model, experiment.prompts[0].corrupted)
            bundle = self.panel._repr_mimebundle_()
            if bundle is not None:
                publish_display_data(*bundle, transient={"display_id": self._place}, update=True)
        self.panel.add_cell(experiment, layer=layer, pos=pos, site=site)

    def close(self) -> None:
        if self.panel is not None:
            self.panel.close()
