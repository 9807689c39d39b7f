"""Gradients of a run's metrics with respect to the activations at any site: one pass back over the model for all sites and positions.

The recorded run holds the residual stream that enters each block. So the pass back takes one block at a time, the last one first: run it again
with a graph, carry the gradient of its output to the sites inside of it and to its input, and let go of the graph. In memory are the residual
stream, one block's graph, and the gradients at the sites that were asked for. Networks without blocks, and modules outside of them, go through
one graph of the whole network. The model's parameters are never asked for gradients.
"""

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from patchwidget.engine.executors.block_call import call_block
from patchwidget.engine.measure import Measure
from patchwidget.engine.recording import Recording
from patchwidget.engine.sites import Tap
from patchwidget.engine.tap_hooks import on_pass
from patchwidget.engine.unembed import read_logits
from patchwidget.errors import MetricError
from patchwidget.models.hooks import Hooks
from patchwidget.models.wrapped import WrappedModel

from .capture import AttentionCall, Place, Watched, watching, with_graph


@dataclass(frozen=True, eq=False)
class Seed:
    """A metric's gradient with respect to some tensor, divided by `scale` so that float16 can hold what follows from it.

    Where `scale` is 0 the metric has no gradient: it moves with no logit, as a rank does not. `value` is the metric itself.
    """

    gradient: Tensor
    scale: float
    value: float


@dataclass(frozen=True, eq=False)
class SiteGradients:
    """The gradients at one place.

    Attributes:
        gradient: float32 [metrics, variants, T, ...]. Variant 0 is the gradient; where layers are dropped, the following ones are the gradients
            with this layer dropped, the next one, and so on up to the last.
        attention: the layer's attention call, for sites inside of attention.
    """

    place: Place
    gradient: Tensor
    attention: AttentionCall | None


def gradients_by_block(
    model: WrappedModel, recording: Recording, seeds: Sequence[Seed], sites: Mapping[str, Collection[int]], *, drop: bool = False
) -> Generator[SiteGradients, None, None]:
    """Walk back over the blocks, last one first, and give the gradients at each place that was asked for.

    Args:
        recording: the run; its residual stream and the blocks' arguments are used.
        seeds: the metrics' gradients, from `metric_seeds`.
        sites: site -> layers.
        drop: give variants as well, each with one layer dropped (Kramar et al. 2024, "GradDrop"): no gradient goes through what that block adds
            to the residual stream. Places inside a block get nothing when it is their own that is dropped.
    """
    arriving = torch.stack([seed.gradient for seed in seeds])[:, None]  # [metrics, variants, T, d_model], of the output of the block
    scales = torch.tensor([seed.scale for seed in seeds])
    lowest = min(layer for layers in sites.values() for layer in layers)
    for layer in reversed(range(lowest, model.n_layers)):
        here = [site for site, layers in sites.items() if layer in layers]
        if "resid_post" in here:
            whole = arriving if not drop else _with_own(arriving, arriving[:, :1])
            yield SiteGradients(("resid_post", layer), _rescaled(whole, scales), None)
        if layer == lowest and here == ["resid_post"]:
            return
        inside = [site for site in here if site not in ("resid_pre", "resid_post")]
        found, watched = _through_block(model, recording, layer, arriving, inside)
        arriving, above = found.pop("resid_pre"), arriving
        for site in inside:
            gradient = found.pop(site)
            if drop:
                own = above[:, :1].to(gradient) if site == "resid_mid" else torch.zeros_like(gradient[:, :1])
                gradient = _with_own(gradient, own)
            yield SiteGradients((site, layer), _rescaled(gradient, scales), watched.attention.get(layer))
        if drop:
            arriving = _with_own(arriving, above[:, :1].to(arriving.device))
        if "resid_pre" in here:
            yield SiteGradients(("resid_pre", layer), _rescaled(arriving, scales), None)


def gradients_of_network(
    model: WrappedModel, tokens: Tensor, measure: Measure, places: Collection[Place], root: Tensor | None = None
) -> tuple[list[SiteGradients], list[Seed]]:
    """The gradients at any places from one graph of the whole network, and the metrics' seeds.

    Args:
        tokens: the network's input with its batch axis, as in a recording.
        root: run with this in place of the token embeddings (or of an input that is no tokens); as from `network_root`.
    """
    plain = tokens.is_floating_point()
    with with_graph():
        leaf = (network_root(model, tokens) if root is None else root).detach().clone().requires_grad_()
    with watching(model, places, None if plain else partial(_replace_embedding, model, leaf)) as watched:
        logits = model.logits_at(leaf if plain else tokens, measure.positions)
        seeds = _logit_seeds(measure, logits, whole=True)
        gradients = _pull_back(logits, torch.stack([seed.gradient for seed in seeds])[:, None], watched, model)
    scales = torch.tensor([seed.scale for seed in seeds])
    found = [SiteGradients(place, _rescaled(x, scales), watched.attention.get(place[1])) for place, x in gradients.items()]
    return found, seeds


