"""Calling a block anew with its recorded arguments (position ids, rotary angles...), picked for rows packed in another order."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, cat, nn

from patchwidget.models.trace import main_tensor

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def join_arguments(calls: Sequence[Arguments], lengths: Sequence[int]) -> Arguments:
    """The arguments of one block in several runs, as those of one long run: what goes by position is laid end to end."""
    (args, kwargs), *_ = calls
    joined = tuple(_join([call[0][i] for call in calls], lengths) for i in range(len(args)))
    return joined, {name: _join([call[1][name] for call in calls], lengths) for name in kwargs}


def pick_arguments(call: Arguments, rows: Tensor, total: int) -> Arguments:
    """The arguments for these rows out of `total`. Masks are left out: the attention function has the base run's."""
    args, kwargs = call
    return tuple(_pick(x, rows, total) for x in args), {name: _pick(x, rows, total) for name, x in kwargs.items()}


def call_block(block: nn.Module, hidden: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """What a block gives for other hidden states [B, S, d_model], with these arguments for the rest; of the same shape."""
    if "hidden_states" in kwargs:
        output = main_tensor(block(*args, **{**kwargs, "hidden_states": hidden}))
    else:
        output = main_tensor(block(hidden, *args[1:], **kwargs))
    if output is None:
        raise LookupError(f"{type(block).__name__} returned no tensor")
    return output


def _join(values: Sequence[Any], lengths: Sequence[int]) -> Any:
    first = values[0]
    if len(values) == 1:
        return first
    if isinstance(first, tuple):
        return tuple(_join([value[i] for value in values], lengths) for i in range(len(first)))
    if isinstance(first, dict):
        return {name: _join([value[name] for value in values], lengths) for name in first}
    dim = _position_dim(first, lengths[0])
    return first if dim is None else cat(list(values), dim)


def _pick(value: Any, rows: Tensor, total: int) -> Any:
    if isinstance(value, tuple):
        return tuple(_pick(x, rows, total) for x in value)
    if isinstance(value, dict):
        return {name: _pick(x, rows, total) for name, x in value.items()}
    if isinstance(value, Tensor) and value.ndim == 4:
        return None
    dim = _position_dim(value, total)
    return value if dim is None else value.index_select(dim, rows.to(value.device))


def _position_dim(value: Any, length: int) -> int | None:
    """Which axis of an argument counts positions: the second of [1, T, ...], the only one of [T]."""
    if not isinstance(value, Tensor) or value.ndim == 4:
        return None
    if value.ndim >= 2 and value.shape[1] == length:
        return 1
    return 0 if value.ndim == 1 and value.shape[0] == length else None
