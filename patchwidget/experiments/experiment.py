"""An experiment: a model, two prompts, what is measured, and in which direction patches go."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch
import xarray as xr
from tqdm.auto import tqdm

from patchwidget.engine.attention import attention_pattern
from patchwidget.engine.cells import Cell
from patchwidget.engine.hooked import HookedExecutor
from patchwidget.engine.packed import PackedExecutor
from patchwidget.engine.readout import read_logits
from patchwidget.engine.recording import Recording, record
from patchwidget.engine.sites import find_tap
from patchwidget.errors import MetricError, ModelError, PatchError, PromptError, SiteError
from patchwidget.models.model import Model

from .checks import Check, parity_check, tolerance
from .code import code_of
from .metrics import Metrics, make_measure, name_metrics
from .patches import Patch
from .plan import Choices, Plan, Positions, make_plan
from .prompts import PromptPair, TokenPair, tokenize_pair
from .result import PatchResult
from .sources import Source, Values, describe_source, values_of
from .sweep import Layout, Sweep

_FREE_SITES = ("resid_pre", "resid_post")  # every recording holds these


@dataclass(frozen=True)
class Baselines:
    """Both runs without a patch: the metric of each, and the eight most probable next tokens of each as (text, probability)."""

    clean: float
    corrupted: float
    clean_top: list[tuple[str, float]]
    corrupted_top: list[tuple[str, float]]


@dataclass(frozen=True, eq=False)
class AttentionRow:
    """Where one head looks from one position: float32 [T] post-softmax attention in the clean and in the corrupted run."""

    clean: np.ndarray
    corrupted: np.ndarray


class Experiment:
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

    Raises:
        ModelError, PromptError, MetricError: model, pair or metric can't be used, with what is wrong and what to do.
    """

    def __init__(
        self,
        model: Model | object,
        pair: PromptPair | Sequence[PromptPair],
        metric: Metrics = "logit_diff",
        direction: str = "denoise",
        *,
        answer_pos: int | None = None,
    ) -> None:
        if not isinstance(model, Model):
            message = f"A patchwidget model was expected, and this is a {type(model).__name__}."
            raise ModelError(message, "Use pw.load(...) or pw.wrap(hf_model, tokenizer).")
        if direction not in ("denoise", "noise"):
            hint = "Use 'denoise' (clean into corrupted) or 'noise' (corrupted into clean)."
            raise PatchError(f"direction={direction!r} is not known.", hint)
        model.check_ready()
        self.model, self.direction = model, direction
        self.metrics = name_metrics(metric)
        self.metric_name = next(iter(self.metrics))
        self.several = not isinstance(pair, PromptPair)
        self.prompts = [pair] if isinstance(pair, PromptPair) else list(pair)
        if not self.prompts:
            raise PromptError("The list of pairs is empty.", "Give at least one PromptPair.")
        feed = "answer_log_prob" in self.metrics.values()
        if feed and (len(self.metrics) > 1 or answer_pos is not None):
            raise MetricError(
                "answer_log_prob reads as many positions as the answer has tokens, so it stands alone.", "Ask for it by itself."
            )
        self.pairs: list[TokenPair] = [tokenize_pair(model, prompts, feed_answer=feed) for prompts in self.prompts]
        self.base, self.source = ("corrupted", "clean") if direction == "denoise" else ("clean", "corrupted")
        self._recordings: dict[tuple[str, int], Recording] = {}
        self._measures = [self._measure_of(i, pair, answer_pos, feed=feed) for i, pair in enumerate(self.pairs)]

    @property
    def pair(self) -> TokenPair:
        """The pair as tokens; the first one of several."""
        return self.pairs[0]

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
        progress: bool = True,
    ) -> PatchResult:
        """Patch every cell of a site and measure each.

        Args:
            site: resid_pre, resid_mid, resid_post, attn_out, mlp_out, z, q, k, v, pattern, mlp_post; or k_per_head, v_per_head: keys and values
                as one query head sees them. Queries and keys are patched at the same position, so before or after the rotary embedding
                makes no difference.
            positions: "each" (an axis of the result), "all" at once, a list of positions patched together, or a list of lists (spans), each
                a place on the axis; for pattern these are destinations, and "entries" takes each (dest_pos, src_pos) by itself.
            layers, heads, neurons: which; all by default. An item that is itself a list is patched together.
            source: with what: "clean" or "corrupted" (the other run is the default), "zero", pw.Mean, pw.Resample, pw.Noise, a number or a tensor.
            operator: "replace", or "add" the source to what is there.
            window: how many layers around each one are patched at once: from l - window//2 on (Meng et al. 2022 use 10).
            executor: "auto" takes the packed executor where the model allows it; "packed" or "hooked" insists.
            progress: show a progress bar if it takes more than a second.

        Returns:
            A PatchResult with axes such as (layer, pos), (layer, head), (layer, pos, head), (layer, neuron), (layer, head, dest_pos, src_pos).

        Raises:
            SiteError: what was asked for does not exist in this model.
            PatchError: the source or the executor is not known.
        """
        sweep = self.start(
            site,
            positions=positions,
            layers=layers,
            heads=heads,
            neurons=neurons,
            source=source,
            operator=operator,
            window=window,
            executor=executor,
        )
        return _run_through(sweep, site, progress=progress)

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
        window: int = 1,
        executor: str = "auto",
    ) -> Sweep:
        """Like `sweep`, but gives the sweep before it has computed anything: iterate it for batches, look at `.result`, `.close()` it."""
        put = self.source if source is None else source
        if executor not in ("auto", "packed", "hooked"):
            raise PatchError(f"executor={executor!r} is not known.", "Use 'auto', 'packed' or 'hooked'.")
        length = max(pair.length for pair in self.pairs)
        options = {"layers": layers, "positions": positions, "heads": heads, "neurons": neurons, "window": window, "operator": operator}
        plan = make_plan(self.model, site, length, **options)  # type: ignore[arg-type]
        if plan.together:
            self._check_together(plan.together)
        info = {
            "positions": positions if isinstance(positions, str) else list(positions),
            "source": describe_source(put),
            "tensor": plan.site.tensor,
            "code": code_of(self, site, {**options, "source": source}),
        }
        axes = {"pair": list(range(len(self.pairs))), **plan.coords} if self.several else plan.coords
        layout = Layout(site, tuple(axes), axes, tuple(len(labels) for labels in axes.values()), info)
        return Sweep(self, layout, lambda: self._cells(plan, put), executor)

    def patch(self, patches: Patch | Sequence[Patch], *, executor: str = "auto") -> PatchResult:
        """Apply any number of patches together in one run: at any sites, layers and positions.

        Returns:
            A PatchResult without axes (or with `pair` alone).

        Raises:
            SiteError: a patch names something that does not exist in this model.
        """
        several = [patches] if isinstance(patches, Patch) else list(patches)
        if not several:
            raise PatchError("No patch was given.", "Give at least one pw.Patch.")
        axes = {"pair": list(range(len(self.pairs)))} if self.several else {}
        site = "+".join(dict.fromkeys(patch.site for patch in several))
        layout = Layout(site, tuple(axes), axes, tuple(map(len, axes.values())), {"patches": several})
        cells: list[Cell | None] = [
            Cell(tuple(edit for patch in several for edit in patch.edits(self.model, pair.length, self._patch_values(i))), i)
            for i, pair in enumerate(self.pairs)
        ]
        return _run_through(Sweep(self, layout, lambda: cells, executor), site, progress=False)

    def attention(self, layer: int, head: int, pos: int) -> AttentionRow:
        """One row of a head's attention in both runs: from position `pos` to every position.

        Raises:
            SiteError: no such layer, head or position.
            ModelError: the model's attention can't be read.
        """
        find_tap(self.model, "resid_pre", layer)
        for value, size, what in [(head, self.model.n_heads, "Head"), (pos, self.pair.length, "Position")]:
            if not 0 <= value < size:
                raise SiteError(f"{what} {value} does not exist: there are 0 to {size - 1}.", "Choose one of these.")
        rows = {
            name: attention_pattern(self.model, self.recording(name), layer)[head, pos].cpu().numpy() for name in ("clean", "corrupted")
        }
        return AttentionRow(rows["clean"], rows["corrupted"])

    @cached_property
    def baselines(self) -> Baselines:
        """The metric and the likeliest next tokens of both runs (of the first pair)."""
        return Baselines(self.value_of("clean"), self.value_of("corrupted"), self._top_tokens("clean"), self._top_tokens("corrupted"))

    def value_of(self, run: str, pair: int = 0, metric: int = 0) -> float:
        """The metric of the "clean" or "corrupted" run without a patch, from the model's own logits."""
        return float(self._measures[pair].of_logits(self.recording(run, pair=pair).logits[None])[0, metric])

    @cached_property
    def parity(self) -> Check:
        """Whether the engine's logits of the base run are those of the untouched `model(**inputs)`."""
        recording, positions = self.recording(self.base), self._measures[0].positions
        with torch.no_grad(), self.model.lock:
            plain = self.model.logits_at(recording.tokens, positions)[0]
            ours = recording.logits if self._why_not_packed() else read_logits(self.model, recording.resid[-1][list(positions)])
        return parity_check(ours, plain, tolerance(self.model.dtype, float(plain.abs().max())))

    @property
    def tolerance(self) -> float:
        """How far apart, in units of the metric, two right ways to compute it may lie in this model's dtype."""
        return tolerance(self.model.dtype, float(self.recording(self.base).logits.abs().max()))

    def recording(self, run: str, site: str | None = None, pair: int = 0) -> Recording:
        """The recorded "clean" or "corrupted" run of a pair, with this site's activations in it. Runs the model again for a site that is new."""
        with self.model.lock:
            have = self._recordings.get((run, pair))
            kept = {place[0] for place in have.sites} if have else self._sites_kept_from_the_start()
            needed = kept if site is None or site in _FREE_SITES else kept | {site}
            if have is None or needed != kept:
                have = record(self.model, getattr(self.pairs[pair], run), needed, self._measures[pair].positions)
                if not torch.isfinite(have.logits).all():
                    raise ModelError(
                        f"The {run} run's logits are not finite: a weight is NaN, or a number grew too large for {self.model.dtype}.",
                        "Load the model in float32 or bfloat16, or check its weights.",
                    )
                self._recordings[run, pair] = have
        return have

    def choose_executor(self, name: str) -> str:
        """ "packed" or "hooked": what was asked for, or for "auto" the packed one where the model allows it and its logits come out right."""
        why_not = self._why_not_packed()
        if name == "packed" and why_not:
            raise ModelError(f"The packed executor can't run {self.model.name}: {why_not}.", "Use executor='hooked'.")
        return name if name != "auto" else "packed" if why_not is None and self.parity.ok else "hooked"

    def _why_not_packed(self) -> str | None:
        model = self.model
        if not model.has_blocks:
            return "it has no blocks"
        if not model.anatomy.intercepted:
            return "its attention does not go through transformers' attention interface"
        if model.anatomy.tail is None:
            return "what is between its last block and its unembedding is not a chain of modules"
        return None if model.causal else "its positions see later ones"

    def unchanged_before(self, pair: int) -> int:
        """The first position whose activations can differ between the two runs of a pair."""
        return self.pairs[pair].first_difference if self.model.has_blocks and self.model.causal else 0

    def make_executor(self, name: str) -> PackedExecutor | HookedExecutor:
        """The executor of this name for this experiment's base runs."""
        if name == "packed":
            return PackedExecutor(self.model, [self.recording(self.base, pair=i) for i in range(len(self.pairs))], self._measures)
        return HookedExecutor(self.model, [getattr(pair, self.base) for pair in self.pairs], self._measures)

    def make_result(
        self, layout: Layout, values: np.ndarray, state: np.ndarray, checks: list[Check], noise: float, executor: str
    ) -> PatchResult:
        """Values [places, metrics] and states [places] in C order of the layout, labelled; one result with the others in it."""
        results = [self._one_result(layout, i, values[:, i], state, checks, noise, executor) for i in range(len(self.metrics))]
        results[0].others.update(dict(zip(list(self.metrics)[1:], results[1:], strict=True)))
        return results[0]

    def _one_result(
        self, layout: Layout, metric: int, values: np.ndarray, state: np.ndarray, checks: list[Check], noise: float, executor: str
    ) -> PatchResult:
        name = list(self.metrics)[metric]
        array = xr.DataArray(values.reshape(layout.shape), dims=layout.dims, coords=layout.coords, name=name)
        clean, corrupted = self._baseline("clean", metric), self._baseline("corrupted", metric)
        info = {
            "model": self.model.name,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "site": layout.site,
            "direction": self.direction,
            "metric": name,
            "tokens": None if self.several else getattr(self.pair, f"{self.base}_tokens"),
            "executor": executor,
            **layout.info,
        }
        return PatchResult(array, clean, corrupted, state.reshape(layout.shape), checks, noise or self.tolerance / 64, info)

    def _baseline(self, run: str, metric: int) -> float | xr.DataArray:
        if not self.several:
            return self.value_of(run, 0, metric)
        return xr.DataArray([self.value_of(run, i, metric) for i in range(len(self.pairs))], dims="pair")

    def _measure_of(self, index: int, pair: TokenPair, answer_pos: int | None, *, feed: bool):  # noqa: ANN202
        position = pair.length - 1 if answer_pos is None else answer_pos
        if not 0 <= position < pair.length:
            raise PromptError(
                f"answer_pos={answer_pos} does not exist: the prompts have positions 0 to {pair.length - 1}.", "Choose one of these."
            )
        positions = tuple(range(pair.length - len(pair.answers), pair.length)) if feed else (position,)
        return make_measure(self.metrics, pair, positions, lambda: self.recording(self.source, pair=index).logits[-1].log_softmax(-1))

    def _cells(self, plan: Plan, source: Source) -> list[Cell | None]:
        """One cell per place, in C order: pairs first."""
        points, cells = plan.points(), []
        for i, pair in enumerate(self.pairs):
            values, first = values_of(self, i, source)
            values, first = cache(values), first if plan.operator == "replace" else 0
            cells += [Cell(plan.edits(p, values, first, pair.length), i) if plan.fits(p, pair.length) else None for p in points]
        return cells

    def _patch_values(self, pair: int):  # noqa: ANN202
        def values(source: Source | None) -> Values:
            return values_of(self, pair, self.source if source is None else source)[0]

        return values

    def _check_together(self, positions: tuple[int, ...]) -> None:
        shortest = min(pair.length for pair in self.pairs)
        if max(positions) >= shortest:
            raise SiteError(
                f"Position {max(positions)} does not exist in every pair: the shortest has {shortest} tokens.", "Choose earlier ones."
            )

    def _sites_kept_from_the_start(self) -> set[str]:
        """The heads, where the model has them: a grid's first drill-down asks for them, and should not wait for another run."""
        with suppress(SiteError):
            if self.model.has_blocks:
                find_tap(self.model, "z", 0)
                return {"z"}
        return set()

    def _top_tokens(self, run: str, k: int = 8) -> list[tuple[str, float]]:
        best = self.recording(run).logits[-1].softmax(-1).topk(k)
        return [(self.model.token_text(int(token)), float(p)) for token, p in zip(best.indices, best.values, strict=True)]


def _run_through(sweep: Sweep, what: str, *, progress: bool) -> PatchResult:
    with tqdm(total=sweep.total, desc=what, unit="cell", delay=1, leave=False, disable=not progress) as bar:
        for batch in sweep:
            bar.update(len(batch.index))
    return sweep.result
