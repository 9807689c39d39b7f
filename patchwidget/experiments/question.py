"""From what is asked to the cells that answer it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, partial
from types import MappingProxyType
from typing import Any

from patchwidget.engine.edits import Cell, Edit
from patchwidget.errors import SiteError
from patchwidget.experiments.sweeps.patch import Patch
from patchwidget.experiments.sweeps.result_layout import Layout
from patchwidget.experiments.sweeps.sources import Source, as_recorded, as_source, describe_source, patchable, values_of
from patchwidget.experiments.sweeps.spec import Choices, Plan, Positions, make_plan
from patchwidget.experiments.sweeps.sweep import Estimate, Sweep
from patchwidget.given import as_list, plain
from patchwidget.runs.pair_runs import PairRuns

from .reproduce import code_of


@dataclass(frozen=True, eq=False)
class Where:
    """Which cells of a site are asked for, in plain Python; as in `Experiment.sweep`."""

    positions: Positions = "each"
    layers: Choices | None = None
    heads: Choices | None = None
    neurons: Choices | None = None
    window: Any = 1
    operator: str = "replace"

    def __post_init__(self) -> None:
        for part in fields(self):
            given = getattr(self, part.name)
            object.__setattr__(self, part.name, plain(given) if part.name in ("window", "operator") else as_list(given))


def start_sweep(
    runs: PairRuns,
    site: str,
    where: Where,
    source: Source | None = None,
    *,
    executor: str = "auto",
    estimate: Estimate | None = None,
    question: str = "sweep",
    options: Mapping[str, Any] = MappingProxyType({}),
    told: Mapping[str, Any] | None = None,
) -> Sweep:
    """The sweep that answers a question about one site, before it has computed anything.

    Args:
        source: the run that patches come from, if not given.
        estimate: see `Sweep`.
        question, options: the method of Experiment that was called, and what it was given beside site, cells and source.
        told: goes into the result's `info`.
    """
    source = as_source(source)
    put = runs.source if source is None else source
    roles = list(dict.fromkeys(role for pair in runs.pairs for role in pair.roles))
    plan = make_plan(runs.model, site, [runs.length(i) for i in range(len(runs.pairs))], roles=roles, **vars(where))
    info = {
        "positions": where.positions,
        "source": describe_source(put),
        "tensor": plan.site.tensor,
        "code": code_of(runs, site, {**vars(where), "source": source, **options}, question),
        **(told or {}),
    }
    return Sweep(runs, Layout.of(runs, site, plan.coords, info), partial(_cells, runs, plan, put), executor, estimate)


def patch_edits(runs: PairRuns, patch: Patch, pair: int) -> list[Edit]:
    """One patch as edits of one pair's base run; SiteError where it names something that does not exist."""
    source = runs.source if patch.source is None else patch.source
    elsewhere = patch.source_pos is not None and runs.pairs[pair].shifted and isinstance(source, str) and source == runs.source
    values = as_recorded(runs, pair, runs.source) if elsewhere else values_of(runs, pair, source)[0]
    there = range(runs.length(pair)) if elsewhere else patchable(runs, pair, source)
    return patch.edits(runs.model, runs.length(pair), values, there, runs.pairs[pair].length_of(runs.source) if elsewhere else None)


def _cells(runs: PairRuns, plan: Plan, source: Source, pairs: Sequence[int]) -> Iterator[Cell | None]:
    """One cell per place of these pairs, in C order: pairs first."""
    for i in pairs:
        length, there = runs.length(i), patchable(runs, i, source)
        _check_rows(runs, plan, i, source)
        values, first = values_of(runs, i, source)
        values, first = cache(values), first if plan.operator == "replace" else 0
        for point in plan.points():
            place = plan.in_prompt(point, length, partial(runs.positions_of_role, pair=i))
            yield Cell(plan.edits(place, values, first, length, there), i) if plan.fits(place, length, there) else None


def _check_rows(runs: PairRuns, plan: Plan, pair: int, source: Source) -> None:
    whole_rows = plan.site.name == "pattern" and "src_pos" not in plan.dims
    if whole_rows and isinstance(source, str) and source == runs.source and runs.pairs[pair].shifted:
        message = "A row of attention has an entry for each token, and the two prompts' tokens do not correspond one by one."
        raise SiteError(message, "Patch single entries, with positions='entries'.")
