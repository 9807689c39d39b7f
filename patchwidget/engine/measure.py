"""What is measured of each run: numbers from its logits at one position, or at several."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Measure:
    """A set of metrics as the executors see it.

    Attributes:
        of: logits [cells, positions, columns] in float32 -> [cells, metrics].
        tokens: which tokens the columns are; None for the whole vocabulary.
        positions: where logits are read, ascending. Rows after the last one can't matter and are not computed.
    """

    of: Callable[[Tensor], Tensor]
    tokens: Tensor | None
    positions: tuple[int, ...]

    @property
    def last(self) -> int:
        return self.positions[-1]

    def of_logits(self, logits: Tensor) -> Tensor:
        """The metrics of logits over the whole vocabulary, [cells, positions, vocabulary] -> [cells, metrics]."""
        return self.of(logits if self.tokens is None else logits[..., self.tokens.to(logits.device)])
