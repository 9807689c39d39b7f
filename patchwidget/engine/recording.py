"""One run of a prompt, written down: what patches take their values from, and what the packed executor stands on."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..models.attention import intercepted
from ..models.hooks import Hooks
from ..models.model import Model
from ..models.trace import main_input, main_tensor
from .access import on_read
from .sites import find_tap


@dataclass(frozen=True, eq=False)
class AttentionRecord:
    """One layer's attention in one run: key and value [1, Hkv, T, d], mask [1, 1, T, T] or None, output [T, H, d], pattern [H, T, T]."""

    key: Tensor
    value: Tensor
    mask: Tensor | None
    output: Tensor
    pattern: Tensor | None


@dataclass(frozen=True, eq=False)
class Recording:
    """What one run of one prompt went through.

    Attributes:
        tokens: [1, T].
        resid: the residual stream entering each block and leaving the last one, n_layers + 1 tensors [T, d_model].
        calls: the arguments each block was called with, beside the hidden states.
        attention: one record per layer; empty where attention can't be intercepted.
        sites: {(site, layer): [T, ...]} for the sites that were asked for.
    """

    tokens: Tensor
    resid: list[Tensor] = field(default_factory=list)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    attention: list[AttentionRecord] = field(default_factory=list)
    sites: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    @property
    def length(self) -> int:
        return self.tokens.shape[1]


@torch.no_grad()
def record(model: Model, tokens: Iterable[int], sites: Iterable[str] = (), patterns: bool = False) -> Recording:
    """Run a prompt once through the blocks, without the unembedding, and write it down.

    Args:
        tokens: token ids, T of them.
        sites: the sites to keep, in every layer.
        patterns: keep the attention patterns too, [H, T, T] per layer.
    """
    recording = Recording(torch.tensor([list(tokens)], device=model.device))
    anatomy = model.anatomy

    def enter(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden = main_input(args, kwargs)
        if hidden is None:
            raise LookupError(f"{type(module).__name__} was called without hidden states")
        recording.resid.append(hidden[0])
        recording.calls.append((args, kwargs))

    def leave(module: Any, output: Any) -> None:
        hidden = main_tensor(output)
        if hidden is not None:
            recording.resid.append(hidden[0])

    def attend(own: Any, module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kw: Any) -> Any:
        output, pattern = own(module, query, key, value, mask, **kw)
        kept = pattern[0] if patterns and pattern is not None else None
        recording.attention.append(AttentionRecord(key, value, mask, output[0], kept))
        return output, pattern

    with model.lock, Hooks() as hooks, intercepted(model.hf, attend):
        for layer, block in enumerate(anatomy.blocks):
            hooks.before(block.module, enter)
            for site in sites:
                on_read(hooks, find_tap(model, site, layer), _keep(recording.sites, (site, layer)))
        hooks.after(anatomy.blocks[-1].module, leave)
        body = model.hf.base_model
        body(input_ids=recording.tokens, use_cache=False)
    return recording


def _keep(sites: dict[tuple[str, int], Tensor], place: tuple[str, int]) -> Any:
    return lambda rows: sites.__setitem__(place, rows)
