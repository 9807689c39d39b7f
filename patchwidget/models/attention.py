"""Intercepting attention in any model that dispatches it through transformers' `AttentionInterface`.

While `intercepted(hf, handler)` is open, each attention layer of `hf` calls `handler` in place of its attention function and is given a
full additive mask. A forward in any other thread or context is not touched: the registered functions look at a context variable and,
where it is not set, do what the model's own attention setting would have done.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

# handler(own, module, query [B, H, S, d], key [B, Hkv, T, d], value, mask [B, 1, S, T] or None, **kw) -> output [B, S, H, d], pattern
Handler = Callable[..., tuple[Tensor, Tensor | None]]

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
    before = [config._attn_implementation_internal for config in configs]
    token = _handler.set(handler)
    try:
        for config, original in zip(configs, before, strict=True):
            config._attn_implementation_internal = _stand_in_for(original or "eager")
        yield
    finally:
        for config, original in zip(configs, before, strict=True):
            config._attn_implementation_internal = original
        _handler.reset(token)


def _attention_configs(hf: nn.Module) -> list[Any]:
    found = {id(m.config): m.config for m in hf.modules() if hasattr(getattr(m, "config", None), "_attn_implementation_internal")}
    return list(found.values())


def _stand_in_for(original: str) -> str:
    """The registered name whose functions fall back to `original`; without "flash" in it, since transformers searches for that."""
    name = "patchwidget_" + original.replace("flash", "fl")
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
