"""The lines of Python that compute a result again."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from .prompts import PromptPair
from .runs import Runs

# of options whose default is not None
_DEFAULTS = {"positions": "each", "window": 1, "operator": "replace", "method": "atp"}


def code_of(runs: Runs, site: str, options: Mapping[str, Any], question: str = "sweep") -> str:
    """A script for one question about a site, "sweep" or "attribute"."""
    changed = {name: value for name, value in options.items() if isinstance(value, Tensor) or value != _DEFAULTS.get(name)}
    given = "".join(f", {name}={_shown(value)}" for name, value in changed.items())
    return script(runs, f"{question}({site!r}{given})")


def script(runs: Runs, call: str) -> str:
    """A script that asks an experiment something; what can't be written down (a function, a tensor) stands there by its name."""
    pairs = [_pair(pair) for pair in runs.prompts]
    pair = f"[{', '.join(pairs)}]" if runs.several else pairs[0]
    metrics = [repr(metric) if isinstance(metric, str) else name for name, metric in runs.metrics.items()]
    metric = metrics[0] if len(metrics) == 1 else f"[{', '.join(metrics)}]"
    return (
        "import patchwidget as pw\n\n"
        f"model = {runs.model.code}\n"
        f"pair = {pair}\n"
        f"exp = pw.Experiment(model, pair, metric={metric}, direction={runs.direction!r})\n"
        f"result = exp.{call}\n"
    )


def _pair(pair: PromptPair) -> str:
    given = {name: getattr(pair, name) for name in ("clean", "corrupted", "answer", "distractor")}
    given |= {name: value for name in ("roles", "align") if (value := getattr(pair, name)) is not None}
    return f"pw.PromptPair({', '.join(f'{name}={_shown(value)}' for name, value in given.items())})"


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return "source"
    if isinstance(value, Sequence | range) and not isinstance(value, str):
        return repr([list(item) if isinstance(item, Sequence) and not isinstance(item, str) else item for item in value])
    return repr(value) if type(value).__module__ == "builtins" else f"pw.{value!r}"
