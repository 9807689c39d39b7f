"""What executors hand out, and how they go on when memory does not suffice."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from patchwidget.errors import PatchError


@dataclass(frozen=True, eq=False)
class Batch:
    """Values of some cells: `cells` are their numbers in the list that was asked for, `values` float32 [len(cells), metrics] on the CPU."""

    cells: list[int]
    values: Tensor


def chunks_of(rows: Iterable[tuple[int, int]], max_rows: int) -> list[list[int]]:
    """Numbers that travel together, in the order in which they come, up to `max_rows` rows; one that needs more goes alone.

    Args:
        rows: pairs of a number and how many rows it needs.
    """
    chunks: list[list[int]] = []
    held = 0
    for number, needed in rows:
        if not chunks or held + needed > max_rows:
            chunks.append([])
            held = 0
        chunks[-1].append(number)
        held += needed
    return chunks


def run_chunks(chunks: Iterable[Sequence[int]], run: Callable[[Sequence[int]], Tensor]) -> Iterator[Batch]:
    """Run each chunk of cell numbers; a chunk that does not fit into memory is halved and tried again, and nothing that is done is lost."""
    waiting = deque(chunks)
    while waiting:
        chunk = waiting.popleft()
        try:
            values = run(chunk)
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            if len(chunk) == 1:
                raise PatchError(
                    "One single cell does not fit into memory.", "Use a shorter prompt, a smaller dtype or another device."
                ) from error
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            middle = len(chunk) // 2
            waiting.extendleft([chunk[middle:], chunk[:middle]])
            continue
        yield Batch(list(chunk), values.float().cpu())


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
