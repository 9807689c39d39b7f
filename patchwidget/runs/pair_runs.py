"""The two runs of each prompt pair without a patch: recorded, measured, checked. What every question of an experiment stands on."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from patchwidget.engine.executors.hooked import HookedExecutor
from patchwidget.engine.executors.packed import PackedExecutor
from patchwidget.engine.measure import Measure
from patchwidget.engine.recording import Recording
from patchwidget.engine.unembed import read_logits
from patchwidget.errors import MetricError, ModelError, PatchError, PromptError
from patchwidget.given import Array, Index, plain
from patchwidget.models.state import state_of
from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.alignment import Align
from patchwidget.prompts.answers import warn_of_missing_space
from patchwidget.prompts.pair import PromptPair, in_pair, tokenize_pairs, with_plain_ids
from patchwidget.prompts.prompt_set import read_pairs
from patchwidget.prompts.token_pair import TokenPair, measured_position

from .baselines import Baselines, top_tokens
from .budget import Budget
from .checks import Check, rounding, tolerance
from .corruption import Corruption, OtherPrompt
from .freshness import parity_now, still_ends, still_enters
from .gradient_cache import GradientStore
from .metrics import Metrics, make_measure, name_metrics
from .recordings import Recordings


class PairRuns:
    """A model's clean and corrupted run of one or several pairs.

    Args:
        corruption: where corrupted runs come from, if not from the pairs' corrupted prompts. All others as in `Experiment`.

    Attributes:
        model, direction, answer_pos: as given.
        metrics: name -> metric, in order; `metric_name` is the first.
        prompts, pairs: the pairs as given, and as tokens; `several` tells whether a list was given.
        base, source: which run is patched and which run the patches come from: "clean" or "corrupted".
        measures: one per pair.
        gradients: of the base runs, as far as they are kept.
        recordings: the runs that are recorded.
        renewed: how often the recordings were thrown away because the model had changed.
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
        corruption: Corruption | None = None,
    ) -> None:
        if not isinstance(model, WrappedModel):
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
        self._feed, self.answer_pos = feed, plain(answer_pos)
        self.budget, self.corruption = Budget.of(model, plain(max_memory)), corruption or OtherPrompt()
        self.recordings = Recordings(model, self.prompts, self.pairs, self._measured_positions, self.corruption, self.budget)
        self._unproven: str | None = None
        self.renewed = 0
        self.forget()
        self.measures = [self._measure_of(i) for i in range(len(self.pairs))]

    def forget(self) -> None:
        """Forget what was recorded and measured; what is asked next runs the model again."""
        self.recordings.kept.clear()
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
        before, now = self.recordings.state, state_of(self.model.hf)
        self.recordings.state = now
        if before != now:
            self._unproven = None
            if before.modules != now.modules:
                self.model.examine_anew()
        if before != now or not still_enters(self.recordings) or (whole and not still_ends(self.recordings)):
            self.renewed += bool(self.recordings.kept)
            self.forget()

    @property
    def coarse(self) -> bool:
        """Whether a changed model may leave the first metric as it was: a rank, or a function that may be a step."""
        first = self.metrics[self.metric_name]
        return first == "rank" or not isinstance(first, str)

    def remembers(self, pairs: Iterable[int]) -> bool:
        """Whether a run of one of these pairs has been recorded."""
        return any((run, pair) in self.recordings.kept for pair in pairs for run in ("clean", "corrupted"))

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
        return self.recordings.find(run, site, pair)

    def unchanged_before(self, pair: int) -> int:
        """The first position whose activations can differ between the two runs of a pair."""
        return self.corruption.first_change(self.pairs[pair]) if self.model.has_blocks and self.model.causal else 0

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
        return self.recordings.why_not_packed()

    def make_executor(
        self, name: str, pairs: Sequence[int] | None = None, measures: Sequence[Measure] | None = None, *, most_rows: int | None = None
    ) -> PackedExecutor | HookedExecutor:
        """The executor of this name for the base runs of some pairs, which its cells name by their place in `pairs`; of all if not given.

        Args:
            measures: what it reads of each of them; the metrics if not given.
            most_rows: see `rows_at_once`.
        """
        chosen = range(len(self.pairs)) if pairs is None else pairs
        reads = [self.measures[i] for i in chosen] if measures is None else measures
        if name == "hooked":
            prompts = [getattr(self.pairs[i], self.base) for i in chosen]
            around = lambda place: self.recordings.around(self.base, chosen[place])  # noqa: E731
            return HookedExecutor(self.model, prompts, reads, self.rows_at_once(chosen, most_rows), around)
        bases = [self.recording(self.base, pair=i) for i in chosen]
        return PackedExecutor(self.model, bases, reads, self.rows_at_once(chosen, most_rows))

    @property
    def pairs_at_once(self) -> int:
        """How many pairs may be worked on together."""
        return self.recordings.pairs_at_once

    def rows_at_once(self, pairs: Sequence[int], most: int | None = None) -> int:
        """How many rows of the base runs of some pairs may travel together: as many as the budget allows, but no more than `most` or one cell.

        Raises:
            PatchError: not even one cell fits into the budget.
        """
        length = max(self.length(pair) for pair in pairs)
        rows = self.budget.rows_at_once(length, self.recordings.kept.values())
        return max(length, min(rows, most or rows))

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

    def _parity_of(self, pair: int) -> Check:
        recording, positions = self.recording(self.base, pair=pair), self.measures[pair].positions
        with torch.no_grad(), self.model.lock:
            ours = recording.logits if self.why_not_packed() else read_logits(self.model, recording.resid[-1][list(positions)])
        return parity_now(self.recordings, self.base, pair, ours)


@runtime_checkable
class HasRuns(Protocol):
    """What is asked about its runs: an experiment."""

    runs: PairRuns


def goes_by_block(runs: PairRuns, pair: int) -> bool:
    """Whether the metrics can be computed from the residual stream after the last block, as the packed executor does."""
    model, measure, base = runs.model, runs.measures[pair], runs.recording(runs.base, pair=pair)
    if not model.has_blocks or model.anatomy.tail is None:
        return False
    with torch.no_grad(), model.lock:
        logits = read_logits(model, base.resid[-1][list(measure.positions)])
    return float((logits - base.logits).abs().max()) <= runs.tolerance
