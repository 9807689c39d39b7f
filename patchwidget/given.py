"""What users hand in, as plain Python: numbers and arrays of NumPy, PyTorch and pandas mean what Python's own numbers and lists mean.

Applied where a value enters (the methods of `Experiment`, `__post_init__` of what users make), so that nothing behind has to ask.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from .errors import PatchError, SiteError


@runtime_checkable
class Array(Protocol):
    """What NumPy can read: an array, a tensor, a series or an index, or a single number of one."""

    def __array__(self, *args: Any, **options: Any) -> np.ndarray: ...


# Fields that hold such a thing have a plain one once they are made, which type checkers can't know.
if TYPE_CHECKING:
    Index = Any
    Indices = Any
    Number = Any
else:
    Index = int | Array
    Indices = int | Sequence[int | Array] | range | Array
    Number = float | Array


def plain(value: Any) -> Any:
    """A value as Python has it: numbers and arrays as numbers and lists, ranges and iterators as lists; inside lists and mappings too."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Array):
        return value.tolist() if hasattr(value, "tolist") else np.asarray(value).tolist()  # type: ignore[attr-defined]
    if isinstance(value, Mapping):
        return {plain(name): plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    return [plain(item) for item in value] if isinstance(value, list | range | Iterator | AbstractSet) else value


def as_list(value: Any) -> Any:
    """Plain, and a number alone as a list of one."""
    found = plain(value)
    return [found] if isinstance(found, int | float) else found


def token_ids(value: Any) -> Any:
    """The token ids of an array or tensor, [T] or [1, T], as a list; anything else as `plain` has it."""
    found = plain(value)
    batch_of_one = isinstance(value, Array) and isinstance(found, list) and len(found) == 1 and isinstance(found[0], list)
    return found[0] if batch_of_one else found


def is_floating(value: Any) -> bool:
    """Whether an array or a tensor holds floating-point numbers."""
    dtype = getattr(value, "dtype", None)
    return bool(getattr(dtype, "is_floating_point", getattr(dtype, "kind", "") == "f"))


def checked_index(value: Any, size: int, what: str, range_of: str, of: str = "") -> int:
    """An index into `size` things, counted from 0; negative ones count from the end.

    Args:
        what: the word for one thing, such as "Layer".
        range_of: what has them, as in "gpt2 has layers".
        of: what named it, as in " of z 9.6".

    Raises:
        SiteError: it is no whole number, or there is no such thing.
    """
    if not isinstance(value, int):
        raise SiteError(f"{what} {value!r}{of} is no whole number.", f"Give a number; {range_of} 0 to {size - 1}.")
    if not -size <= value < size:
        raise SiteError(f"{what} {value}{of} does not exist: {range_of} 0 to {size - 1}.", "Choose one of these; -1 is the last.")
    return value % size


def whole(value: Any, name: str, least: int = 1) -> int:
    """An option that is a whole number; PatchError where it is none, or too small."""
    found = plain(value)
    if not isinstance(found, int) or found < least:
        raise PatchError(f"{name}={value!r} can't be used.", f"Give a whole number from {least} on.")
    return found
