"""An experiment: a model, two prompts, what is measured, and in which direction patches go. Its methods are what one can ask."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from patchwidget.engine.attention import attention_pattern
from patchwidget.engine.cells import Cell, Edit
from patchwidget.engine.sites import find_tap
from patchwidget.errors import PatchError, SiteError

from .attribution import Method, estimate_cells
from .checkpoint import Checkpoint, fingerprint
from .code import code_of, script, shown
from .direction import optimal_direction
from .interaction import Interaction, check_apart, combined, name_patches
from .layout import Layout
from .nodes import Node
from .patches import Patch
from .path_senders import SenderNodes
from .paths import patch_path, patch_paths
from .plan import Choices, Plan, Positions, make_plan
from .result import PatchResult
from .runs import Runs
from .search import SearchResult, search
from .sources import Source, as_recorded, describe_source, patchable, values_of
from .steering.vector import SteeringVector
from .sweep import Estimate, Sweep, run_through


@dataclass(frozen=True, eq=False)
class AttentionRow:
    """Where one head looks: float32 post-softmax attention in the clean and in the corrupted run, [T] from one position or [T, T] from each."""

    clean: np.ndarray
    corrupted: np.ndarray


class Experiment(Runs):
    """Patches activations of one run into another and measures what that changes.

    Args:
        model: from `pw.load` or `pw.wrap`.
        pair: the two prompts; or a list of pairs, of any lengths, which share each pass and give results with an axis `pair`.
        metric: the name of a metric (see `patchwidget.experiments.metrics.METRICS`), a function of logits [cells, vocabulary] (float32, at the
            last position) that returns [cells], or several of either, measured from the same runs: the first is the result's, the others
            are in its `others`.
        direction: "denoise" patches the clean run's activations into the corrupted run (what suffices for the behaviour); "noise" the
            corrupted run's into the clean one (what is necessary for it). Heimersheim and Nanda 2024.
        answer_pos: the position whose logits are measured; the last one if not given.
        max_memory: how much memory the recorded runs and the cells under way may take, in bytes or as a text such as "2GB"; if not given, cells
            take a quarter of what is free.
        align: which positions correspond where clean and corrupted prompt are of unequal length (see `PromptPair`), for all pairs.

    Raises:
        ModelError, PromptError, MetricError: model, pair or metric can't be used, with what is wrong and what to do.
    """

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
        window: int = 1,
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
            layers, heads, neurons: which; all by default. An item that is itself a list is patched together.
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
            sweep.keep_in(Checkpoint(Path(checkpoint), fingerprint(self, sweep.layout, source), len(self.metrics)))
        return run_through(sweep, site, progress=progress)

    def start(
        self,
        site: str,
        *,
        source: Source | None = None,
        executor: str = "auto",
        order: str | None = None,
        **where,  # noqa: ANN003
    ) -> Sweep:
        """Like `sweep`, but gives the sweep before it has computed anything: iterate it for batches, look at `.result`, `.close()` it.

        With order="attribution" the first batch has all cells as estimates, and in `.result` cells that are not yet computed are estimates too.
        """
        if order not in (None, "attribution"):
            raise PatchError(f"order={order!r} is not known.", "Use 'attribution', or leave it out.")
        first = None if order is None else partial(estimate_cells, self, method=Method())
        return self._start(site, source, where, executor, first, {"order": order})

    def attribute(
        self,
        site: str,
        method: str = "atp",
        *,
        source: Source | None = None,
        steps: int | None = None,
        qk_fix: bool | None = None,
        grad_drop: bool | None = None,
        **where,  # noqa: ANN003
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
        how = Method.of(method, steps, qk_fix, grad_drop)
        if how.name == "ig" and not (source is None or (isinstance(source, str) and source == self.source)):
            raise PatchError(
                f"Integrated gradients go from one run of the pair to the other, and the source is {describe_source(source)}.",
                "Leave source out, or use method='atp'.",
            )
        options = {"method": method, "steps": steps, "qk_fix": qk_fix, "grad_drop": grad_drop}
        sweep = self._start(site, source, where, "auto", partial(estimate_cells, self, method=how), options, how.info)
        return sweep.estimates()

    def _start(
        self,
        site: str,
        source: Source | None,
        where: dict[str, Any],
        executor: str,
        estimate: Estimate | None,
        options: dict[str, Any],
        told: dict[str, Any] | None = None,
    ) -> Sweep:
        put = self.source if source is None else source
        longest = max(self.length(i) for i in range(len(self.pairs)))
        roles = list(dict.fromkeys(role for pair in self.pairs for role in pair.roles))
        plan = make_plan(self.model, site, longest, roles=roles, **where)
        if plan.together:
            self._check_together(plan.together)
        positions = where.get("positions", "each")
        info = {
            "positions": positions if isinstance(positions, str) else list(positions),
            "source": describe_source(put),
            "tensor": plan.site.tensor,
            "code": code_of(self, site, {**where, "source": source, **options}, "attribute" if "method" in options else "sweep"),
            **(told or {}),
        }
        return Sweep(self, Layout.of(self, site, plan.coords, info), partial(self._cells, plan, put), executor, estimate)

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
        layout = Layout.of(self, site, {}, {"patches": several, "code": script(self, f"patch({shown(several)})")})

        def cells(pairs: Sequence[int]) -> Iterator[Cell | None]:
            for i in pairs:
                yield Cell(tuple(edit for patch in several for edit in self._patch_edits(patch, i)), i)

        return run_through(Sweep(self, layout, cells, executor), site, progress=False)

    def search(self, budget: int = 500, *, threshold: float = 0.02, method: str = "atp", seed: int = 0) -> SearchResult:
        """Look for what matters with few exact cells: layers, then positions, then heads and neurons of what matters.

        A layer's attention and its MLP are patched as wholes; of those whose exact effect reaches the threshold each position is a candidate, and of
        the attention and the MLP there each head and each neuron. Within a level cells are computed in the order of their estimates, down to
        the threshold. Each level may spend an equal share of what is left of the budget, a tenth of it on a sample of the cells whose
        estimate is below the threshold, so that one knows how far the estimate can be trusted there.

        Args:
            budget: how many exact cells may be computed (each pair counts).
            threshold: the size of effect, as a fraction of the gap between the two runs, that matters.
            method: of the estimates (see `attribute`).
            seed: of the samples.

        Returns:
            A SearchResult: `.found`, `.cells`, and `.levels` with what was not looked at and the estimate's error.

        Raises:
            MetricError: the metric has no gradient.
            PatchError: there is no gap between the runs, or the budget or threshold is too small.
        """
        return search(self, self._patch_edits, budget, threshold, Method.of(method), seed)

    def interaction(self, patches: Sequence[Patch], *, names: Sequence[str] | None = None, executor: str = "auto") -> Interaction:
        """Whether patches work together or are redundant: the effect of each, of each two, and of all, in one pass.

        Args:
            patches: two or more, of different activations.
            names: what to call them; by default what they are, such as "z 9.6".

        Returns:
            An Interaction: `.single`, `.joint`, `.synergy` (joint minus the sum of the single effects), `.all`, `.to_frame()`, `.plot()`.

        Raises:
            SiteError: a patch names something that does not exist in this model.
            PatchError: fewer than two patches, or two that replace the same activation, be it under two names.
        """
        named, groups = name_patches(patches, names), combined(len(patches))

        def cells(pairs: Sequence[int]) -> Iterator[Cell | None]:
            for i in pairs:
                edits = [self._patch_edits(patch, i) for patch in patches]
                check_apart(self.model, named, edits)
                yield from (Cell(tuple(edit for number in group for edit in edits[number]), i) for group in groups)

        site = "+".join(dict.fromkeys(patch.site for patch in patches))
        labels = [" + ".join(named[number] for number in group) for group in groups]
        info = {"patches": list(patches), "code": script(self, f"interaction({shown(patches)}, names={named}).result")}
        layout = Layout.of(self, site, {"patches": labels}, info)
        return Interaction.of(named, run_through(Sweep(self, layout, cells, executor), site, progress=False))

    def optimal_direction(self, layer: int, pos: int, *, steps: int = 30, norm: float | None = None) -> SteeringVector:
        """The vector of a given length that, added to the residual stream at one place, moves the metric most towards the source run.

        Found by gradient ascent on the sphere of that length: from the gradient of the base run on, each step turns the vector towards the gradient
        where it is, and a step that makes it worse is tried again half as long. It is a local optimum. Over several pairs, of the mean metric.

        Args:
            layer, pos: where, at resid_pre.
            steps: at most so many.
            norm: L2 length; by default how far the two runs lie apart there, so that it compares with what a patch does.

        Returns:
            A SteeringVector; its `provenance["curve"]` has the metric before the first step and after each.

        Raises:
            SiteError: no such layer or position.
            MetricError: nothing that is added there moves the metric.
            PatchError: no norm was given and both runs are the same there.
            ModelError: the model can't be run block by block.
        """
        return optimal_direction(self, layer, pos, steps, norm)

    def paths(
        self,
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
        sending = "z" if senders is None else senders
        return patch_paths(self, receiver, sending, freeze, positions=positions, source=source, progress=progress)

    def path(self, nodes: Sequence[Node], *, source: Source | None = None) -> PatchResult:
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
        return patch_path(self, nodes, source=source)

    def attention(self, layer: int, head: int, pos: int | None = None) -> AttentionRow:
        """One row of a head's attention in both runs, from position `pos` to every position; or without it the whole pattern.

        Raises:
            SiteError: no such layer, head or position.
            ModelError: the model's attention can't be read.
        """
        self.look_again(whole=True)
        find_tap(self.model, "resid_pre", layer)
        shorter = min(self.pair.length_of(run) for run in ("clean", "corrupted"))
        for value, size, what in [(head, self.model.n_heads, "Head"), (0 if pos is None else pos, shorter, "Position")]:
            if not 0 <= value < size:
                raise SiteError(f"{what} {value} does not exist: there are 0 to {size - 1}.", "Choose one of these.")
        whole = {name: attention_pattern(self.model, self.recording(name), layer)[head].cpu().numpy() for name in ("clean", "corrupted")}
        return AttentionRow(*(whole[name] if pos is None else whole[name][pos] for name in ("clean", "corrupted")))

    def _cells(self, plan: Plan, source: Source, pairs: Sequence[int]) -> Iterator[Cell | None]:
        """One cell per place of these pairs, in C order: pairs first."""
        for i in pairs:
            length, there = self.length(i), patchable(self, i, source)
            self._check_rows(plan, i, source)
            values, first = values_of(self, i, source)
            values, first = cache(values), first if plan.operator == "replace" else 0
            for point in plan.points():
                place = plan.with_roles(point, partial(self.positions_of_role, pair=i))
                yield Cell(plan.edits(place, values, first, length, there), i) if plan.fits(place, length, there) else None

    def _patch_edits(self, patch: Patch, pair: int) -> list[Edit]:
        source = self.source if patch.source is None else patch.source
        elsewhere = patch.source_pos is not None and self.pairs[pair].shifted and isinstance(source, str) and source == self.source
        values = as_recorded(self, pair, self.source) if elsewhere else values_of(self, pair, source)[0]
        there = range(self.length(pair)) if elsewhere else patchable(self, pair, source)
        return patch.edits(self.model, self.length(pair), values, there, self.pairs[pair].length_of(self.source) if elsewhere else None)

    def _check_rows(self, plan: Plan, pair: int, source: Source) -> None:
        whole_rows = plan.site.name == "pattern" and "src_pos" not in plan.dims
        if whole_rows and isinstance(source, str) and source == self.source and self.pairs[pair].shifted:
            message = "A row of attention has an entry for each token, and the two prompts' tokens do not correspond one by one."
            raise SiteError(message, "Patch single entries, with positions='entries'.")

    def _check_together(self, positions: tuple[int, ...]) -> None:
        shortest = min(self.length(i) for i in range(len(self.pairs)))
        if max(positions) >= shortest:
            raise SiteError(
                f"Position {max(positions)} does not exist in every pair: the shortest has {shortest} tokens.", "Choose earlier ones."
            )
