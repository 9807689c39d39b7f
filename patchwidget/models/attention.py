"""Intercepting attention in any model that dispatches it through transformers' `AttentionInterface`.

While `intercepted(hf, handler)` is open, each attention layer of `hf` calls `handler` in place of its attention function and is given a
full additive mask. A forward in any other thread or context is not touched: the registered functions look at a context variable and,
where it is not set, do what the model's own attention setting would have done.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .eager import uncompiled

# handler(own, module, query [B, H, S, d], key [B, Hkv, T, d], value, mask [B, 1, S, T] or None, **kw) -> output [B, S, H, d], pattern
Handler = Callable[..., tuple[Tensor, Tensor | None]]

_PREFIX = "patchwidget_"

_handler: ContextVar[Handler | None] = ContextVar("patchwidget_attention_handler", default=None)


def own_attention(module: nn.Module) -> Callable[..., tuple[Tensor, Tensor | None]]:
    """The eager attention function of the file that defines the module's class: right for every architecture (soft caps, sinks...)."""
    for cls in type(module).__mro__:
        own = getattr(sys.modules.get(cls.__module__), "eager_attention_forward", None)
        if own is not None:
            return own
    raise LookupError(f"{type(module).__name__} has no eager attention function beside it")


@contextmanager
def intercepted(hf: nn.Module, handler: Handler) -> Iterator[None]:
    """Send this context's attention calls of `hf` to `handler`; the model's attention setting is restored on leaving, whatever happens."""
    configs = _attention_configs(hf)
    token = _handler.set(handler)
    try:
        with ExitStack() as opened:
            opened.enter_context(uncompiled())
            for config in configs:
                opened.enter_context(_switched(config))
            yield
    finally:
        _handler.reset(token)


def attention_settings(hf: nn.Module) -> tuple[str | None, ...]:
    """The attention setting of each configuration in `hf`, as it is when nothing is intercepted."""
    with _switches_lock:
        return tuple(
            _switches[id(config)].original if id(config) in _switches else config._attn_implementation_internal
            for config in _attention_configs(hf)
        )


@dataclass
class _Switch:
    """A configuration whose attention setting is exchanged: what it was, and how many contexts want it so."""

    original: str | None
    wanted: int = 0


# by the id of a configuration, which its holder keeps alive meanwhile; models may share one, and be run in several threads
_switches: dict[int, _Switch] = {}
_switches_lock = Lock()


@contextmanager
def _switched(config: Any) -> Iterator[None]:
    """The first context that comes exchanges a configuration's setting, and the last one that goes restores it."""
    with _switches_lock:
        switch = _switches.setdefault(id(config), _Switch(config._attn_implementation_internal))
        switch.wanted += 1
        if switch.wanted == 1:
            config._attn_implementation_internal = _stand_in_for(switch.original or "eager")
    try:
        yield
    finally:
        with _switches_lock:
            switch.wanted -= 1
            if not switch.wanted:
                del _switches[id(config)]
                if str(config._attn_implementation_internal).startswith(_PREFIX):  # else the user has set another meanwhile
                    config._attn_implementation_internal = switch.original


def _attention_configs(hf: nn.Module) -> list[Any]:
    found = {id(m.config): m.config for m in hf.modules() if hasattr(getattr(m, "config", None), "_attn_implementation_internal")}
    return list(found.values())


def _stand_in_for(original: str) -> str:
    """The registered name whose functions fall back to `original`; without "flash" in it, since transformers searches for that."""
    name = _PREFIX + original.replace("flash", "fl")
    if name not in ALL_ATTENTION_FUNCTIONS:
        AttentionInterface.register(name, partial(_attend, original))
        AttentionMaskInterface.register(name, partial(_mask, original))
    return name


def _attend(
    original: str, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kw: Any
) -> tuple[Tensor, Tensor | None]:
    own, handler = own_attention(module), _handler.get()
    if handler is not None:
        return handler(own, module, query, key, value, mask, **kw)
    attend = own if original == "eager" else ALL_ATTENTION_FUNCTIONS[original]
    return attend(module, query, key, value, mask, **kw)


def _mask(original: str, *args: Any, **kw: Any) -> Tensor | None:
    make = eager_mask if _handler.get() is not None else ALL_MASK_ATTENTION_FUNCTIONS[original]
    return make(*args, **kw)
