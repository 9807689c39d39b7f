"""The runs of prompt pairs without a patch, recorded when they are first asked for."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cached_property

import torch
from torch import Tensor

from patchwidget.engine.executors.packable import why_not_packed
from patchwidget.engine.recording import Recording, entering, record_together
from patchwidget.engine.sites import find_tap
from patchwidget.errors import ModelError, SiteError
from patchwidget.models.state import state_of
from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.pair import PromptPair
from patchwidget.prompts.token_pair import TokenPair

from .budget import Budget
from .corruption import Corruption

_FREE_SITES = ("resid_pre", "resid_post")  # every recording holds these


class Recordings:
    """The recorded clean and corrupted runs of some pairs; those used last are kept. A run is named by "clean" or "corrupted" and its pair's number.

    Args:
        prompts, pairs: the pairs as given, and as tokens.
        measured: gives the positions at which the logits of a run are read.
        corruption: where corrupted runs come from.
        budget: how much memory they may take.

    Attributes:
        kept: (run, pair) -> its recording; the one used last is the last.
        state: the model's when they were recorded.
    """

    def __init__(
        self,
        model: WrappedModel,
        prompts: Sequence[PromptPair],
        pairs: Sequence[TokenPair],
        measured: Callable[[str, int], tuple[int, ...]],
        corruption: Corruption,
        budget: Budget,
    ) -> None:
        self.model, self.corruption, self.measured = model, corruption, measured
        self.kept: dict[tuple[str, int], Recording] = {}
        self.state = state_of(model.hf)
        self._prompts, self._pairs, self._budget = prompts, pairs, budget

    @cached_property
    def pairs_at_once(self) -> int:
        """How many pairs may be worked on together."""
        return self._budget.pairs_at_once(max(pair.length_of(run) for pair in self._pairs for run in ("clean", "corrupted")))

    def why_not_packed(self) -> str | None:
        """What keeps the model, as it was when last looked at, from the packed executor, as the end of a sentence; None if nothing does."""
        return why_not_packed(self.model, (path for path, _ in self.state.hooks))

    def find(self, run: str, site: str | None, pair: int) -> Recording:
        """A run with this site's activations in it. Runs the model again for a site that is new.

        Raises:
            ModelError: its logits are not finite.
        """
        with self.model.lock:
            have = self.kept.get((run, pair))
            sites = {place[0] for place in have.sites} if have else self._sites_kept_from_the_start()
            needed = sites if site is None or site in _FREE_SITES else sites | {site}
            if have is None or needed != sites:
                self._record(pair, ["clean", "corrupted"] if self.share_a_forward(pair) else [run], needed)
                have = self.kept[run, pair]
            self.kept[run, pair] = self.kept.pop((run, pair))  # the one used last goes last
            while len(self.kept) > 2 * self.pairs_at_once:  # fewer, and those of one pass would be made anew again and again
                self.kept.pop(next(iter(self.kept)))
        return have

    def around(self, run: str, pair: int) -> AbstractContextManager[None]:
        """What forwards of a run go in."""
        return self.corruption.around(pair) if run == "corrupted" else nullcontext()

    def share_a_forward(self, pair: int) -> bool:
        """Whether the two runs of a pair go through the model in one batch."""
        if self.corruption.apart:
            return False
        if self._prompts[pair].corrupted is None:
            return True
        clean, corrupted = ((self._pairs[pair].length_of(run), self.measured(run, pair)) for run in ("clean", "corrupted"))
        return clean == corrupted and self.why_not_packed() is None

    def entering(self, runs: Iterable[tuple[str, int]]) -> list[Recording]:
        """Runs of one length as the model makes them now, up to their first block."""
        places = list(runs)
        prompts = [getattr(self._pairs[pair], run) for run, pair in places]
        if not self.corruption.apart:
            return entering(self.model, prompts)
        entered: list[Recording] = []
        for place, prompt in zip(places, prompts, strict=True):
            with self.around(*place):
                entered += entering(self.model, [prompt])
        return entered

    def logits_now(self, run: str, pair: int) -> Tensor:
        """[measured positions, vocabulary] of a run that is kept, as the untouched model gives them now."""
        with torch.no_grad(), self.around(run, pair), self.model.lock:
            return self.model.logits_at(self.kept[run, pair].tokens, self.measured(run, pair))[0]

    def _record(self, pair: int, runs: Sequence[str], sites: set[str]) -> None:
        same = len(runs) > 1 and self._prompts[pair].corrupted is None
        prompts = [getattr(self._pairs[pair], run) for run in (runs[:1] if same else runs)]
        with self.around(runs[0], pair) if len(runs) == 1 else nullcontext():
            recorded = record_together(self.model, prompts, sites, self.measured(runs[0], pair))
        for run, recording in zip(runs, recorded * len(runs) if same else recorded, strict=True):
            if not torch.isfinite(recording.logits).all():
                raise ModelError(
                    f"The {run} run's logits are not finite: a weight is NaN, or a number grew too large for {self.model.dtype}.",
                    "Load the model in float32 or bfloat16, or check its weights.",
                )
            self.kept[run, pair] = recording

    def _sites_kept_from_the_start(self) -> set[str]:
        """The heads, where the model has them: a grid's first drill-down asks for them, and should not wait for another run."""
        with suppress(SiteError):
            if self.model.has_blocks:
                find_tap(self.model, "z", 0)
                return {"z"}
        return set()
