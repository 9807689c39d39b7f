"""The IOI recipe: from the logits back to the heads that move names, to those that steer them, and on (Wang et al. 2022, arXiv:2211.00593)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr

from patchwidget.errors import PatchError
from patchwidget.experiments.experiment import Experiment
from patchwidget.experiments.paths.nodes import Node
from patchwidget.experiments.results.result import PatchResult
from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.pair import PromptPair
from patchwidget.public import public

from .head_roles import head_roles, pairs_with_roles

Head = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Movers:
    """What the recipe found. Heads are (layer, head).

    Attributes:
        name_movers, negative_movers: heads whose direct path to the logits carries the answer, and those that work against it, strongest first.
        s_inhibition: heads that reach the name movers' queries, strongest first.
        early: heads that reach the values of these: duplicate-token and induction heads in the paper.
        to_logits, to_queries, to_values: path patching results (noise: the corrupted activation into the clean run, other heads frozen); None
            where there were no receivers behind the first layer.
        roles: scores by attention and weights; see `head_roles`.
    """

    name_movers: list[Head]
    negative_movers: list[Head]
    s_inhibition: list[Head]
    early: list[Head]
    to_logits: PatchResult
    to_queries: PatchResult | None
    to_values: PatchResult | None
    roles: xr.Dataset

    def to_frame(self) -> pd.DataFrame:
        """One row for each head that was found: its part, its effect on that path, and its scores."""
        rows = []
        for part, result, heads in self._parts():
            for layer, head in heads:
                effect = result.mean().effect  # type: ignore[union-attr]
                scores = {str(name): float(score.sel(layer=layer, head=head)) for name, score in self.roles.items()}
                rows.append({"part": part, "layer": layer, "head": head, "effect": float(effect.sel(layer=layer, head=head)), **scores})
        return pd.DataFrame(rows)

    def plot(self, result: PatchResult | None = None) -> go.Figure:
        """A grid of heads with the parts written on it: the direct effects on the logits, or any other result over (layer, head)."""
        shown = self.to_logits if result is None else result
        if shown.mean().values.dims != ("layer", "head"):
            raise PatchError(f"The result has the axes {shown.mean().values.dims}, and the parts belong to (layer, head).", "Sweep heads.")
        figure = shown.plot()
        for part, _, heads in self._parts():
            points = {"x": [str(head) for _, head in heads], "y": [str(layer) for layer, _ in heads]}
            figure.add_scatter(**points, mode="text", text=[part[0].upper()] * len(heads), name=part, hoverinfo="skip")
        return figure

    def __repr__(self) -> str:
        return "\n".join(f"{part}: {', '.join(f'{layer}.{head}' for layer, head in heads) or 'none'}" for part, _, heads in self._parts())

    def _parts(self) -> list[tuple[str, PatchResult | None, list[Head]]]:
        return [
            ("name movers", self.to_logits, self.name_movers),
            ("negative movers", self.to_logits, self.negative_movers),
            ("s-inhibition", self.to_queries, self.s_inhibition),
            ("early", self.to_values, self.early),
        ]


@public
def find_movers(
    model: WrappedModel,
    task: PromptPair | Sequence[PromptPair],
    *,
    most: int = 4,
    threshold: float = 0.02,
    freeze: str = "heads",
    progress: bool = True,
) -> Movers:
    """Find the parts of the IOI circuit on this model, by path patching as in the paper's section 3.

    Each head gets its activation from the corrupted prompt (the paper's p_ABC: `pw.tasks.ioi(model, corruption="ABC")`), and the change reaches one
    kind of receiver alone: first the logits; then the queries of the name movers that were found; then the values of the heads found there.

    Args:
        task: one pair or several with the roles IO, S1, S2 and END.
        most: how many heads make a part at most.
        threshold: the least effect, as a share of the gap between the two prompts, that makes a head part of it.
        freeze: as in `Experiment.paths`.

    Raises:
        PromptError: the prompts lack a role.
        PatchError: no head's direct effect on the logits reaches the threshold, so that there is nothing to go back from.
    """
    pairs_with_roles(model, task)  # tells what is wrong before hundreds of runs
    experiment = Experiment(model, task, direction="noise")
    to_logits = experiment.paths(Node("resid_post"), freeze=freeze, progress=progress)
    movers, against = (_strongest(to_logits, most, threshold, sign) for sign in (1, -1))
    if not movers:
        largest = float(np.nanmax(to_logits.mean().effect))
        message = f"No head carries {threshold:.0%} of the answer to the logits by itself; the most is {largest:.1%}."
        raise PatchError(message, "Choose a lower threshold, or another task.")

    def back(site: str, heads: list[Head]) -> tuple[PatchResult | None, list[Head]]:
        receivers = [Node(site, *head) for head in heads if head[0] > 0]  # nothing comes before the first layer
        if not receivers:
            return None, []
        result = experiment.paths(receivers, freeze=freeze, progress=progress)
        return result, _strongest(result, most, threshold, 1)

    to_queries, inhibiting = back("q", movers)
    to_values, early = back("v_per_head", inhibiting)
    return Movers(movers, against, inhibiting, early, to_logits, to_queries, to_values, head_roles(model, task))


def _strongest(result: PatchResult, most: int, threshold: float, sign: int) -> list[Head]:
    """The heads with the largest effect of one sign: lost (1) or gained (-1) is the answer without them."""
    effect = sign * result.mean().effect.transpose("layer", "head")
    order = np.argsort(-np.nan_to_num(effect.to_numpy(), nan=-np.inf).ravel(), kind="stable")[:most]
    places = [np.unravel_index(place, effect.shape) for place in order]
    return [(int(layer), int(head)) for layer, head in places if float(effect[layer, head]) >= threshold]
