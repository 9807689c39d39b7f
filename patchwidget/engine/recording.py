"""One run of a prompt, written down: what patches take their values from, and what the packed executor stands on."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from patchwidget.errors import SiteError
from patchwidget.models.attention import intercepted
from patchwidget.models.hooks import Hooks
from patchwidget.models.trace import main_input, main_tensor
from patchwidget.models.wrapped import WrappedModel

from .sites import ATTENTION_SITES, find_tap, layers_with
from .tap_hooks import on_read


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
        if site == "resid_post":
            return self.resid[layer + 1]
        if (site, layer) not in self.sites:
            raise SiteError(f"The model never passed at {site}, so there is nothing to patch.", "Choose a module that runs.")
        return self.sites[site, layer]


def record(
    model: WrappedModel, tokens: Sequence[int] | Tensor, sites: Collection[str] = (), positions: tuple[int, ...] = (-1,)
) -> Recording:
    """Run a prompt once and write it down.

    Args:
        tokens: token ids, T of them; or a tensor without a batch axis for a network that takes no tokens.
        sites: the sites to keep, in every layer, beside the residual stream; not the per-head views of keys and values.
        positions: where the logits are kept.
    """
    return record_together(model, [tokens], sites, positions)[0]


@torch.inference_mode(mode=False)  # so that what is recorded can have gradients later, wherever it was recorded
@torch.no_grad()
def record_together(
    model: WrappedModel, prompts: Sequence[Sequence[int] | Tensor], sites: Collection[str] = (), positions: tuple[int, ...] = (-1,)
) -> list[Recording]:
    """Prompts of one length in one batch: as `record` gives them one by one."""
    inputs = torch.cat([model.inputs(prompt) for prompt in prompts])
    if 1 < len(prompts) == len(inputs[0]):  # no shape would tell prompts from positions
        return [record(model, prompt, sites, positions) for prompt in prompts]
    return _record(model, inputs, sites, positions)


@torch.no_grad()
def entering(model: WrappedModel, prompts: Sequence[Sequence[int] | Tensor]) -> list[Recording]:
    """Runs of these prompts of one length up to the first block: what enters it, and with which arguments; nothing after it runs."""
    inputs = torch.cat([model.inputs(prompt) for prompt in prompts])
    writer = _Writer(inputs, ())

    def stop(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        writer.enter(module, args, kwargs)
        raise _Entered

    with model.lock, Hooks() as hooks, intercepted(model.hf, writer.attend), suppress(_Entered):
        hooks.before(model.anatomy.blocks[0].module, stop)
        model.logits_at(inputs, (-1,))
    return writer.recordings


def enters_alike(one: Recording, other: Recording) -> bool:
    """Whether the same enters the first block in two runs, and with the same arguments (rotary angles, masks), but for rounding."""
    return _alike((one.resid[0], *one.calls[0]), (other.resid[0], *other.calls[0]))


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        if one.shape != other.shape or one.dtype != other.dtype:
            return False
        rounding = 4 * torch.finfo(one.dtype).eps if one.is_floating_point() else 0
        return torch.allclose(one, other, rtol=rounding, atol=rounding * float(one.abs().max()) if rounding and one.numel() else 0)
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[name], other[name]) for name in one)
    return True  # flags and caches, which are not the run's


class _Entered(Exception):  # noqa: N818  (not an error)
    """The first block has been reached, and the rest of the run is not needed."""


def _record(model: WrappedModel, inputs: Tensor, sites: Collection[str], positions: tuple[int, ...]) -> list[Recording]:
    writer = _Writer(inputs, [site for site in sites if site in ATTENTION_SITES])
    blocks = model.anatomy.blocks if model.has_blocks else ()
    with model.lock, Hooks() as hooks, intercepted(model.hf, writer.attend):
        for block in blocks:
            hooks.before(block.module, writer.enter)
        if blocks:
            hooks.after(blocks[-1].module, writer.leave)
        for site in set(sites) - ATTENTION_SITES:
            for layer in layers_with(model, site):
                on_read(hooks, find_tap(model, site, layer), partial(writer.keep, (site, layer)))
        logits = model.logits_at(inputs, positions)
    return [replace(recording, logits=logits[i]) for i, recording in enumerate(writer.recordings)]


class _Writer:
    """Writes down what hooks see of a batch [n, ...] of prompts, for each prompt as if it had run alone."""

    def __init__(self, inputs: Tensor, attention_sites: Sequence[str]) -> None:
        self.recordings = [Recording(inputs[[i]]) for i in range(len(inputs))]
        self._attention_sites, self._n, self._rows = attention_sites, len(inputs), inputs[..., 0].numel()

    def enter(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._keep_resid(module, main_input(args, kwargs))
        for i, recording in enumerate(self.recordings):
            recording.calls.append((_of_one(args, i, self._n), _of_one(kwargs, i, self._n)))

    def leave(self, module: Any, output: Any) -> None:
        self._keep_resid(module, main_tensor(output))

    def keep(self, place: tuple[str, int], rows: Tensor) -> None:
        rows = rows.clone()  # some models write into their tensors later (Falcon)
        shared = len(rows) % self._n or (len(rows) * self._n == self._rows)  # angles and the like come once for all prompts
        for recording, part in zip(self.recordings, [rows] * self._n if shared else rows.chunk(self._n), strict=True):
            recording.sites[place] = part

    def attend(self, own: Any, module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kw: Any) -> Any:
        output, pattern = own(module, query, key, value, mask, **kw)
        kept = {"q": query, "k": key, "v": value, "pattern": pattern}
        for i, recording in enumerate(self.recordings):
            for site in self._attention_sites:
                recording.sites[site, len(recording.attention)] = kept[site][i].transpose(0, 1)
            recording.attention.append(AttentionRecord(key[[i]], value[[i]], _of_one(mask, i, self._n), output[i]))
        return output, pattern

    def _keep_resid(self, module: Any, hidden: Tensor | None) -> None:
        if hidden is None:
            raise LookupError(f"{type(module).__name__} passed on no hidden states")
        for recording, rows in zip(self.recordings, hidden, strict=True):
            recording.resid.append(rows)


def _of_one(value: Any, i: int, n: int) -> Any:
    """What an argument of a block is for prompt number i of n alone, with a batch axis of 1; what all share stays as it is."""
    if n == 1:
        return value
    if isinstance(value, tuple):
        return tuple(_of_one(x, i, n) for x in value)
    if isinstance(value, dict):
        return {name: _of_one(x, i, n) for name, x in value.items()}
    return value[[i]] if isinstance(value, Tensor) and value.ndim > 1 and value.shape[0] == n else value
