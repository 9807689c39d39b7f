"""Tensors of sites kept as they stand in the graph, so that gradients can be taken with respect to them."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from patchwidget.engine.executors.attention import in_sight
from patchwidget.engine.sites import ATTENTION_SITES, find_tap
from patchwidget.engine.tap_hooks import on_pass
from patchwidget.errors import ModelError
from patchwidget.models.attention import intercepted
from patchwidget.models.hooks import Hooks
from patchwidget.models.wrapped import WrappedModel

Place = tuple[str, int]
# the heads' outputs as the attention function gives them, [T, H, d_head]: not a site of sweeps, but where patterns act
ATTENDED = "attended"
INSIDE_ATTENTION = ATTENTION_SITES | {ATTENDED}


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """One layer's call of its attention function, ready to be done again with other queries or keys.

    Attributes:
        attend: (query, key, value) -> output [n, T, H, d]: the model's own function with its mask and options.
        query: [1, H, T, d]; key, value: [1, Hkv, T, d]; output: [1, T, H, d].
        mask: [1, H or 1, T, T], or None.
    """

    attend: Callable[[Tensor, Tensor, Tensor], Tensor]
    query: Tensor
    key: Tensor
    value: Tensor
    output: Tensor
    mask: Tensor | None


@dataclass(eq=False)
class Watched:
    """What passed at some places while a network, or a block of it, ran.

    Attributes:
        seen: the tensors of each place, in the order they passed: one; several where a module is called several times; and for k_per_head and
            v_per_head one for each query head of a group.
        attention: the attention calls of the layers where something inside of attention is watched.
    """

    seen: dict[Place, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    attention: dict[int, AttentionCall] = field(default_factory=dict)

    def rows(self, model: WrappedModel, place: Place, gradients: list[Tensor]) -> Tensor:
        """The gradients of a place's tensors as its activations are laid out by position, [T, ...]."""
        site, layer = place
        if site in ("q", "k", "v"):
            return gradients[0][0].transpose(0, 1)
        if site in ("k_per_head", "v_per_head"):
            return torch.stack([gradient[0].transpose(0, 1) for gradient in gradients], 2).flatten(1, 2)
        if site == ATTENDED:
            return gradients[0][0]
        if site == "pattern":  # what a head puts out is its pattern times the values; where it can't look it has no pattern
            value, mask = self.attention[layer].value[0], self.attention[layer].mask
            value = value.repeat_interleave(model.n_heads // value.shape[0], 0)
            gradient = torch.einsum("thd,hsd->ths", gradients[0][0], value)
            return gradient if mask is None else gradient * in_sight(mask[0, ..., : value.shape[1]]).transpose(0, 1)
        tap = find_tap(model, *place)
        return torch.stack([tap.rows(gradient) for gradient in gradients]).sum(0)


@contextmanager
def with_graph() -> Iterator[None]:
    """What runs inside has gradients, whatever the caller has switched off.

    Raises:
        ModelError: the model's weights can have none.
    """
    with torch.inference_mode(mode=False), torch.enable_grad():
        try:
            yield
        except RuntimeError as error:
            if "Inference tensors" not in str(error):
                raise
            message = "The model's weights were made in torch's inference mode, so that no gradient passes them."
            raise ModelError(message, "Load the model outside torch.inference_mode(); exact cells need no gradients.") from error


@contextmanager
def watching(
    model: WrappedModel, places: Collection[Place], first: Callable[[Hooks], None] | None = None, within: nn.Module | None = None
) -> Iterator[Watched]:
    """Run the model, or blocks of it, inside: with a graph, with the model's lock held, and with nothing left on the model afterwards.

    Args:
        first: sets hooks that come before those of the places.
        within: the block that is run, if it is one alone.
    """
    watched, wanted = Watched(), set(places)
    blocks = model.anatomy.blocks if model.has_blocks else ()
    layers = {block.attention: layer for layer, block in enumerate(blocks) if block.attention is not None}
    with model.lock, with_graph(), Hooks() as hooks, intercepted(within or model.hf, partial(_attend, watched, wanted, layers)):
        if first is not None:
            first(hooks)
        for place in wanted:
            if place[0] not in INSIDE_ATTENTION:
                on_pass(hooks, find_tap(model, *place), partial(_keep, watched, place))
        yield watched


def _keep(watched: Watched, place: Place, tensor: Tensor) -> Tensor:
    """Keep a tensor; the model goes on with a copy, into which it may write. At resid_mid the stream itself goes on beside the MLP."""
    if not tensor.requires_grad:  # nothing before it is in the graph
        tensor = tensor.detach().requires_grad_()
    watched.seen[place].append(tensor)
    return tensor if place[0] == "resid_mid" else tensor.clone()


def _attend(
    watched: Watched,
    wanted: set[Place],
    layers: dict[Any, int],
    own: Any,
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    **kw: Any,
) -> tuple[Tensor, Tensor | None]:
    layer = layers.get(module, -1)
    sites = {site for site, at in wanted if at == layer} & INSIDE_ATTENTION
    if not sites:
        return own(module, query, key, value, mask, **kw)

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return own(module, query, key, value, mask, **kw)[0]

    per_group = query.shape[1] // key.shape[1]
    keys, values = [key] * per_group, [value] * per_group
    if "k_per_head" in sites:
        keys = watched.seen["k_per_head", layer] = [key.clone() for _ in keys]
    if "v_per_head" in sites:
        values = watched.seen["v_per_head", layer] = [value.clone() for _ in values]
    divided = bool(sites & {"k_per_head", "v_per_head"})
    output = _each_with_its_own(attend, query, keys, values) if divided else attend(query, key, value)
    for site, tensor in [("q", query), ("k", key), ("v", value), (ATTENDED, output), ("pattern", output)]:
        if site in sites:
            watched.seen[site, layer] = [tensor]
    watched.attention[layer] = AttentionCall(attend, query.detach(), key.detach(), value.detach(), output.detach(), mask)
    return output, None


def _each_with_its_own(attend: Callable[..., Tensor], query: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
    """Attention in which the i-th query head of each group has keys and values i, [1, T, H, d]."""
    outputs = [
        attend(query, key, value).unflatten(2, (key.shape[1], -1))[:, :, :, i]
        for i, (key, value) in enumerate(zip(keys, values, strict=True))
    ]
    return torch.stack(outputs, 3).flatten(2, 3)
