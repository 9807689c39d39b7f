"""What of a network decides its numbers, besides its weights, and may be changed behind an experiment's back."""

from dataclasses import dataclass
from functools import cache
from types import FunctionType
from typing import Any

import torch
from torch import nn

from .attention import attention_settings
from .digest import plain_attributes
from .hooks import foreign_hooks

_SMALL = 4096  # numbers; larger buffers are masks and tables of sines, which are read by every block and so show in a sweep's proof cells


@dataclass(frozen=True)
class ModelState:
    """Compared by value: two states that are equal leave the numbers of a network as they were.

    Attributes:
        modules: which ones, by id, in order: one may have been put in another's place.
        attention: the attention setting of each configuration.
        hooks: of each module that a user has set forward hooks on: its path, and the hooks' numbers.
        buffers: what the modules hold that have small buffers, such as rotary frequencies: the bytes of these, and the plain attributes.
    """

    modules: tuple[int, ...]
    attention: tuple[str | None, ...]
    hooks: tuple[tuple[str, tuple[int, ...]], ...]
    buffers: tuple[Any, ...]


def state_of(hf: nn.Module) -> ModelState:
    """The network's state now."""
    named = list(hf.named_modules())
    hooks = tuple((name, found) for name, module in named if (found := foreign_hooks(module)))
    return ModelState(
        tuple(id(module) for _, module in named),
        attention_settings(hf),
        hooks,
        tuple(_held(module) for _, module in named if module._buffers),  # noqa: SLF001 - quicker than a walk of its own for each module
    )


def _held(module: nn.Module) -> tuple[Any, ...]:
    small = [buffer for buffer in module.buffers(recurse=False) if buffer.numel() <= _SMALL and not buffer.is_meta]
    return (*(buffer.flatten().view(torch.uint8).cpu().numpy().tobytes() for buffer in small), plain_attributes(module))


def training_modules(hf: nn.Module) -> tuple[str, ...]:
    """Paths of the modules in training mode whose runs may therefore not repeat; "" is the whole network."""
    return tuple(name for name, module in hf.named_modules() if module.training and (not name or _reads_training(type(module))))


@cache
def _reads_training(kind: type[nn.Module]) -> bool:
    """Whether any method of a class of modules looks at its training mode. Most do not, such as a bare layer that was put in by hand."""
    own = (vars(cls).values() for cls in kind.__mro__ if cls not in (nn.Module, object))
    return any("training" in function.__code__.co_names for values in own for function in values if isinstance(function, FunctionType))
