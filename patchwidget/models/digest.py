"""Whether a model is the same as before, told by every number it computes with, each read once on the device where it is.

A tensor is read as 64-bit words in rows of 64 kB. Each word, its upper half added to its lower one so that a changed sign bit does not only
reach the topmost bit, is multiplied by an odd random weight of its place in the row; a row's sum of these, modulo 2^64, stands for the row.
The sums in order, with shape and dtype, go into SHA-256. One changed word always changes its row's sum, since an odd number times a difference
is never 0; a changed place is seen by another weight within a row, and by the order of the sums between rows; that several changes cancel
has a chance of about 2^-32.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from patchwidget.errors import ModelError

_WORDS = 8192  # in a row
_ROWS = {"cpu": 32}  # at once: what a core's cache holds
_ROWS_ELSEWHERE = 1024
# of models and configurations: where they were found and how they are run, which makes no other model
_IDLE = {"name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype", "attn_implementation", "experts_implementation"}


def model_digest(hf: nn.Module) -> str:
    """64 hexadecimal digits of all parameters, buffers, plain attributes (such as an attention's scaling) and configurations of a model.

    Weights that accelerate has put aside are read from where it keeps them, one by one.

    Raises:
        ModelError: a weight is not in memory, and nobody keeps it.
    """
    digest = hashlib.sha256()
    for name, module in hf.named_modules():
        digest.update(f"{name} {type(module).__qualname__} {sorted(plain_attributes(module).items())}".encode())
    for place, config in _configs(hf):
        digest.update(f"{place} {json.dumps(config, sort_keys=True, default=str)}".encode())
    for name, tensor in _tensors(hf):
        digest.update(f"{name} {tensor_digest(tensor)}".encode())
    return digest.hexdigest()


@torch.no_grad()
def tensor_digest(tensor: Tensor) -> str:
    """64 hexadecimal digits of a tensor's shape, dtype and every bit; the same on each device."""
    digest = hashlib.sha256(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
    if hasattr(tensor, "__tensor_flatten__"):  # a wrapper, as of quantized or sharded weights: by the tensors inside
        parts, about = tensor.__tensor_flatten__()  # type: ignore[attr-defined]
        digest.update(str(about).encode())
        for part in parts:
            digest.update(f"{part} {tensor_digest(getattr(tensor, part))}".encode())
        return digest.hexdigest()
    if tensor.layout is not torch.strided:
        tensor = tensor.to_dense()
    flat = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    if flat.storage_offset() * flat.element_size() % 8:
        flat = flat.clone()  # words begin at multiples of 8 bytes
    found = flat.view(torch.uint8)
    whole = len(found) // 8 * 8
    words = found[:whole].view(torch.int64)
    full = len(words) // _WORDS * _WORDS
    for part in (words[:full].view(-1, _WORDS), words[full:][None]):
        if part.numel():
            digest.update(_row_sums(part).cpu().numpy().tobytes())
    digest.update(found[whole:].cpu().numpy().tobytes())
    return digest.hexdigest()


def plain_attributes(module: nn.Module) -> dict[str, Any]:
    """What a module holds as plain values: sizes, scales, names."""
    idle = {"training", *_IDLE}
    return {name: value for name, value in vars(module).items() if not name.startswith("_") and name not in idle and _is_plain(value)}


def _row_sums(words: Tensor) -> Tensor:
    """int64 [rows, n] -> [rows]."""
    weights = _weights(words.device)[: words.shape[1]]
    at_once = _ROWS.get(words.device.type, _ROWS_ELSEWHERE)
    work, sums = torch.empty_like(words[:at_once]), torch.empty_like(words[:, 0])
    for first in range(0, len(words), at_once):
        rows = words[first : first + at_once]
        mixed = torch.bitwise_right_shift(rows, 32, out=work[: len(rows)])
        torch.sum(mixed.add_(rows).mul_(weights), 1, out=sums[first : first + at_once])
    return sums


@cache
def _weights(device: torch.device) -> Tensor:
    """Odd numbers of 64 bits, the same for ever."""
    drawn = np.random.PCG64(0).random_raw(_WORDS) | np.uint64(1)  # type: ignore[operator]
    return torch.from_numpy(drawn.view(np.int64)).to(device)


def _tensors(hf: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every parameter and buffer by its name, and the tensors that modules hold as plain attributes."""
    held = (
        (f"{path}.{name}", value) for path, module in hf.named_modules() for name, value in vars(module).items() if _is_held(name, value)
    )
    for many in (hf.named_parameters(), hf.named_buffers(), held):
        for name, tensor in many:
            yield name, _put_aside(hf, name) if tensor.is_meta else tensor


def _is_held(name: str, value: Any) -> bool:
    return isinstance(value, Tensor) and not name.startswith("_")


def _put_aside(hf: nn.Module, name: str) -> Tensor:
    """A weight from the map of the hook by which accelerate brings it in; the hook is on the weight's module, or on one around it."""
    path = name.split(".")
    for depth in range(len(path) - 1, -1, -1):
        hook = getattr(hf.get_submodule(".".join(path[:depth])), "_hf_hook", None)
        for one in getattr(hook, "hooks", [hook]):
            kept = getattr(one, "weights_map", None)
            if kept is not None and (inside := ".".join(path[depth:])) in kept:
                return kept[inside]
    raise ModelError(f"The weight {name} is not in memory, and nothing is known of where it is kept.", "Load the model's weights.")


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _configs(hf: nn.Module) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each configuration object once, with the first module that has it."""
    seen: set[int] = set()
    for name, module in hf.named_modules():
        config: Any = getattr(module, "config", None)
        if hasattr(config, "to_dict") and id(config) not in seen:
            seen.add(id(config))
            yield name, _without_idle(config.to_dict())


def _without_idle(config: Any) -> Any:
    if not isinstance(config, Mapping):
        return config
    return {str(name): _without_idle(item) for name, item in config.items() if name not in _IDLE and not str(name).startswith("_")}
