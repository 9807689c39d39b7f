"""An experiment: a model, two prompts, what is measured, and in which direction patches go."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import xarray as xr
from tqdm.auto import tqdm

from patchwidget.engine.attention import attention_pattern
from patchwidget.engine.hooked import HookedExecutor
from patchwidget.engine.packed import PackedExecutor
from patchwidget.engine.readout import read_logits
from patchwidget.engine.recording import Recording, record
from patchwidget.engine.sites import find_tap
from patchwidget.errors import ModelError, PatchError, SiteError
from patchwidget.models.model import Model

from .checks import Check, parity_check, tolerance
from .metrics import Metric, make_measure, metric_name
from .plan import Plan, Positions, make_plan
from .prompts import PromptPair, TokenPair, tokenize_pair
from .result import PatchResult
from .sweep import Sweep

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
        pair: the two prompts.
        metric: "logit_diff", or a function of logits [cells, vocabulary] (float32, at the last position) that returns [cells].
        direction: "denoise" patches the clean run's activations into the corrupted run (what suffices for the behaviour); "noise" the
            corrupted run's into the clean one (what is necessary for it). Heimersheim and Nanda 2024.

    Raises:
        ModelError, PromptError, MetricError: model, pair or metric can't be used, with what is wrong and what to do.
    """

    def __init__(self, model: Model | object, pair: PromptPair, metric: Metric = "logit_diff", direction: str = "denoise") -> None:
        if not isinstance(model, Model):
            raise ModelError(
                f"A patchwidget model was expected, and this is a {type(model).__name__}.",
                "Use pw.load(...) or pw.wrap(hf_model, tokenizer).",
            )
        if direction not in ("denoise", "noise"):
            raise PatchError(
                f"direction={direction!r} is not known.", "Use 'denoise' (clean into corrupted) or 'noise' (corrupted into clean)."
            )
        model.check_ready()
        self.model, self.prompts, self.metric, self.direction = model, pair, metric, direction
        self.pair: TokenPair = tokenize_pair(model, pair)
        self.metric_name = metric_name(metric)
        self.base, self.source = ("corrupted", "clean") if direction == "denoise" else ("clean", "corrupted")
        self._measure = make_measure(metric, self.pair, self.pair.length - 1)
        self._recordings: dict[str, Recording] = {}

    def sweep(
        self,
        site: str,
        *,
        positions: Positions = "each",
        layers: Iterable[int] | None = None,
        heads: Iterable[int] | None = None,
        executor: str = "auto",
        progress: bool = True,
    ) -> PatchResult:
        """Patch every cell of a site and measure each.

        Args:
            site: resid_pre, resid_mid, resid_post, attn_out, mlp_out or z.
            positions: "each" (an axis of the result), "all" at once, or a list of positions patched together.
            layers, heads: which; all of them by default.
            executor: "auto" takes the packed executor where the model allows it; "packed" or "hooked" insists.
            progress: show a progress bar if it takes more than a second.

        Returns:
            A PatchResult with axes (layer, pos), (layer, head), (layer, pos, head) or (layer).

        Raises:
            SiteError: what was asked for does not exist in this model.
        """
        sweep = self.start(site, positions=positions, layers=layers, heads=heads, executor=executor)
        with tqdm(total=sweep.total, desc=site, unit="cell", delay=1, leave=False, disable=not progress) as bar:
            for batch in sweep:
                bar.update(len(batch.index))
        return sweep.result

    def start(
        self,
        site: str,
        *,
        positions: Positions = "each",
        layers: Iterable[int] | None = None,
        heads: Iterable[int] | None = None,
        executor: str = "auto",
    ) -> Sweep:
        """Like `sweep`, but gives the sweep before it has computed anything: iterate it for batches, look at `.result`, `.close()` it."""
        return Sweep(self, make_plan(self.model, site, self.pair.length, layers, positions, heads), self._choose_executor(executor))

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
        """The metric and the likeliest next tokens of both runs."""
        return Baselines(self.value_of("clean"), self.value_of("corrupted"), self._top_tokens("clean"), self._top_tokens("corrupted"))

    def value_of(self, run: str) -> float:
        """The metric of the "clean" or "corrupted" run without a patch, from the model's own logits."""
        return float(self._measure.of_logits(self.recording(run).logits[None]))

    @cached_property
    def parity(self) -> Check:
        """Whether the engine's logits of the base run are those of the untouched `model(**inputs)`."""
        recording = self.recording(self.base)
        with torch.no_grad(), self.model.lock:
            plain = self.model.logits_at(recording.tokens, self._measure.position)[0]
            ours = (
                read_logits(self.model, recording.resid[-1][self._measure.position][None])[0]
                if self.model.anatomy.tail is not None
                else recording.logits
            )
        return parity_check(ours, plain, tolerance(self.model.dtype, float(plain.abs().max())))

    @property
    def tolerance(self) -> float:
        """How far apart, in units of the metric, two right ways to compute it may lie in this model's dtype."""
        return tolerance(self.model.dtype, float(self.recording(self.base).logits.abs().max()))

    def recording(self, run: str, site: str | None = None) -> Recording:
        """The recorded "clean" or "corrupted" run, with this site's activations in it. Runs the model again for a site that is new."""
        with self.model.lock:
            have = self._recordings.get(run)
            kept = {place[0] for place in have.sites} if have else self._sites_kept_from_the_start()
            needed = kept if site is None or site in _FREE_SITES else kept | {site}
            if have is None or needed != kept:
                have = record(self.model, getattr(self.pair, run), needed, self._measure.position)
                if not torch.isfinite(have.logits).all():
                    raise ModelError(
                        f"The {run} run's logits are not finite: a weight is NaN, or a number grew too large for {self.model.dtype}.",
                        "Load the model in float32 or bfloat16, or check its weights.",
                    )
                self._recordings[run] = have
        return have

    def make_executor(self, name: str) -> PackedExecutor | HookedExecutor:
        """The executor of this name for this experiment's base run."""
        if name == "packed":
            return PackedExecutor(self.model, [self.recording(self.base)], [self._measure])
        return HookedExecutor(self.model, [getattr(self.pair, self.base)], [self._measure])

    def make_result(
        self, plan: Plan, values: np.ndarray, state: np.ndarray, checks: list[Check], noise: float, executor: str
    ) -> PatchResult:
        """Values in C order of the plan, labelled."""
        array = xr.DataArray(values.reshape(plan.shape), dims=plan.dims, coords=plan.coords, name=self.metric_name)
        info = {
            "model": self.model.name,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "site": plan.site.name,
            "tensor": plan.site.tensor,
            "positions": plan.together,
            "direction": self.direction,
            "metric": self.metric_name,
            "tokens": getattr(self.pair, f"{self.base}_tokens"),
            "executor": executor,
            "code": self._code(plan),
        }
        return PatchResult(
            array, self.value_of("clean"), self.value_of("corrupted"), state.reshape(plan.shape), checks, noise or self.tolerance / 64, info
        )

    def _choose_executor(self, name: str) -> str:
        anatomy = self.model.anatomy
        possible = anatomy.intercepted and anatomy.tail is not None
        if name not in ("auto", "packed", "hooked"):
            raise PatchError(f"executor={name!r} is not known.", "Use 'auto', 'packed' or 'hooked'.")
        if name == "packed" and not possible:
            raise ModelError(
                f"The packed executor can't run {self.model.name}: its attention can't be intercepted or its head not be found.",
                "Use executor='hooked'.",
            )
        return name if name != "auto" else "packed" if possible and self.parity.ok else "hooked"

    def _sites_kept_from_the_start(self) -> set[str]:
        """The heads, where the model has them: a grid's first drill-down asks for them, and should not wait for another run."""
        with suppress(SiteError):
            find_tap(self.model, "z", 0)
            return {"z"}
        return set()

    def _top_tokens(self, run: str, k: int = 8) -> list[tuple[str, float]]:
        best = self.recording(run).logits.softmax(-1).topk(k)
        return [(self.model.token_text(int(token)), float(p)) for token, p in zip(best.indices, best.values, strict=True)]

    def _code(self, plan: Plan) -> str:
        def shown(value: object) -> str:
            return repr(list(value)) if isinstance(value, Sequence) and not isinstance(value, str) else repr(value)

        pair = ", ".join(f"{name}={shown(getattr(self.prompts, name))}" for name in ("clean", "corrupted", "answer", "distractor"))
        options = {"layers": plan.coords["layer"] if len(plan.coords["layer"]) < self.model.n_layers else None}
        if plan.together is not None:
            options["positions"] = "all" if len(plan.together) == self.pair.length else list(plan.together)  # type: ignore[assignment]
        if "head" in plan.coords and len(plan.coords["head"]) < self.model.n_heads:
            options["heads"] = plan.coords["head"]
        given = "".join(f", {name}={value!r}" for name, value in options.items() if value is not None)
        metric = repr(self.metric) if isinstance(self.metric, str) else self.metric_name
        return (
            "import patchwidget as pw\n\n"
            f"model = {self.model.code}\n"
            f"pair = pw.PromptPair({pair})\n"
            f"exp = pw.Experiment(model, pair, metric={metric}, direction={self.direction!r})\n"
            f"result = exp.sweep({plan.site.name!r}{given})\n"
        )
