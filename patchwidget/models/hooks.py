"""Forward hooks that see only the forwards of the context that opened them.

Hooks in torch are global: without a guard, a forward that the user runs in another thread while a sweep is under way would be patched too.
"""

from collections.abc import Callable
from contextlib import ExitStack
from contextvars import ContextVar, Token
from functools import partial
from types import TracebackType
from typing import Any

from torch import nn

from .eager import uncompiled

_open: ContextVar[tuple["Hooks", ...]] = ContextVar("patchwidget_hooks", default=())


# Whose hooks go by no position, or come with the module itself: our own, offloading, adapters, captured outputs, weight norms.
_HARMLESS = ("patchwidget", "accelerate", "peft", "transformers", "torch")


def foreign_hooks(module: nn.Module) -> tuple[int, ...]:
    """The forward hooks that a user has set on this very module: their numbers, which torch never gives twice."""
    both = (module._forward_pre_hooks, module._forward_hooks)  # noqa: SLF001 - torch has no public way to list them
    return tuple(number for hooks in both for number, hook in list(hooks.items()) if _is_foreign(hook))


def foreign_forward(module: nn.Module) -> Any:
    """The function that a user has put in the place of this very module's `forward`; None where there is none."""
    own = vars(module).get("forward")
    return own if own is not None and _is_foreign(own) else None


def _is_foreign(hook: Any) -> bool:
    while isinstance(hook, partial):
        hook = hook.func
    library = (getattr(hook, "__module__", None) or type(hook).__module__).partition(".")[0]
    return library not in _HARMLESS


class Hooks:
    """A context manager that owns hooks: they fire inside the `with` block of the same context only, and are gone after it."""

    def __init__(self) -> None:
        self._handles: list[Any] = []
        self._eager = ExitStack()
        self._token: Token[tuple[Hooks, ...]] | None = None

    def before(self, module: nn.Module, hook: Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Any]) -> None:
        """`hook(module, args, kwargs)` before each call; it may return new `(args, kwargs)`."""

        # torch leaves the keyword arguments out where a hook is added or removed while a forward of another thread passes the module
        def guarded(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Any:
            return hook(module, args, kwargs) if kwargs is not None and self in _open.get() else None

        self._handles.append(module.register_forward_pre_hook(guarded, with_kwargs=True))

    def after(self, module: nn.Module, hook: Callable[[nn.Module, Any], Any], *, first: bool = False) -> None:
        """`hook(module, output)` after each call; it may return a new output. `first`: before hooks that others have set on the module."""

        def guarded(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            return hook(module, output) if self in _open.get() else None

        self._handles.append(module.register_forward_hook(guarded, prepend=first))

    def __enter__(self) -> "Hooks":  # noqa: PYI034 - a runtime type checker knows Self only where it checks the whole class
        self._token = _open.set((*_open.get(), self))
        self._eager.enter_context(uncompiled())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for handle in self._handles:
            handle.remove()
        self._eager.close()
        if self._token is not None:
            _open.reset(self._token)
