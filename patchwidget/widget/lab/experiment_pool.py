"""What a lab can be set to: the prompt pairs, metrics and directions at hand, and the experiment for each choice of them."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from patchwidget.errors import MetricError, PatchError
from patchwidget.experiments.experiment import Experiment
from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.pair import PromptPair
from patchwidget.prompts.prompt_set import PromptSet
from patchwidget.prompts.set_check import split_fitting
from patchwidget.runs.metrics import METRICS, name_metrics
from patchwidget.widget.transport.protocol import Message

EVERY = -1
"""In place of a pair's number: all the given pairs together, of which grids show the mean."""

EXPERIMENTS_KEPT = 8
"""Each holds the recordings of both its runs."""

ROWS_AT_ONCE = 128
"""Of one batch on a processor: clicks are answered between batches. A GPU takes what its memory allows."""


@dataclass(frozen=True)
class Setting:
    """What a view was measured with: the number of a prompt pair (or EVERY), a site, the name of a metric, a direction."""

    pair: int
    site: str
    metric: str
    direction: str

    def measured_like(self, other: "Setting") -> bool:
        """Whether the same experiment measures both."""
        return (self.pair, self.metric, self.direction) == (other.pair, other.metric, other.direction)


@dataclass(frozen=True)
class Question:
    """What a view answers: the method and parameters that ask for it, and the setting. Equal questions have one view."""

    method: str
    params: tuple[tuple[str, Any], ...]
    setting: Setting

    @classmethod
    def of(cls, method: str, params: Message, setting: Setting) -> "Question":
        return cls(method, tuple(sorted(params.items())), setting)


