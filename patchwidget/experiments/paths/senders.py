"""The senders of a path-patching question: every head, every MLP, or nodes by name; at which positions."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

from patchwidget.engine.edits import Edit
from patchwidget.engine.paths.frozen_run import Edits
from patchwidget.errors import SiteError
from patchwidget.experiments.sweeps.sources import Source, Values, as_recorded, patchable, values_of
from patchwidget.experiments.sweeps.spec import Plan, Positions, make_plan
from patchwidget.runs.pair_runs import PairRuns

from .nodes import SENDERS, Node, check_node

# The name of a site for every one of it; or nodes, each by itself, an item that is a list of nodes together.
SenderNodes = str | Node | Sequence[Node | Sequence[Node]]
Group = tuple[Node, ...]


@dataclass(frozen=True, eq=False)
class Senders:
    """The axes of a result, and what sends at each of its places, in C order.

    Attributes:
        axes: name -> labels.
        places: for each the nodes that send together (none where nothing of it comes before the receiver), and the point of `plan`.
        plan: which positions there are.
        label: what they are, in words.
    """

    axes: dict[str, list]
    places: list[tuple[Group, dict[str, tuple[int, ...]]]]
    plan: Plan
    label: str

    def edits(self, runs: PairRuns, pair: int, source: Source) -> Iterator[Edits | None]:
        """What is changed of one pair's base run at each place; None where its prompt has no such position, or nothing to put there."""
        values, first = values_of(runs, pair, source)
        values, length, there = cache(values), runs.length(pair), patchable(runs, pair, source)
        for group, point in self.places:
            place = self.plan.in_prompt(point, length, partial(runs.positions_of_role, pair=pair))
            if not self.plan.fits(place, length, there):
                yield None
                continue
            edits = [_edit(node, place.get("pos") or node.positions(length), values, first, there) for node in group]
            yield tuple(edit for edit in edits if edit.positions)

    def unchanged(self, runs: PairRuns, pair: int) -> Edits:
        """One of them with the base run's own activations, which change nothing."""
        groups = [group for group, _ in self.places if group]
        values, positions = as_recorded(runs, pair, runs.base), range(runs.length(pair))
        return tuple(_edit(node, positions, values, 0, positions) for node in groups[len(groups) // 2])


def make_senders(runs: PairRuns, senders: SenderNodes, positions: Positions, receivers: Sequence[Node]) -> Senders:
    """Check what was asked for and lay it out.

    Raises:
        SiteError: a node that can't be a sender, does not exist, or comes before none of the receivers; a position that does not exist.
    """
    lengths = [runs.length(pair) for pair in range(len(runs.pairs))]
    roles = list(dict.fromkeys(role for pair in runs.pairs for role in pair.roles))
    plan = make_plan(runs.model, "resid_pre", lengths, layers=[0], positions=positions, roles=roles)
    label, outer, inner, rows = _grid(runs, senders, receivers) if isinstance(senders, str) else _named(runs, senders, receivers)
    where = {name: labels for name, labels in plan.coords.items() if name != "layer"}
    if (where or plan.together) and any(node.pos is not None for row in rows for group in row for node in group):
        raise SiteError(f"positions={positions!r} was given, and a sender names its own.", "Give one of the two.")
    places = [(group, point) for row in rows for point in plan.points() for group in row]
    return Senders({**outer, **where, **inner}, places, plan, label)


def one_sender(runs: PairRuns, group: Group) -> Senders:
    """Nodes that send together, for a result of one cell."""
    plan = make_plan(runs.model, "resid_pre", [1], layers=[0], positions="all")
    return Senders({}, [(group, plan.points()[0])], plan, " + ".join(map(str, group)))


def _grid(runs: PairRuns, site: str, receivers: Sequence[Node]) -> tuple[str, dict[str, list], dict[str, list], list[list[Group]]]:
    """Every head, or every layer: label, axis of the rows, axis within them, rows."""
    model = runs.model
    nodes = [check_node(model, Node(site, layer), "sender", SENDERS) for layer in range(model.n_layers)]
    earlier = [any(node.comes_before(model, receiver) for receiver in receivers) for node in nodes]
    if not any(earlier):
        raise SiteError(f"No {site} comes before {' and '.join(map(str, receivers))}, so no path leads there.", "Choose a later receiver.")
    heads = list(range(model.n_heads)) if site == "z" else [None]
    rows: list[list[Group]] = [
        [(replace(node, head=head),) if early else () for head in heads] for node, early in zip(nodes, earlier, strict=True)
    ]
    return site, {"layer": list(range(model.n_layers))}, {"head": heads} if site == "z" else {}, rows


def _named(
    runs: PairRuns, senders: Node | Sequence[Node | Sequence[Node]], receivers: Sequence[Node]
) -> tuple[str, dict[str, list], dict[str, list], list[list[Group]]]:
    """Nodes one by one: the same, in one column."""
    several = [senders] if isinstance(senders, Node) else list(senders)
    groups = [
        tuple(check_node(runs.model, node, "sender", SENDERS) for node in (item if isinstance(item, Sequence) else [item]))
        for item in several
    ]
    if not groups or not all(groups):
        raise SiteError("An empty list of senders was given.", "Give nodes, or 'z' for every head.")
    for node in (node for group in groups for node in group):
        if not any(node.comes_before(runs.model, receiver) for receiver in receivers):
            named = " and ".join(map(str, receivers))
            raise SiteError(
                f"{named} can't receive from {node}, which does not come before it.", "Choose an earlier sender or a later receiver."
            )
    labels = [" + ".join(map(str, group)) for group in groups]
    return ", ".join(labels) if len(labels) <= 3 else f"{len(labels)} senders", {"sender": labels}, {}, [[group] for group in groups]


def _edit(node: Node, positions: Sequence[int], values: Values, first: int, there: Collection[int]) -> Edit:
    """The node's activation replaced, where that can change anything."""
    chosen = tuple(position for position in positions if position >= first and position in there)
    value = values(node.site, node.layer or 0)[list(chosen)]
    return Edit(node.site, node.layer or 0, chosen, value if node.head is None else value[:, node.head], node.head)
