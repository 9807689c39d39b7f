"""What happens in one forward: which modules ran, in which order, on which tensors. The anatomy of a model is read off such a trace."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .attention import intercepted
from .hooks import Hooks, foreign_hooks


@dataclass(eq=False)
class Call:
    """One call of a module: its main input and output tensor, and when it began and ended.

    `value` is a copy of the output, which some models go on to write into; `own` one of what the module gave before hooks of a user's changed it.
    """

    module: nn.Module
    input: Tensor | None
    began: int
    output: Tensor | None = None
    ended: int = -1
    value: Tensor | None = None
    own: Tensor | None = None


@dataclass(frozen=True)
class Attended:
    """One call of the attention interface: by which module, when, on how many heads, and the values it was given."""

    module: nn.Module
    at: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    value: Tensor


@dataclass(frozen=True)
class Trace:
    calls: list[Call]
    attended: list[Attended]

    def of(self, modules: list[nn.Module] | set[nn.Module]) -> list[Call]:
        """The calls of these modules, in the order they began."""
        wanted = set(modules)
        return [call for call in self.calls if call.module in wanted]

    def within(self, outer: Call) -> list[Call]:
        return [call for call in self.calls if outer.began < call.began and call.ended < outer.ended]


def main_tensor(value: Any) -> Tensor | None:
    """The hidden states among a module's arguments or outputs: the tensor itself, or the first one of a tuple."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, tuple | list):
        return next((x for x in value if isinstance(x, Tensor)), None)
    return None


def main_input(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    found = main_tensor(args)
    return found if found is not None else kwargs.get("hidden_states", next((x for x in kwargs.values() if isinstance(x, Tensor)), None))


def same(a: Tensor | None, b: Tensor | None) -> bool:
    """Whether two tensors of one trace are the same memory (a trace keeps its tensors alive, so addresses are unique)."""
    return a is not None and b is not None and (a is b or (a.data_ptr() == b.data_ptr() and a.numel() == b.numel() and a.dtype == b.dtype))


def written(module: nn.Module) -> nn.Module:
    """The module itself, where torch.compile has put one around it, which passes everything on."""
    return getattr(module, "_orig_mod", module)


@torch.no_grad()
def trace_forward(hf: nn.Module, inputs: dict[str, Any]) -> Trace:
    """Run `hf(**inputs)` once and write down every module call and every call of the attention interface."""
    calls: list[Call] = []
    attended: list[Attended] = []
    open_calls: list[Call] = []
    clock = iter(range(10**9))

    def begin(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        call = Call(module, main_input(args, kwargs), next(clock))
        calls.append(call)
        open_calls.append(call)

    def give(module: nn.Module, output: Any) -> None:
        open_calls[-1].own = _copy(main_tensor(output))

    def end(module: nn.Module, output: Any) -> None:
        call = open_calls.pop()
        call.output, call.ended = main_tensor(output), next(clock)
        call.value = _copy(call.output) if foreign_hooks(module) else call.own

    def attend(own: Any, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kw: Any) -> Any:
        attended.append(Attended(module, next(clock), query.shape[1], key.shape[1], value.shape[-1], value))
        return own(module, query, key, value, mask, **kw)

    with Hooks() as hooks, intercepted(hf, attend):
        for module in hf.modules():
            if written(module) is not module:
                continue
            hooks.before(module, begin)
            hooks.after(module, give, first=True)
            hooks.after(module, end)
        hf(**inputs)
    return Trace(calls, attended)


def _copy(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.clone()