class Bench:
    """A model with prompt pairs and metrics to choose from. Experiments are made when first asked for; a given one is served as it is.

    Attributes:
        model: a `Model`.
        prompts: the `PromptPair`s; new ones are added at the end.
        together: how many of them, from the first on, EVERY stands for.
        first: the pair to begin with, or EVERY.
        left_out: a sentence about pairs that do not fit the model, or "".
        metrics: name -> metric, those that were given first.
        most_rows: how many rows a sweep of the lab may take at once (see `Sweep`); None for as many as are of use.
    """

    def __init__(self, model: Any, prompts: Sequence[Any], metrics: dict[str, Any], make: Callable[[Any, Any, str], Any]) -> None:
        """`make(pair, metric, direction)` gives an experiment."""
        self.model, self.prompts, self.metrics = model, list(prompts), dict(metrics)
        self.together, self.first, self.left_out = len(self.prompts), 0, ""
        self.most_rows = ROWS_AT_ONCE if model.device.type == "cpu" else None
        self._make = make
        self._given: dict[tuple[int, str, str], Any] = {}
        self._made: OrderedDict[tuple[int, str, str], Any] = OrderedDict()
        self._refusals: dict[tuple[int, str], str | None] = {}

    @classmethod
    def of(cls, model: Any, pairs: Any, metric: Any, direction: str) -> tuple["Bench", str, str]:
        """A bench for a model and a pair or several; with the metric's name and the direction to begin with.

        It begins with the first pair; with a PromptSet, which is one thing, it begins with all pairs that fit the model.
        """
        several, left_out = _fitting(model, pairs)
        named = name_metrics(metric)
        bench = cls(model, several, {**named, **{name: name for name in METRICS}}, partial(Experiment, model))
        bench.first, bench.left_out = EVERY if isinstance(pairs, PromptSet) else 0, left_out
        first = next(iter(named))
        begun_with = several if bench.first == EVERY or not several else several[0]
        bench._given[bench.first, first, direction] = Experiment(model, begun_with, named[first], direction)
        return bench, first, direction

    @classmethod
    def around(cls, experiment: Any) -> tuple["Bench", str, str]:
        """A bench around an experiment, which stays the one that is asked; of several pairs each becomes a choice besides."""
        model = experiment.model
        metrics = {**experiment.metrics, **{name: name for name in METRICS}}
        bench = cls(model, experiment.prompts, metrics, partial(type(experiment), model))
        bench.first = EVERY if experiment.runs.several else 0
        bench._given[bench.first, experiment.runs.metric_name, experiment.direction] = experiment
        return bench, experiment.runs.metric_name, experiment.direction

    def experiment(self, setting: Setting) -> Any:
        """The experiment of a setting.

        Raises:
            PatchError: there is no such pair, metric or direction, or they do not go together.
        """
        key = (setting.pair, setting.metric, setting.direction)
        if key in self._given:
            return self._given[key]
        if setting.pair != EVERY and not 0 <= setting.pair < len(self.prompts):
            raise PatchError(f"There is no pair {setting.pair}: there are 0 to {len(self.prompts) - 1}.", "Choose one of these.")
        if setting.metric not in self.metrics:
            raise MetricError(f"There is no metric {setting.metric!r}.", f"Use one of {', '.join(self.metrics)}; or a function.")
        if key not in self._made:
            chosen = self.prompts[: self.together] if setting.pair == EVERY else self.prompts[setting.pair]
            self._made[key] = self._make(chosen, self.metrics[setting.metric], setting.direction)
        self._made.move_to_end(key)
        while len(self._made) > EXPERIMENTS_KEPT:
            self._made.popitem(last=False)
        return self._made[key]

    def try_pair(self, pair: Any, metric: str) -> None:
        """Raise the PatchError that says why a pair can't be measured by a metric, if it can't."""
        self._make(pair, self.metrics[metric], "denoise")

    def why_not(self, pair: int, metric: str) -> str | None:
        """Why a pair can't be measured by a metric, or None; of all pairs the first one tells."""
        pair = max(pair, 0)
        if (pair, metric) not in self._refusals:
            self._refusals[pair, metric] = refusal(lambda: self.try_pair(self.prompts[pair], metric))
        return self._refusals[pair, metric]

    def forget(self, changed: Any) -> None:
        """The model has changed, as the experiment `changed` knows by now: the others forget what they have recorded."""
        for experiment in [*self._given.values(), *self._made.values()]:
            if experiment is not changed:
                experiment.runs.forget()

    @cached_property
    def why_not_together(self) -> str | None:
        """Why the pairs can't be measured together, or None."""
        return None if self.first == EVERY else refusal(self._try_together)

    def _try_together(self) -> None:
        self._make(self.prompts[: self.together], next(iter(self.metrics.values())), "denoise")

    def add_pair(self, pair: Any) -> int:
        """The number of a pair, which is added if it is not there yet."""
        for number, known in enumerate(self.prompts):
            if _texts(known) == _texts(pair):
                return number
        self.prompts.append(pair)
        return len(self.prompts) - 1

    def add_metric(self, metric: Any) -> str:
        """The name under which a metric, a function or a name, can be chosen."""
        if isinstance(metric, str):
            return metric
        named = name_metrics(metric)
        self.metrics.update(named)
        return next(iter(named))


def refusal(attempt: Callable[[], Any]) -> str | None:
    """The sentence with which an attempt is refused, or None."""
    try:
        attempt()
    except PatchError as error:
        return error.message
    return None


def _fitting(model: Any, pairs: Any) -> tuple[list[Any], str]:
    """The pairs to choose from: of a PromptSet those that fit, and a sentence about the others."""
    if not isinstance(pairs, PromptSet) or not isinstance(model, WrappedModel):
        return [pairs] if isinstance(pairs, PromptPair) else list(pairs), ""
    fitting, dropped = split_fitting(model, pairs)
    kept = [prompts for _, _, prompts in fitting]
    if not dropped:
        return kept, ""
    number, reason = dropped[0]
    why = f"the first is pair {number}: {reason.splitlines()[0].rstrip(':.')}."
    return kept, f"{len(dropped)} of {len(pairs)} pairs do not fit {model.name} and are left out; {why}"


def _texts(pair: Any) -> tuple[str, ...]:
    """A pair such that equal ones are equal: its fields may be texts, lists or tensors."""
    return tuple(repr(getattr(pair, name, None)) for name in ("clean", "corrupted", "answer", "distractor"))
