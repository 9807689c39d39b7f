"""Path patching: which components a receiver hears from, and by which way.

A sender is given its activation in the source run. A freeze rule says what of the base run may change with it. What then stands at the
receiver's input is put into the base run, everything after the receiver is computed anew, and the metric is read. The rules answer different
questions, and their numbers are not comparable: what an MLP on the way makes of a head's output belongs to that head's path under "heads",
while under "all" it is a path of its own, from the MLP.

- "heads": every other head's output is held at the base run; MLPs and norms on the way are recomputed. Wang et al. 2022
  (arXiv:2211.00593), section 3.1 and appendix B.
- "all": every other head's and every MLP's output is held: the sender's change is added to the receiver's input by the residual connection
  alone, and goes through the receiver's own norm. This is one edge of the graph that Goldowsky-Dill et al. 2023 (arXiv:2304.05969) patch.
- "path", of `patch_path`: a chain of nodes, each of which receives from the one before as under "all"; whatever else a node's output
  goes to keeps what it had. A path of the treeified graph in Goldowsky-Dill et al. 2023, section 2.

Several receivers are given at once what arrives at each of them; what one of them would pass on to another is not added to that.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor

from patchwidget.engine.edits import Cell
from patchwidget.engine.paths.frozen_run import FREEZE
from patchwidget.errors import PatchError, SiteError
from patchwidget.experiments.reproduce import script, shown
from patchwidget.experiments.results.result import PatchResult
from patchwidget.experiments.sweeps.result_layout import Layout
from patchwidget.experiments.sweeps.sources import Source, as_source, describe_source
from patchwidget.experiments.sweeps.spec import Positions
from patchwidget.experiments.sweeps.sweep import Sweep, run_through
from patchwidget.given import as_list
from patchwidget.runs.pair_runs import PairRuns

from .checks import check_paths
from .nodes import BETWEEN, RECEIVERS, SENDERS, Node, check_node
from .route import Route
from .senders import SenderNodes, Senders, make_senders, one_sender


def patch_paths(
    runs: PairRuns,
    receiver: Node | Sequence[Node],
    senders: SenderNodes | None = None,
    freeze: str = "heads",
    *,
    positions: Positions = "all",
    source: Source | None = None,
    progress: bool = True,
) -> PatchResult:
    """Path patching: change a sender, let the change reach the receiver on direct ways only, and measure what the receiver makes of it.

    The sender gets its activation from the source run; by the freeze rule the receiver's input changes with it; the base run is given
    this input, and everything after the receiver is computed anew.

    Args:
        receiver: a pw.Node, or several at once: q, k or v of a head (k, v of a key/value head), k_per_head or v_per_head of a query head,
            mlp_in, or resid_post (of the last block, if no layer is named: the logits).
        senders: "z", every head (the default); "mlp_out", every MLP; likewise attn_out, resid_pre, resid_mid; or a list of nodes, each by
            itself, an item that is itself a list together.
        freeze: "heads" (Wang et al. 2022: all other heads are held at the base run, MLPs and norms are recomputed) or "all" (the change is
            added to the receiver's input by the residual connection alone). Numbers under different rules are not comparable.
        positions: where senders change: "all", a list of positions, or as an axis: "each", a list of lists, "roles".
        source: with what (see `sweep`).
        progress: show a progress bar if it takes more than a second.

    Returns:
        A PatchResult with axes (layer, head), (layer) or (sender); with positions as an axis (layer, pos, head), (layer, pos) or
        (sender, pos). Senders that do not come before the receiver leave the base run as it is.

    Raises:
        SiteError: a node or position does not exist, can't send or receive, or a receiver comes before its sender.
        ModelError: the model can't be split into heads and MLPs.
        PatchError: the freeze rule or the source is not known.
    """
    senders, positions, source = "z" if senders is None else senders, as_list(positions), as_source(source)
    if freeze not in FREEZE:
        hint = (
            "Use 'heads' (MLPs on the way are recomputed) or 'all' (residual connection alone); for a chain of nodes use exp.path([...])."
        )
        raise PatchError(f"freeze={freeze!r} is not known.", hint)
    runs.look_again()
    several = [receiver] if isinstance(receiver, Node) else list(receiver)
    if not several:
        raise SiteError("The list of receivers is empty.", "Give at least one pw.Node.")
    receivers = [check_node(runs.model, node, "receiver", RECEIVERS) for node in several]
    route = Route(runs, freeze, (), receivers)
    sending = make_senders(runs, senders, positions, receivers)
    named = " and ".join(map(str, receivers))
    info = {
        "freeze": freeze,
        "receiver": named,
        "senders": sending.label,
        "positions": positions,
        "code": _code(runs, "paths", [receiver], {"senders": senders, "freeze": freeze, "positions": positions, "source": source}),
    }
    return _measure(runs, f"{sending.label} → {named} ({freeze} frozen)", sending, route, source, info, progress=progress)


def patch_path(runs: PairRuns, nodes: Sequence[Node], *, source: Source | None = None) -> PatchResult:
    """Patch one path, a chain of nodes: only what goes from each to the next carries the change (Goldowsky-Dill et al. 2023).

    Args:
        nodes: first a sender, last a receiver, as in `paths`; between them heads (z; or q, k, v: the head as it changes by these alone) and
            MLPs (mlp_out). Each node's change is added to the next one's input by the residual connection alone, as under freeze="all".
            A node's `pos` is where its activation may change.
        source: with what the first is changed (see `sweep`).

    Returns:
        A PatchResult without axes (or with `pair` alone).

    Raises:
        SiteError, ModelError: as `paths`.
    """
    source = as_source(source)
    if isinstance(nodes, Node) or len(nodes) < 2:
        raise SiteError("A path leads from one node to another, and fewer than two were given.", "Give a list of at least two.")
    runs.look_again()
    roles = [("sender", SENDERS), *[("node between", BETWEEN)] * (len(nodes) - 2), ("receiver", RECEIVERS)]
    chain = [check_node(runs.model, node, *role) for node, role in zip(nodes, roles, strict=True)]
    for node, after in pairwise(chain):
        if not node.comes_before(runs.model, after):
            raise SiteError(f"{after} can't receive from {node}, which does not come before it.", "Name nodes in the order of the path.")
    route = Route(runs, "all", chain[1:-1], chain[-1:])
    sending, label = one_sender(runs, (chain[0],)), " → ".join(map(str, chain))
    info = {
        "freeze": "path",
        "receiver": str(chain[-1]),
        "senders": str(chain[0]),
        "path": label,
        "code": _code(runs, "path", [list(nodes)], {"source": source}),
    }
    return _measure(runs, f"{label} (path)", sending, route, source, info, progress=False)


def _measure(
    runs: PairRuns, title: str, senders: Senders, route: Route, source: Source | None, info: dict, *, progress: bool
) -> PatchResult:
    """Every sender of every pair: its change carried to the receivers, what arrives there put into the base run, the metric read."""
    put = runs.source if source is None else source

    def arrivals(pairs: Sequence[int]) -> Iterator[Cell | None]:
        for pair in pairs:
            changes = list(senders.edits(runs, pair, put))
            arrived = iter(route.carry(pair, [change for change in changes if change is not None]))
            yield from (None if change is None else Cell(next(arrived), pair) for change in changes)

    layout = Layout.of(runs, title, senders.axes, {"source": describe_source(put), **info})
    result = run_through(Sweep(runs, layout, arrivals, "auto"), title, progress=progress)
    return check_paths(runs, result, senders, route)


_DEFAULTS = {"senders": "z", "freeze": "heads", "positions": "all", "source": None}


def _code(runs: PairRuns, method: str, first: list, options: Mapping[str, Any]) -> str:
    """The lines that ask this question again."""
    changed = {name: value for name, value in options.items() if isinstance(value, Tensor) or value != _DEFAULTS[name]}
    arguments = [*map(shown, first), *(f"{name}={shown(value)}" for name, value in changed.items())]
    return script(runs, f"{method}({', '.join(arguments)})")
