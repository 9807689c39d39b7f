"""One run of a prompt, written down: what patches take their values from, and what the packed executor stands on."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from patchwidget.models.attention import intercepted
from patchwidget.models.hooks import Hooks
from patchwidget.models.model import Model
from patchwidget.models.trace import main_input, main_tensor

from .access import on_read
from .sites import ATTENTION_SITES, find_tap, layers_with


@dataclass(frozen=True, eq=False)
class AttentionRecord:
    """One layer's attention in one run: key and value [1, Hkv, T, d], mask [1, 1, T, T] or None, output [T, H, d]."""

    key: Tensor
    value: Tensor
    mask: Tensor | None
    output: Tensor


@dataclass(frozen=True, eq=False)
class Recording:
    """What one run of one prompt went through.

    Attributes:
        tokens: [1, T], or another network's input.
        resid: the residual stream entering each block and leaving the last one, n_layers + 1 tensors [T, d_model].
        calls: the arguments each block was called with, beside the hidden states.
        attention: one record per layer; empty where attention can't be intercepted.
        sites: {(site, layer): [T, ...]} for the sites that were asked for.
        logits: float32 [positions, vocabulary] at the positions that were asked for.
    """

    tokens: Tensor
    resid: list[Tensor] = field(default_factory=list)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    attention: list[AttentionRecord] = field(default_factory=list)
    sites: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    logits: Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def length(self) -> int:
        return self.tokens.shape[1]

    def at(self, site: str, layer: int) -> Tensor:
        """The site's activations in one layer, [T, ...]. The residual stream between blocks is always there."""
        if site == "resid_pre":
            return self.resid[layer]
        return self.resid[layer + 1] if site == "resid_post" else self.sites[site, layer]


@torch.no_grad()
def record(model: Model, tokens: Sequence[int] | Tensor, sites: Collection[str] = (), positions: tuple[int, ...] = (-1,)) -> Recording:
    """Run a prompt once and write it down.

    Args:
        tokens: token ids, T of them; or a tensor without a batch axis for a network that takes no tokens.
        sites: the sites to keep, in every layer, beside the residual stream; not the per-head views of keys and values.
        positions: where the logits are kept.
    """
    recording = Recording(model.inputs(tokens))
    blocks = model.anatomy.blocks if model.has_blocks else ()
    attention_sites = [site for site in sites if site in ATTENTION_SITES]
    module_sites = [site for site in sites if site not in ATTENTION_SITES]

    def enter(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        recording.resid.append(_rows(main_input(args, kwargs), module))
        recording.calls.append((args, kwargs))

    def leave(module: Any, output: Any) -> None:
        recording.resid.append(_rows(main_tensor(output), module))

    def attend(own: Any, module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kw: Any) -> Any:
        output, pattern = own(module, query, key, value, mask, **kw)
        kept = {"q": query, "k": key, "v": value, "pattern": pattern}
        for site in attention_sites:
            recording.sites[site, len(recording.attention)] = kept[site][0].transpose(0, 1)
        recording.attention.append(AttentionRecord(key, value, mask, output[0]))
        return output, pattern

    with model.lock, Hooks() as hooks, intercepted(model.hf, attend):
        for block in blocks:
            hooks.before(block.module, enter)
        if blocks:
            hooks.after(blocks[-1].module, leave)
        for site in module_sites:
            for layer in layers_with(model, site):
                on_read(hooks, find_tap(model, site, layer), partial(_keep_copy, recording.sites, (site, layer)))
        logits = model.logits_at(recording.tokens, positions)[0]
    return replace(recording, logits=logits)


def _keep_copy(sites: dict[tuple[str, int], Tensor], place: tuple[str, int], rows: Tensor) -> None:
    sites[place] = rows.clone()  # some models write into their tensors later (Falcon)


def _rows(hidden: Tensor | None, module: Any) -> Tensor:
    if hidden is None:
        raise LookupError(f"{type(module).__name__} passed on no hidden states")
    return hidden[0]
