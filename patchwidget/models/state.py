"""What of a network decides its numbers, besides its weights, and may be changed behind an experiment's back."""

from dataclasses import dataclass
from functools import cache
from types import FunctionType

from torch import nn

from .attention import attention_settings
from .hooks import foreign_hooks


@dataclass(frozen=True)
class ModelState:
    """Compared by value: two states that are equal leave the numbers of a network as they were.

    Attributes:
        modules: which ones, by id, in order: one may have been put in another's place.
        attention: the attention setting of each configuration.
        hooks: of each module that a user has set forward hooks on: its path, and the hooks' numbers.
    """

    modules: tuple[int, ...]
    attention: tuple[str | None, ...]
    hooks: tuple[tuple[str, tuple[int, ...]], ...]


def state_of(hf: nn.Module) -> ModelState:
    """The network's state now."""
    named = list(hf.named_modules())
    hooks = tuple((name, found) for name, module in named if (found := foreign_hooks(module)))
    return ModelState(
        tuple(id(module) for _, module in named),
        attention_settings(hf),
        hooks,
    )


def training_modules(hf: nn.Module) -> tuple[str, ...]:
    """Paths of the modules in training mode whose runs may therefore not repeat; "" is the whole network."""
    return tuple(name for name, module in hf.named_modules() if module.training and (not name or _reads_training(type(module))))


@cache
def _reads_training(kind: type[nn.Module]) -> bool:
    """Whether any method of a class of modules looks at its training mode. Most do not, such as a bare layer that was put in by hand."""
    own = (vars(cls).values() for cls in kind.__mro__ if cls not in (nn.Module, object))
    return any("training" in function.__code__.co_names for values in own for function in values if isinstance(function, FunctionType))
