"""What is measured of each run: a number from the logits at one position."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Measure:
    """A metric as the executors see it.

    Attributes:
        of: logits [cells, columns] in float32 -> [cells].
        tokens: which tokens the columns are; None for the whole vocabulary.
        position: the position whose logits are read. Rows after it can't matter and are not computed.
    """

    of: Callable[[Tensor], Tensor]
    tokens: Tensor | None
    position: int

    def of_logits(self, logits: Tensor) -> Tensor:
        """The metric of logits over the whole vocabulary, [cells, vocabulary] -> [cells]."""
        return self.of(logits if self.tokens is None else logits[:, self.tokens.to(logits.device)])
