"""An experiment: a model, two prompts, what is measured, and in which direction patches go. Its methods are what one can ask."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from patchwidget.engine.edits import Cell
from patchwidget.errors import PatchError
from patchwidget.experiments.paths.path_patching import patch_path, patch_paths
from patchwidget.experiments.results.result import PatchResult
from patchwidget.experiments.sweeps.checkpoint import Checkpoint, fingerprint
from patchwidget.experiments.sweeps.patch import Patch
from patchwidget.experiments.sweeps.result_layout import Layout
from patchwidget.experiments.sweeps.sources import Source, as_source, describe_source
from patchwidget.experiments.sweeps.spec import Choices, Positions
from patchwidget.experiments.sweeps.sweep import Sweep, run_through
from patchwidget.given import Array, Index
from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.alignment import Align
from patchwidget.prompts.pair import PromptPair
from patchwidget.prompts.token_pair import TokenPair
from patchwidget.public import public
from patchwidget.runs.baselines import Baselines
from patchwidget.runs.metrics import Metric, Metrics
from patchwidget.runs.pair_runs import PairRuns
from patchwidget.steering.optimal_direction import optimal_direction

from .asked_of_runs import asked_of_runs
from .attribution import Method, estimate_cells
from .interaction import measure_interaction
from .question import Where, patch_edits, start_sweep
from .reading import read_activation, read_attention
from .reproduce import script, shown
from .search import search


@public
class Experiment:
    """Patches activations of one run into another and measures what that changes.

    Args:
        model: from `pw.load` or `pw.wrap`.
        pair: the two prompts; or several pairs, a list or whatever `pw.PromptSet` takes, of any lengths, which share each pass and give results
            with an axis `pair`.
        metric: the name of a metric (see `patchwidget.runs.metrics.METRICS`), a function of logits [cells, vocabulary] (float32, at the
            last position) that returns [cells], or several of either, measured from the same runs: the first is the result's, the others
            are in its `others`.
        direction: "denoise" patches the clean run's activations into the corrupted run (what suffices for the behaviour); "noise" the
            corrupted run's into the clean one (what is necessary for it). Heimersheim and Nanda 2024.
        answer_pos: the position, of the run that is patched, whose logits are measured; the last one if not given.
        max_memory: how much memory the recorded runs and the cells under way may take, in bytes or as a text such as "2GB"; if not given, cells
            take a quarter of what is free.
        align: which positions correspond where clean and corrupted prompt are of unequal length (see `PromptPair`), for all pairs.

    Attributes:
        runs: the clean and the corrupted run of each pair, on which every question stands.

    Raises:
        ModelError, PromptError, MetricError: model, pair or metric can't be used, with what is wrong and what to do.
    """

    def __init__(
        self,
        model: WrappedModel | object,
        pair: PromptPair | Sequence[PromptPair] | Any,
        metric: Metrics = "logit_diff",
        direction: str = "denoise",
        *,
        answer_pos: Index | None = None,
        align: Align | None = None,
        max_memory: float | str | Array | None = None,
    ) -> None:
        self.runs = PairRuns(model, pair, metric, direction, answer_pos=answer_pos, align=align, max_memory=max_memory)

    @property
    def model(self) -> WrappedModel:
        """The model, as given."""
        return self.runs.model

    @property
    def prompts(self) -> list[PromptPair]:
        """The pairs as given."""
        return self.runs.prompts

    @property
    def pairs(self) -> list[TokenPair]:
        """The pairs as tokens."""
        return self.runs.pairs

    @property
    def pair(self) -> TokenPair:
        """The pair as tokens; the first one of several."""
        return self.runs.pair

    @property
    def metrics(self) -> dict[str, Metric]:
        """What is measured, by name; the first is the result's."""
        return self.runs.metrics

    @property
    def direction(self) -> str:
        """ "denoise" or "noise"."""
        return self.runs.direction

    @property
    def baselines(self) -> Baselines:
        """The metric and the likeliest next tokens of both runs (of the first pair)."""
        return self.runs.baselines

    def sweep(
        self,
        site: str,
        *,
        positions: Positions = "each",
        layers: Choices | None = None,
        heads: Choices | None = None,
        neurons: Choices | None = None,
        source: Source | None = None,
        operator: str = "replace",
        window: Index = 1,
        executor: str = "auto",
        order: str | None = None,
        checkpoint: str | Path | None = None,
        progress: bool = True,
    ) -> PatchResult:
        """Patch every cell of a site and measure each.

        Args:
            site: resid_pre, resid_mid, resid_post, attn_out, mlp_out, z, q, k, v, pattern, mlp_post; or k_per_head, v_per_head: keys and values
                as one query head sees them. Queries and keys are patched at the same position, so before or after the rotary embedding
                makes no difference.
            positions: "each" (an axis of the result), "all" at once, a list of positions patched together, or a list of lists (spans), each
                a place on the axis; "roles", or a list of roles, for an axis of the pairs' roles; for pattern these are destinations, and
                "entries" takes each (dest_pos, src_pos) by itself.
            layers, heads, neurons: which; all by default. An item that is itself a list is patched together. Negative numbers, here and in
                positions, count from the end (in pairs of unequal length, of each prompt that is patched).
            source: with what: "clean" or "corrupted" (the other run is the default), "zero", pw.Mean, pw.Resample, pw.Noise, pw.Placebo, a
                number or a tensor.
            operator: "replace", or "add" the source to what is there.
            window: how many layers around each one are patched at once: from l - window//2 on (Meng et al. 2022 use 10).
            executor: "auto" takes the packed executor where the model allows it; "packed" or "hooked" insists.
            order: "attribution" computes the cells that attribution patching estimates to be the largest first.
            checkpoint: a file that each batch is written to as it comes. The same sweep with the same file goes on where it was cut off, by a
                killed process for example. It is refused for another model, of which every weight, buffer and setting counts, other prompts,
                another source, or a function that computes something else (its code, constants and what it closes over).
            progress: show a progress bar if it takes more than a second.

        Returns:
            A PatchResult with axes such as (layer, pos), (layer, head), (layer, pos, head), (layer, neuron), (layer, head, dest_pos, src_pos).

        Raises:
            SiteError: what was asked for does not exist in this model.
            PatchError: the source or the executor is not known, or the checkpoint belongs to another sweep.
        """
        where = {"positions": positions, "layers": layers, "heads": heads, "neurons": neurons, "window": window, "operator": operator}
        sweep = self.start(site, source=source, executor=executor, order=order, **where)
        if checkpoint is not None:
            sweep.keep_in(Checkpoint(Path(checkpoint), fingerprint(self.runs, sweep.layout, as_source(source)), len(self.metrics)))
        return run_through(sweep, site, progress=progress)

    def start(
        self,
        site: str,
        *,
        positions: Positions = "each",
        layers: Choices | None = None,
        heads: Choices | None = None,
        neurons: Choices | None = None,
        source: Source | None = None,
        operator: str = "replace",
        window: Index = 1,
        executor: str = "auto",
        order: str | None = None,
    ) -> Sweep:
        """Like `sweep`, but gives the sweep before it has computed anything: iterate it for batches, look at `.result`, `.close()` it.

        With order="attribution" the first batch has all cells as estimates, and in `.result` cells that are not yet computed are estimates too.
        """
        if order not in (None, "attribution"):
            raise PatchError(f"order={order!r} is not known.", "Use 'attribution', or leave it out.")
        first = None if order is None else partial(estimate_cells, self.runs, method=Method())
        where = Where(positions, layers, heads, neurons, window, operator)
        return start_sweep(self.runs, site, where, source, executor=executor, estimate=first, options={"order": order})

    def attribute(
        self,
        site: str,
        method: str = "atp",
        *,
        positions: Positions = "each",
        layers: Choices | None = None,
        heads: Choices | None = None,
        neurons: Choices | None = None,
        source: Source | None = None,
        operator: str = "replace",
        window: Index = 1,
        steps: int | None = None,
        qk_fix: bool | None = None,
        grad_drop: bool | None = None,
    ) -> PatchResult:
        """Estimate every cell of a sweep from gradients: one run forward and one backward for all of them.

        The estimate of a cell is the base run's metric (corrupted when denoising, clean when noising) + sum((patched in - base activation) *
        gradient). `patchwidget.experiments.attribution` has the formulas, their signs and sources.

        Args:
            site: as in `sweep`, and so `source`, positions, layers, heads, neurons, window and operator.
            method: "atp", attribution patching: the gradient in the base run (Nanda 2023). "atp*", with two repairs (Kramar et al. 2024):
                `qk_fix` (saturated attention) and `grad_drop` (effects that cancel), each on unless switched off. "ig", integrated gradients:
                the mean gradient over `steps` (10) runs between the base run and the other.

        Returns:
            A PatchResult with the axes of the sweep and state 2 (estimate) in every cell.

        Raises:
            SiteError: what was asked for does not exist in this model.
            MetricError: the metric has no gradient.
            PatchError: the options do not go together.
        """
        how, source = Method.of(method, steps, qk_fix, grad_drop), as_source(source)
        if how.name == "ig" and not (source is None or (isinstance(source, str) and source == self.runs.source)):
            raise PatchError(
                f"Integrated gradients go from one run of the pair to the other, and the source is {describe_source(source)}.",
                "Leave source out, or use method='atp'.",
            )
        where = Where(positions, layers, heads, neurons, window, operator)
        options = {"method": method, "steps": steps, "qk_fix": qk_fix, "grad_drop": grad_drop}
        estimate = partial(estimate_cells, self.runs, method=how)
        return start_sweep(
            self.runs, site, where, source, estimate=estimate, question="attribute", options=options, told=how.info
        ).estimates()

    def patch(self, patches: Patch | Sequence[Patch], *, executor: str = "auto") -> PatchResult:
        """Apply any number of patches together in one run: at any sites, layers and positions. Where two meet, in the order given.

        Returns:
            A PatchResult without axes (or with `pair` alone).

        Raises:
            SiteError: a patch names something that does not exist in this model.
        """
        several = [patches] if isinstance(patches, Patch) else list(patches)
        if not several:
            raise PatchError("No patch was given.", "Give at least one pw.Patch.")
        site = "+".join(dict.fromkeys(patch.site for patch in several))
        layout = Layout.of(self.runs, site, {}, {"patches": several, "code": script(self.runs, f"patch({shown(several)})")})

        def cells(pairs: Sequence[int]) -> Iterator[Cell | None]:
            for i in pairs:
                yield Cell(tuple(edit for patch in several for edit in patch_edits(self.runs, patch, i)), i)

        return run_through(Sweep(self.runs, layout, cells, executor), site, progress=False)

    # Questions that are functions of their own, each in its file: they are asked of the experiment's runs.
    search = asked_of_runs(search)
    interaction = asked_of_runs(measure_interaction)
    paths = asked_of_runs(patch_paths)
    path = asked_of_runs(patch_path)
    optimal_direction = asked_of_runs(optimal_direction)
    attention = asked_of_runs(read_attention)
    activation = asked_of_runs(read_activation)

    def __repr__(self) -> str:
        lengths = sorted({self.runs.length(pair) for pair in range(len(self.pairs))})
        tokens = f"{' to '.join(map(str, lengths[:: max(1, len(lengths) - 1)]))} tokens"
        answers = f"{self.pair.answer_text!r} against {self.pair.distractor_text!r}"
        what = f"{len(self.pairs)} pairs of {tokens}" if self.runs.several else f"{tokens}, {answers}"
        return f"Experiment({self.model.name}, {', '.join(self.metrics)}, {self.direction}: {what})"

    def __getstate__(self) -> dict[str, Any]:
        raise PatchError(
            "An experiment can't be copied or pickled: it holds its model and the recorded runs.",
            "Make it anew in each process, from the model and the prompts; results are kept by result.save(path), and can be pickled.",
        )
