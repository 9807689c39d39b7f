"""What the result of path patching is checked by, beside what every result is."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from patchwidget.engine.edits import Cell, Edit
from patchwidget.engine.paths.frozen_run import FREEZE, Edits
from patchwidget.experiments.results.result import PatchResult
from patchwidget.experiments.sweeps.controls import proven_pair
from patchwidget.runs.checks import Check, reached_check
from patchwidget.runs.pair_runs import PairRuns

from .route import Route
from .senders import Senders


def check_paths(runs: PairRuns, result: PatchResult, senders: Senders, route: Route) -> PatchResult:
    """The result with these checks added to those that it has, and its noise raised to what they are off by.

    A sender given its own activation has to change nothing. And with everything before the receivers changed at once, these have to receive
    what they have in the other run; not asked of a chain, through which not everything goes, nor of prompts whose positions do not correspond.
    """
    pair = proven_pair(runs)
    if route.between or runs.pairs[pair].shifted:
        changed = route.carry(pair, [senders.unchanged(runs, pair)])
    else:
        changed = [*route.carry(pair, [senders.unchanged(runs, pair), _everything(runs, pair, route)]), _other_run(runs, pair, route)]
    values = _measured(runs, pair, changed, result.info["executor"])
    base = np.array([runs.value_of(runs.base, pair, metric) for metric in range(len(runs.metrics))])
    off = [values[0] - base, *([values[1] - values[2]] if len(values) > 1 else [])]
    texts = [
        ("identity path", "A sender given its own activation changes nothing."),
        ("all senders", "With everything before them changed at once, the receivers receive what they have in the other run."),
    ]
    checks = [_small(*text, float(abs(difference[0])), runs.tolerance) for text, difference in zip(texts, off, strict=False)]
    checks.append(replace(reached_check(route.missed), name="senders fired"))
    noise = np.nanmax(np.abs(np.stack(off)), 0, initial=0)
    return _with(result, checks, dict(zip(runs.metrics, noise.tolist(), strict=True)))


def _everything(runs: PairRuns, pair: int, route: Route) -> Edits:
    """The embeddings and every site that is held up to the receivers' layers, as in the other run."""
    last, positions = max(node.layer or 0 for node in route.receivers), tuple(range(runs.length(pair)))
    places = [("resid_pre", 0), *((site, layer) for layer in range(last + 1) for site in FREEZE[route.freeze])]
    return tuple(
        Edit(site, layer, positions, runs.recording(runs.source, site, pair).at(site, layer)[list(positions)]) for site, layer in places
    )


def _other_run(runs: PairRuns, pair: int, route: Route) -> Edits:
    """The receivers' inputs as they are in the other run."""
    edits = []
    for receiver in route.inputs(pair):
        site = "mlp_out" if receiver.site == "mlp_in" else receiver.site
        recorded = site.removesuffix("_per_head")
        value = runs.recording(runs.source, recorded, pair).at(recorded, receiver.layer)[list(receiver.positions)]
        if receiver.index is not None:
            per_group = runs.model.n_heads // runs.model.n_kv_heads if site != recorded else 1
            value = value[:, receiver.index // per_group]
        edits.append(Edit(site, receiver.layer, receiver.positions, value, receiver.index))
    return tuple(edits)


def _measured(runs: PairRuns, pair: int, changed: Sequence[Edits], executor: str) -> np.ndarray:
    """[cells, metrics] of base runs with these edits."""
    values = np.empty((len(changed), len(runs.metrics)), np.float32)
    for batch in runs.make_executor(executor, [pair]).run([Cell(edits) for edits in changed]):
        values[batch.cells] = batch.values.numpy()
    return values


def _small(name: str, text: str, difference: float, limit: float) -> Check:
    return Check(name, difference <= limit, difference, limit, text)


def _with(result: PatchResult, checks: list[Check], noise: dict[str, float]) -> PatchResult:
    others = {name: _with(other, checks, noise) for name, other in result.others.items()}
    return replace(
        result, checks=[*result.checks, *checks], noise=float(np.fmax(result.noise, noise[result.info["metric"]])), others=others
    )