def metric_seeds(model: WrappedModel, recording: Recording, measure: Measure) -> list[Seed]:
    """The gradients of each metric with respect to the residual stream after the last block, [T, d_model]."""
    with model.lock, with_graph():
        leaf = recording.resid[-1].detach().clone().requires_grad_()
        logits = read_logits(model, leaf[list(measure.positions)], measure.tokens)[None]
        return [_carried(logits, leaf, seed) for seed in _logit_seeds(measure, logits, whole=False)]


@torch.no_grad()
def rerun(model: WrappedModel, recording: Recording, layer: int, hidden: Tensor) -> Recording:
    """The recorded run again from a layer on, with `hidden` [T, d_model] as the residual stream that enters it; sites are not recorded."""
    resid = [*recording.resid[:layer], hidden]
    with watching(model, ()), torch.no_grad():
        for block in range(layer, model.n_layers):
            resid.append(_run_block(model, recording, block, resid[-1][None])[0])
    return replace(recording, resid=resid, attention=[], sites={})


@torch.no_grad()
def network_root(model: WrappedModel, tokens: Tensor) -> Tensor:
    """What enters a network: the embeddings of its tokens, or its input where that is no tokens."""
    return tokens if tokens.is_floating_point() else model.hf.get_input_embeddings()(tokens)  # type: ignore[operator]


def _logit_seeds(measure: Measure, logits: Tensor, *, whole: bool) -> list[Seed]:
    """The gradients of each metric with respect to the logits.

    Args:
        whole: the logits are over the whole vocabulary, and not the columns that the measure reads.
    """
    leaf = logits.detach().requires_grad_()
    try:
        values = (measure.of_logits if whole else measure.of)(leaf)[0]
    except RuntimeError as error:  # torch's own: "Can't call numpy() on Tensor that requires grad"
        if "requires grad" not in str(error):
            raise
        raise MetricError("The metric has no gradient: it leaves torch on its way.", "Compute it with torch's functions.") from error
    if not values.requires_grad:
        return [Seed(torch.zeros_like(logits), 0.0, float(value)) for value in values]
    gradients = [torch.autograd.grad(value, leaf, retain_graph=True)[0] for value in values]
    sizes = [float(gradient.abs().max()) for gradient in gradients]
    return [Seed(g / (size or 1.0), size, float(value.detach())) for g, size, value in zip(gradients, sizes, values, strict=True)]


def _carried(logits: Tensor, leaf: Tensor, seed: Seed) -> Seed:
    (gradient,) = torch.autograd.grad(logits, [leaf], seed.gradient, retain_graph=True)
    return replace(seed, gradient=gradient)


def _replace_embedding(model: WrappedModel, leaf: Tensor, hooks: Hooks) -> None:
    on_pass(hooks, Tap(model.hf.get_input_embeddings(), "output"), lambda _: leaf.clone())  # type: ignore[operator]


def _through_block(
    model: WrappedModel, recording: Recording, layer: int, arriving: Tensor, sites: Sequence[str]
) -> tuple[dict[str, Tensor], Watched]:
    """The gradients at the sites inside a block and at its input ("resid_pre"), given those of its output; [metrics, variants, T, ...]."""
    with watching(model, [(site, layer) for site in sites], within=model.anatomy.blocks[layer].module) as watched:
        leaf = recording.resid[layer].detach().clone().requires_grad_()
        output = _run_block(model, recording, layer, leaf.clone()[None])
        watched.seen["resid_pre", layer] = [leaf]
        found = _pull_back(output, arriving[:, :, None].to(output.device), watched, model)
    return {site: gradient for (site, _), gradient in found.items()}, watched


def _run_block(model: WrappedModel, recording: Recording, layer: int, hidden: Tensor) -> Tensor:
    """A block on other hidden states [1, T, d_model], with the arguments it had in the recorded run."""
    return call_block(model.anatomy.blocks[layer].module, hidden, *recording.calls[layer])


def _pull_back(output: Tensor, arriving: Tensor, watched: Watched, model: WrappedModel) -> dict[Place, Tensor]:
    """The gradients of all watched places, [metrics, variants, T, ...], given those of `output`, [metrics, variants, *output's shape]."""
    places = list(watched.seen)
    tensors = [tensor for place in places for tensor in watched.seen[place]]
    rows = []
    for seed in arriving.flatten(0, 1):
        gradients = iter(torch.autograd.grad(output, tensors, seed, retain_graph=True, allow_unused=True, materialize_grads=True))
        rows.append([watched.rows(model, place, [next(gradients) for _ in watched.seen[place]]) for place in places])
    return {
        place: torch.stack(column).unflatten(0, arriving.shape[:2]) for place, column in zip(places, zip(*rows, strict=True), strict=True)
    }


def _with_own(gradient: Tensor, own: Tensor) -> Tensor:
    """Variants of one layer: the variant with the layer itself dropped stands behind the plain one."""
    return torch.cat([gradient[:, :1], own, gradient[:, 1:]], 1)


def _rescaled(gradient: Tensor, scales: Tensor) -> Tensor:
    scales = scales.to(gradient.device)
    return gradient.float() * scales.reshape(-1, *[1] * (gradient.ndim - 1))
