"""The two runs of each prompt pair without a patch: recorded, measured, checked. What every question of an experiment stands on."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from patchwidget.engine.executors.hooked import HookedExecutor
from patchwidget.engine.executors.packable import why_not_packed
from patchwidget.engine.executors.packed import PackedExecutor
from patchwidget.engine.measure import Measure
from patchwidget.engine.recording import Recording, entering, enters_alike, record_together
from patchwidget.engine.sites import find_tap
from patchwidget.engine.unembed import read_logits
from patchwidget.errors import MetricError, ModelError, PatchError, PromptError, SiteError
from patchwidget.given import Array, Index, plain
from patchwidget.models.model import Model
from patchwidget.models.state import state_of
from patchwidget.prompts.alignment import Align
from patchwidget.prompts.answers import warn_of_missing_space
from patchwidget.prompts.pair import PromptPair, in_pair, tokenize_pairs, with_plain_ids
from patchwidget.prompts.prompt_set import read_pairs
from patchwidget.prompts.token_pair import TokenPair, measured_position

from .baselines import Baselines, top_tokens
from .budget import Budget
from .checks import Check, parity_check, rounding, tolerance
from .gradient_cache import GradientStore
from .metrics import Metrics, make_measure, name_metrics

_FREE_SITES = ("resid_pre", "resid_post")  # every recording holds these


class PairRuns:
    """A model's clean and corrupted run of one or several pairs. Arguments as in `Experiment`.

    Attributes:
        model, direction, answer_pos: as given.
        metrics: name -> metric, in order; `metric_name` is the first.
        prompts, pairs: the pairs as given, and as tokens; `several` tells whether a list was given.
        base, source: which run is patched and which run the patches come from: "clean" or "corrupted".
        measures: one per pair.
        gradients: of the base runs, as far as they are kept.
        renewed: how often the recordings were thrown away because the model had changed.
        most_rows: no more rows than this travel together, even where there is memory for more: batches then come more often. None for as many
            as are of use.
    """

    def __init__(
        self,
        model: Model | object,
        pair: PromptPair | Sequence[PromptPair] | Any,
        metric: Metrics = "logit_diff",
        direction: str = "denoise",
        *,
        answer_pos: Index | None = None,
        align: Align | None = None,
        max_memory: float | str | Array | None = None,
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
        given, self.several = read_pairs(pair)
        self.prompts = [with_plain_ids(model, replace(one, align=one.align or align)) for one in given]
        if not self.prompts:
            raise PromptError("The list of pairs is empty.", "Give at least one PromptPair.")
        feed = "answer_log_prob" in self.metrics.values()
        if feed and (len(self.metrics) > 1 or answer_pos is not None):
            raise MetricError(
                "answer_log_prob reads as many positions as the answer has tokens, so it stands alone.", "Ask for it by itself."
            )
        self.pairs = tokenize_pairs(model, self.prompts, feed_answer=feed)
        if not feed and answer_pos is None:
            warn_of_missing_space(model, [(one.clean, answer) for one in self.prompts for answer in (one.answer, one.distractor)])
        self.base, self.source = ("corrupted", "clean") if direction == "denoise" else ("clean", "corrupted")
        self._state = state_of(model.hf)
        self._unproven: str | None = None
        self.renewed = 0
        self.forget()
        self._feed, self.answer_pos = feed, plain(answer_pos)
        self.most_rows: int | None = None
        self.budget = Budget.of(model, plain(max_memory))
        self.measures = [self._measure_of(i) for i in range(len(self.pairs))]

    def forget(self) -> None:
        """Forget what was recorded and measured; what is asked next runs the model again."""
        self._recordings: dict[tuple[str, int], Recording] = {}
        self._values: dict[tuple[str, int], list[float]] = {}
        self._parities: dict[int, Check] = {}
        self.gradients = GradientStore()
        for name in ("baselines", "_largest_logit"):
            vars(self).pop(name, None)

    def look_again(self, *, whole: bool = False) -> None:
        """Forget the recordings of a model that has changed since: its hooks, attention setting or modules, or what enters its first block.

        Changed weights of its blocks show in a sweep's proof cells; for what is not proven like this, ask for `whole`: then the first pair is
        run again and its logits compared. That is, the first that is recorded.

        Raises:
            ModelError: it, or a module of it, is in training mode.
        """
        self.model.check_ready()
        before, self._state = self._state, state_of(self.model.hf)
        if before != self._state:
            self._unproven = None
            if before.modules != self._state.modules:
                self.model.examine_anew()
        if before != self._state or not self._still_enters() or (whole and not self._still_ends()):
            self.renewed += bool(self._recordings)
            self.forget()

    @property
    def coarse(self) -> bool:
        """Whether a changed model may leave the first metric as it was: a rank, or a function that may be a step."""
        first = self.metrics[self.metric_name]
        return first == "rank" or not isinstance(first, str)

    def remembers(self, pairs: Iterable[int]) -> bool:
        """Whether a run of one of these pairs has been recorded."""
        return any((run, pair) in self._recordings for pair in pairs for run in ("clean", "corrupted"))

    @property
    def pair(self) -> TokenPair:
        """The pair as tokens; the first one of several."""
        return self.pairs[0]

    @cached_property
    def baselines(self) -> Baselines:
        """The metric and the likeliest next tokens of both runs (of the first pair)."""
        top = {f"{run}_top": top_tokens(self.model, self.recording(run).logits[-1]) for run in ("clean", "corrupted")}
        return Baselines(self.value_of("clean"), self.value_of("corrupted"), **top)

    def value_of(self, run: str, pair: int = 0, metric: int = 0) -> float:
        """The metric of the "clean" or "corrupted" run without a patch, from the model's own logits."""
        if (run, pair) not in self._values:
            self._values[run, pair] = self.measures[pair].of_logits(self.recording(run, pair=pair).logits[None])[0].tolist()
        return self._values[run, pair][metric]

    def recording(self, run: str, site: str | None = None, pair: int = 0) -> Recording:
        """The recorded "clean" or "corrupted" run of a pair, with this site's activations in it. Runs the model again for a site that is new."""
        with self.model.lock:
            have = self._recordings.get((run, pair))
            kept = {place[0] for place in have.sites} if have else self._sites_kept_from_the_start()
            needed = kept if site is None or site in _FREE_SITES else kept | {site}
            if have is None or needed != kept:
                self._record(pair, [run], needed) if self._are_unlike(pair) else self._record(pair, ["clean", "corrupted"], needed)
                have = self._recordings[run, pair]
            self._recordings[run, pair] = self._recordings.pop((run, pair))  # the one used last goes last
            while len(self._recordings) > 2 * self.pairs_at_once:  # fewer, and those of one pass would be made anew again and again
                self._recordings.pop(next(iter(self._recordings)))
        return have

    def unchanged_before(self, pair: int) -> int:
        """The first position whose activations can differ between the two runs of a pair."""
        return self.pairs[pair].first_difference if self.model.has_blocks and self.model.causal else 0

    def length(self, pair: int = 0) -> int:
        """How many positions the run has that is patched."""
        return self.pairs[pair].length_of(self.base)

    def source_positions(self, pair: int = 0) -> dict[int, int]:
        """For each position of the run that is patched the one of the source run that it corresponds to; what has none is left out."""
        return self.pairs[pair].corresponding(self.base)

    def positions_of_role(self, role: str, pair: int = 0) -> tuple[int, ...]:
        """Where a role is in the run that is patched; () where the pair has no such role."""
        clean, corrupted = self.pairs[pair].roles.get(role, ((), ()))
        return corrupted if self.base == "corrupted" else clean

    @property
    def parity(self) -> Check:
        """Whether the engine's logits of the base runs are those of the untouched `model(**inputs)`; the worst pair's."""
        return self._worst_parity(range(len(self.pairs)))

    @property
    def tolerance(self) -> float:
        """How far apart, in units of the metric, two right ways to compute it may lie in this model's dtype."""
        return tolerance(self.model.dtype, self._largest_logit)

    @property
    def noise_floor(self) -> float:
        """The least that a metric can be off by in this model's dtype: one rounding of the largest logit."""
        return rounding(self.model.dtype, self._largest_logit)

    @cached_property
    def _largest_logit(self) -> float:
        return float(self.recording(self.base).logits.abs().max())

    def choose_executor(self, name: str, pairs: Sequence[int] | None = None) -> str:
        """ "packed" or "hooked": what was asked for, or for "auto" the packed one where the model allows it and its logits come out right.

        `pairs`: which pairs' logits are looked at; all of them if not given.
        """
        why_not = self.why_not_packed()
        if name == "packed" and why_not:
            raise ModelError(f"The packed executor can't run {self.model.name}: {why_not}.", "Use executor='hooked'.")
        if name != "auto":
            return name
        right = why_not is None and self._unproven is None and self._worst_parity(pairs or range(len(self.pairs))).ok
        return "packed" if right else "hooked"

    def why_hooked(self) -> str | None:
        """Why "auto" means the hooked executor here, as the end of a sentence; None where it does not."""
        failed = [check for check in self._parities.values() if not check.ok]
        off = f"computed block by block its logits are off by {failed[0].value:.2g}" if failed else None
        return self.why_not_packed() or self._unproven or off

    def distrust_packed(self, why: str) -> None:
        """From now on "auto" means the hooked executor, until the model changes; `why` as the end of a sentence."""
        self._unproven = why

    def why_not_packed(self) -> str | None:
        """What keeps the model from the packed executor, as the end of a sentence; None if nothing does."""
        return why_not_packed(self.model, (path for path, _ in self._state.hooks))

    def make_executor(self, name: str, pairs: Sequence[int] | None = None) -> PackedExecutor | HookedExecutor:
        """The executor of this name for the base runs of some pairs, which its cells name by their place in `pairs`; of all if not given."""
        chosen = range(len(self.pairs)) if pairs is None else pairs
        measures = [self.measures[i] for i in chosen]
        if name == "hooked":
            return HookedExecutor(self.model, [getattr(self.pairs[i], self.base) for i in chosen], measures, self._rows_at_once(chosen))
        bases = [self.recording(self.base, pair=i) for i in chosen]
        return PackedExecutor(self.model, bases, measures, self._rows_at_once(chosen))

    @cached_property
    def pairs_at_once(self) -> int:
        """How many pairs may be worked on together."""
        return self.budget.pairs_at_once(max(pair.length_of(run) for pair in self.pairs for run in ("clean", "corrupted")))

    def _rows_at_once(self, pairs: Sequence[int]) -> int:
        """How many rows may travel together."""
        length = max(self.length(pair) for pair in pairs)
        rows = self.budget.rows_at_once(length, self._recordings.values())
        return max(length, min(rows, self.most_rows or rows))

    def _worst_parity(self, pairs: Iterable[int]) -> Check:
        for pair in pairs:
            if pair not in self._parities:
                self._parities[pair] = self._parity_of(pair)
        return max((self._parities[pair] for pair in pairs), key=lambda check: check.value / check.limit)

    @torch.inference_mode(mode=False)  # what it holds is saved for gradients
    def _measure_of(self, index: int) -> Measure:
        def source_log_probs() -> Tensor:
            return self.recording(self.source, pair=index).logits[-1].log_softmax(-1)

        with in_pair(index, len(self.pairs)):
            return make_measure(self.metrics, self.pairs[index], self._measured_positions(self.base, index), source_log_probs)

    def _measured_positions(self, run: str, index: int) -> tuple[int, ...]:
        """Where the logits of a run are read."""
        pair = self.pairs[index]
        if self._feed:
            return tuple(range(pair.length_of(run))[-len(pair.answers) :])
        return (measured_position(pair, run, self.base, self.answer_pos),)

    def _still_enters(self) -> bool:
        """Whether what enters the first block is what was recorded."""
        by_length: dict[int, list[tuple[str, int]]] = defaultdict(list)
        for (run, pair), recording in self._recordings.items() if self.model.has_blocks else ():
            by_length[recording.length].append((run, pair))
        return all(
            enters_alike(now, self._recordings[place])
            for places in by_length.values()
            for now, place in zip(self._entering(places), places, strict=True)
        )

    def _entering(self, places: Sequence[tuple[str, int]]) -> list[Recording]:
        """These runs of equal length, up to their first block."""
        return entering(self.model, [getattr(self.pairs[pair], run) for run, pair in places])

    def _still_ends(self) -> bool:
        """Whether the logits of the first pair that is recorded are still the same."""
        first = next((pair for _, pair in self._recordings), 0)
        kept = {run: self._recordings[run, first] for run in ("clean", "corrupted") if (run, first) in self._recordings}
        if len(kept) < 2 or self._are_unlike(first):
            return all(self._parity_of_run(run, first, recording.logits).ok for run, recording in kept.items())
        tokens, positions = torch.cat([recording.tokens for recording in kept.values()]), self._measured_positions(self.base, first)
        with torch.no_grad(), self.model.lock:
            plain = self.model.logits_at(tokens, positions)
        limit = tolerance(self.model.dtype, float(plain.abs().max()))
        return all(parity_check(recording.logits, now, limit).ok for recording, now in zip(kept.values(), plain, strict=True))

    def _parity_of(self, pair: int) -> Check:
        recording, positions = self.recording(self.base, pair=pair), self.measures[pair].positions
        with torch.no_grad(), self.model.lock:
            ours = recording.logits if self.why_not_packed() else read_logits(self.model, recording.resid[-1][list(positions)])
        return self._parity_of_run(self.base, pair, ours)

    def _parity_of_run(self, run: str, pair: int, ours: Tensor) -> Check:
        """Whether these logits, where those of a run are measured, are those of the untouched model now."""
        with torch.no_grad(), self.model.lock:
            plain = self.model.logits_at(self._recordings[run, pair].tokens, self._measured_positions(run, pair))[0]
        return parity_check(ours, plain, tolerance(self.model.dtype, float(plain.abs().max())))

    def _record(self, pair: int, runs: Sequence[str], sites: set[str]) -> None:
        one = self.prompts[pair].corrupted is None  # a pair of one prompt: both runs are the same
        prompts = [getattr(self.pairs[pair], run) for run in (runs[:1] if one else runs)]
        recorded = record_together(self.model, prompts, sites, self._measured_positions(runs[0], pair))
        for run, found in zip(runs, recorded * len(runs) if one else recorded, strict=True):
            if not torch.isfinite(found.logits).all():
                raise ModelError(
                    f"The {run} run's logits are not finite: a weight is NaN, or a number grew too large for {self.model.dtype}.",
                    "Load the model in float32 or bfloat16, or check its weights.",
                )
            self._recordings[run, pair] = found

    def _are_unlike(self, pair: int) -> bool:
        """Whether the two runs of a pair can't share one batch."""
        if self.prompts[pair].corrupted is None:
            return False
        alike = [(self.pairs[pair].length_of(run), self._measured_positions(run, pair)) for run in ("clean", "corrupted")]
        return alike[0] != alike[1] or self.why_not_packed() is not None

    def _sites_kept_from_the_start(self) -> set[str]:
        """The heads, where the model has them: a grid's first drill-down asks for them, and should not wait for another run."""
        with suppress(SiteError):
            if self.model.has_blocks:
                find_tap(self.model, "z", 0)
                return {"z"}
        return set()


def goes_by_block(runs: PairRuns, pair: int) -> bool:
    """Whether the metrics can be computed from the residual stream after the last block, as the packed executor does."""
    model, measure, base = runs.model, runs.measures[pair], runs.recording(runs.base, pair=pair)
    if not model.has_blocks or model.anatomy.tail is None:
        return False
    with torch.no_grad(), model.lock:
        logits = read_logits(model, base.resid[-1][list(measure.positions)])
    return float((logits - base.logits).abs().max()) <= runs.tolerance
