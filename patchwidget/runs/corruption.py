"""Where the corrupted run of a pair comes from: from another prompt, or from something done to the model on the way."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, runtime_checkable

from patchwidget.prompts.token_pair import TokenPair


@runtime_checkable
class Corruption(Protocol):
    """What makes the corrupted run of a pair differ from its clean one.

    Attributes:
        apart: whether it changes the model, so that a corrupted run must not share a forward with a clean one or with another pair's.
    """

    apart: bool

    def around(self, number: int) -> AbstractContextManager[None]:
        """What all forwards of a pair's corrupted run go in, by the pair's number."""
        ...

    def first_change(self, pair: TokenPair) -> int:
        """The first position at which the two runs of a pair can differ."""
        ...


class OtherPrompt:
    """The pair's corrupted prompt, with the model as it is."""

    apart = False

    def around(self, number: int) -> AbstractContextManager[None]:
        return nullcontext()

    def first_change(self, pair: TokenPair) -> int:
        return pair.first_difference
