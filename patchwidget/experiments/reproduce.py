"""The lines of Python that compute a result again. What can't be written down (a function, a tensor) stands there by its name."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from patchwidget.runs.metrics import Metric, own_name
from patchwidget.runs.pair_runs import PairRuns

# of options whose default is not None
_DEFAULTS = {"positions": "each", "window": 1, "operator": "replace", "method": "atp"}


def code_of(runs: PairRuns, site: str, options: Mapping[str, Any], question: str = "sweep") -> str:
    """A script for one question about a site, "sweep" or "attribute"."""
    changed = {name: value for name, value in options.items() if isinstance(value, Tensor) or value != _DEFAULTS.get(name)}
    given = "".join(f", {name}={shown(value)}" for name, value in changed.items())
    return script(runs, f"{question}({site!r}{given})")


def script(runs: PairRuns, call: str) -> str:
    """A script that asks an experiment something."""
    metric = _metrics(runs.metrics)
    where = "" if runs.answer_pos is None else f", answer_pos={runs.answer_pos}"
    experiment = f"exp = pw.Experiment(model, pair, metric={metric}, direction={runs.direction!r}{where})"
    return f"{setup(runs)}{experiment}\nresult = exp.{call}\n"


def script_with(experiment: Any, *lines: str) -> str:
    """Lines that use `exp`, with those before them that make it."""
    whole = experiment.start("resid_pre").layout.info["code"]
    return whole[: whole.index("result = ")] + "".join(f"{line}\n" for line in lines)


def _metrics(metrics: Mapping[str, Metric]) -> str:
    """Metrics as they are given: one, a list, or with names of their own."""
    written = {name: repr(metric) if isinstance(metric, str) else own_name(metric) for name, metric in metrics.items()}
    if any(name != own_name(metric) for name, metric in metrics.items()):
        return f"{{{', '.join(f'{name!r}: {metric}' for name, metric in written.items())}}}"
    return written.popitem()[1] if len(written) == 1 else f"[{', '.join(written.values())}]"


def setup(runs: PairRuns) -> str:
    """The lines that make an experiment's `model` and `pair`."""
    pair = shown(runs.prompts if runs.several else runs.prompts[0])
    return f"import patchwidget as pw\n\nmodel = {runs.model.code}\npair = {pair}\n"


def shown(value: Any) -> str:
    """A plain value as it is written in Python; of dataclasses, such as `pw.Patch`, what is not their default and tells them apart."""
    if isinstance(value, Tensor):
        return "source"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    if not is_dataclass(value):
        return repr(value)
    given = {part.name: getattr(value, part.name) for part in fields(value)}
    changed = [
        f"{part.name}={shown(given[part.name])}"
        for part in fields(value)
        if part.compare and not _is_default(given[part.name], part.default)
    ]
    return f"pw.{type(value).__name__}({', '.join(changed)})"


def _is_default(value: Any, default: Any) -> bool:
    return not isinstance(value, Tensor) and value == default
