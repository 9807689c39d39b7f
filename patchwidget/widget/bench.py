"""What a lab can be set to: the prompt pairs, metrics and directions at hand, and the experiment for each choice of them."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from patchwidget.errors import MetricError, PatchError
from patchwidget.experiments.experiment import Experiment
from patchwidget.experiments.metrics import METRICS, name_metrics
from patchwidget.experiments.prompts import PromptPair

EXPERIMENTS_KEPT = 8
"""Each holds the recordings of both its runs."""

ROWS_AT_ONCE = 128
"""Of one batch on a processor: clicks are answered between batches. A GPU takes what its memory allows."""


@dataclass(frozen=True)
class Setting:
    """What a view was measured with: the number of a prompt pair, a site, the name of a metric, a direction."""

    pair: int
    site: str
    metric: str
    direction: str

    def measured_like(self, other: "Setting") -> bool:
        """Whether the same experiment measures both."""
        return (self.pair, self.metric, self.direction) == (other.pair, other.metric, other.direction)


class Bench:
    """A model with prompt pairs and metrics to choose from. Experiments are made when first asked for; a given one is served as it is.

    Attributes:
        model: a `Model`.
        prompts: the `PromptPair`s; new ones are added at the end.
        metrics: name -> metric, those that were given first.
    """

    def __init__(self, model: Any, prompts: Sequence[Any], metrics: dict[str, Any], make: Callable[[Any, Any, str], Any]) -> None:
        """`make(pair, metric, direction)` gives an experiment."""
        self.model, self.prompts, self.metrics = model, list(prompts), dict(metrics)
        self._make = make
        self._given: dict[tuple[int, str, str], Any] = {}
        self._made: OrderedDict[tuple[int, str, str], Any] = OrderedDict()
        self._refusals: dict[tuple[int, str], str | None] = {}

    @classmethod
    def of(cls, model: Any, pairs: Any, metric: Any, direction: str) -> tuple["Bench", str, str]:
        """A bench for a model and a pair or several; with the metric's name and the direction to begin with."""
        several = [pairs] if isinstance(pairs, PromptPair) else list(pairs)
        named = name_metrics(metric)
        bench = cls(model, several, {**named, **{name: name for name in METRICS}}, partial(Experiment, model))
        first = next(iter(named))
        bench._given[0, first, direction] = in_small_batches(Experiment(model, several[0] if several else several, named[first], direction))
        return bench, first, direction

    @classmethod
    def around(cls, experiment: Any) -> tuple["Bench", str, str]:
        """A bench around an experiment, which stays the one that is asked; of several pairs each becomes a choice."""
        model = experiment.model
        metrics = {**experiment.metrics, **{name: name for name in METRICS}}
        bench = cls(model, experiment.prompts, metrics, partial(type(experiment), model))
        if not experiment.several:
            bench._given[0, experiment.metric_name, experiment.direction] = in_small_batches(experiment)
        return bench, experiment.metric_name, experiment.direction

    def experiment(self, setting: Setting) -> Any:
        """The experiment of a setting.

        Raises:
            PatchError: there is no such pair, metric or direction, or they do not go together.
        """
        key = (setting.pair, setting.metric, setting.direction)
        if key in self._given:
            return self._given[key]
        if not 0 <= setting.pair < len(self.prompts):
            raise PatchError(f"There is no pair {setting.pair}: there are 0 to {len(self.prompts) - 1}.", "Choose one of these.")
        if setting.metric not in self.metrics:
            raise MetricError(f"There is no metric {setting.metric!r}.", f"Use one of {', '.join(self.metrics)}; or a function.")
        if key not in self._made:
            made = self._make(self.prompts[setting.pair], self.metrics[setting.metric], setting.direction)
            self._made[key] = in_small_batches(made)
        self._made.move_to_end(key)
        while len(self._made) > EXPERIMENTS_KEPT:
            self._made.popitem(last=False)
        return self._made[key]

    def try_pair(self, pair: Any, metric: str) -> None:
        """Raise the PatchError that says why a pair can't be measured by a metric, if it can't."""
        self._make(pair, self.metrics[metric], "denoise")

    def why_not(self, pair: int, metric: str) -> str | None:
        """Why a pair can't be measured by a metric, or None."""
        if (pair, metric) not in self._refusals:
            self._refusals[pair, metric] = refusal(lambda: self.try_pair(self.prompts[pair], metric))
        return self._refusals[pair, metric]

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


def in_small_batches(experiment: Any) -> Any:
    """The experiment, which from now on lets others in between often."""
    if experiment.model.device.type == "cpu":
        experiment.most_rows = experiment.most_rows or ROWS_AT_ONCE
    return experiment


def refusal(attempt: Callable[[], Any]) -> str | None:
    """The sentence with which an attempt is refused, or None."""
    try:
        attempt()
    except PatchError as error:
        return error.message
    return None


def _texts(pair: Any) -> tuple[str, ...]:
    """A pair such that equal ones are equal: its fields may be texts, lists or tensors."""
    return tuple(repr(getattr(pair, name, None)) for name in ("clean", "corrupted", "answer", "distractor"))
