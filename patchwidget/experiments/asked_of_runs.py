"""Questions as methods: a function whose first argument is the runs, asked of what has runs."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from patchwidget.runs.pair_runs import HasRuns, PairRuns

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def asked_of_runs(question: Callable[Concatenate[PairRuns, Given], Answer]) -> Callable[Concatenate[HasRuns, Given], Answer]:
    """The question as a method; its signature and text are the function's own."""

    @wraps(question)
    def method(self: HasRuns, *args: Given.args, **options: Given.kwargs) -> Answer:
        return question(self.runs, *args, **options)

    return method
