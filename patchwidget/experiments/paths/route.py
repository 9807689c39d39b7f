"""The way from senders to receivers: under which rule, through which nodes, and what arrives in the end."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from patchwidget.engine.paths.frozen_run import FREEZE, Edits, FrozenRun, Receiver
from patchwidget.engine.paths.pass_through import pass_through
from patchwidget.engine.recording import Recording
from patchwidget.engine.sites import check_site
from patchwidget.errors import ModelError, SiteError
from patchwidget.runs.pair_runs import PairRuns

from .nodes import Node


@dataclass(frozen=True, eq=False)
class Route:
    """Carries the changes of senders to the inputs of receivers.

    Attributes:
        freeze: what else of the base run is held, by name (see `paths`).
        between: nodes that they go through, in order; each by the residual connection alone, so that `freeze` has to be "all".
        receivers: where they end, all at once.
        missed: (site, layer) pairs that were to be changed and that the model never passed.

    Raises:
        ModelError, SiteError: the model's blocks can't be taken apart as that needs.
    """

    runs: PairRuns
    freeze: str
    between: Sequence[Node]
    receivers: Sequence[Node]
    missed: set[tuple[str, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        model, why_not = self.runs.model, self.runs.why_not_packed()
        if why_not:
            hint = "Patch activations with exp.sweep; paths need heads and MLPs that can be held one by one."
            raise ModelError(f"{model.name} can't be split into paths: {why_not}.", hint)
        for node in [*self.between, *self.receivers]:
            block = model.anatomy.blocks[node.layer or 0]
            if node.site in ("mlp_in", "mlp_out") and block.mlp_out is None:
                split = f"{type(block.module).__name__} can't be split there, since no module of it gives what the MLP adds to the residual stream"
                raise SiteError(f"{node} can't receive: {split}.", "Choose q, k or v of a head, or resid_post.")
        for layer in range(model.n_layers):
            for site in FREEZE[self.freeze]:
                check_site(model, site, layer)

    def carry(self, pair: int, senders: Sequence[Edits]) -> list[Edits]:
        """What changes of one pair's base run make of the receivers' inputs."""
        model, base = self.runs.model, self._base(pair)
        frozen = FrozenRun(model, base, self.freeze, self.runs.rows_at_once([pair]))
        for node in self.between:
            whole = replace(node, pos=None)
            reads, gives = (whole, node) if node.site == "z" else (node, whole)  # the positions of z are those of the head's output
            arrived = frozen.receive(senders, reads.inputs(model, self._heard(reads, pair)))
            head, positions = node.head if node.site == "z" else None, gives.positions(base.length)
            senders = [pass_through(model, base, changed, positions, head) for changed in arrived]
        arrived = frozen.receive(senders, self.inputs(pair))
        self.missed.update(frozen.missed)
        return arrived

    def inputs(self, pair: int) -> list[Receiver]:
        """What the receivers read in one pair's base run."""
        return [receiver for node in self.receivers for receiver in node.inputs(self.runs.model, self._heard(node, pair))]

    def _heard(self, node: Node, pair: int) -> tuple[int, ...]:
        """The positions of a node at which it can make a difference to what is measured."""
        measured = self.runs.measures[pair].positions
        last = node.layer == self.runs.model.n_layers - 1 and node.site in ("q", "mlp_in", "mlp_out", "resid_post")  # no attention follows
        return tuple(p for p in node.positions(self.runs.length(pair)) if p in measured or (p < measured[-1] and not last))

    def _base(self, pair: int) -> Recording:
        for site in FREEZE[self.freeze]:
            self.runs.recording(self.runs.base, site, pair)
        return self.runs.recording(self.runs.base, pair=pair)
