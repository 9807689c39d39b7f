"""Where vectors come from: prompts, a cell of a grid, other packages' objects, files. Each gives the fields of a `SteeringVector`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from patchwidget.engine.recording import Recording, record
from patchwidget.engine.sites import check_site
from patchwidget.errors import PatchError, PromptError, SiteError
from patchwidget.given import Array, Index
from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.pair import Text, tokenize_prompt
from patchwidget.runs.pair_runs import PairRuns

from . import vector_files
from .methods import TokenRule, check_steered_site, extract, kept_sites, residual_norms
from .provenance import provenance_of

# layer types of the package steering_vectors
_FOREIGN_SITES = {"decoder_block": "resid_post", "self_attn": "attn_out", "mlp": "mlp_out"}


@runtime_checkable
class LayerActivations(Protocol):
    """A vector of the package steering_vectors: {layer: [d_model]}, and perhaps a `layer_type`."""

    @property
    def layer_activations(self) -> Mapping[int, Tensor]: ...


@runtime_checkable
class Directions(Protocol):
    """A control vector of the package repeng: {layer: [d_model]}, and perhaps a `model_type`."""

    @property
    def directions(self) -> Mapping[int, Array]: ...


# vectors that are not ours: {layer: [d_model]}, or another package's
Elsewhere = Mapping[Index, Array] | LayerActivations | Directions


@dataclass(frozen=True, eq=False)
class Made:
    """The fields of a `SteeringVector`, which says what they are."""

    vectors: Mapping[Index, Any]
    site: str = "resid_post"
    token_rule: TokenRule = "last"  # noqa: S105 - no password: it tells which tokens
    method: str = "given"
    residual_norms: Mapping[Index, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)


def from_pairs(
    model: WrappedModel,
    positive: Sequence[Text],
    negative: Sequence[Text],
    layers: Sequence[int],
    *,
    method: str,
    site: str,
    token_rule: TokenRule | None,
) -> Made:
    """A vector from prompts that have something and prompts that lack it: one direction for each layer, and which prompts they were.

    Raises:
        PromptError: a side is empty, both are the same, or do not form pairs where pairs are needed.
        SiteError: no such layer or site.
        PatchError: no such method or rule, or activations that are not finite.
        ModelError: the model is in training mode.
    """
    made = extract(model, positive, negative, layers, method=method, site=site, token_rule=token_rule)
    provenance = {**provenance_of(model), "positive": _plain(positive), "negative": _plain(negative)}
    return Made(made.vectors, site, made.token_rule, method, made.residual_norms, provenance)


def from_patch(runs: PairRuns, layer: int, pos: int, site: str) -> Made:
    """A vector from one cell: the clean minus the corrupted activation [d_model], the mean over the pairs that have the position.

    Raises:
        SiteError: no such cell.
        PromptError: both runs have the same activation there.
    """
    check_steered_site(site)
    check_site(runs.model, site, layer)
    pairs = range(len(runs.pairs))
    each = [_difference(runs, pair, layer, pos, site) for pair in pairs]
    differences = [difference for difference in each if difference is not None]
    if not differences:
        length = max(runs.length(pair) for pair in pairs)
        gone = "does not exist" if not -length <= pos < length else "corresponds to none of the other prompt"
        raise SiteError(f"Position {pos} {gone}: the prompts have positions 0 to {length - 1}.", "Choose one of these that has a partner.")
    vector = torch.stack(differences).mean(0)
    if not vector.any():
        raise PromptError(
            f"The clean and the corrupted run have the same {site} at layer {layer}, position {pos}.",
            "Choose a position at or after the first token that differs.",
        )
    norms = residual_norms(runs.model, [_recording(runs, run, i, site) for run in ("clean", "corrupted") for i in pairs], site)
    prompts = {name: [_plain([getattr(p, name)])[0] for p in runs.prompts] for name in ("clean", "corrupted")}
    provenance = {**provenance_of(runs.model), **prompts, "pos": pos}
    return Made({layer: vector}, site, (pos, pos + 1 or None), "patch", norms, provenance)


def _difference(runs: PairRuns, pair: int, layer: int, pos: int, site: str) -> Tensor | None:
    """Clean minus corrupted at a position of the run that is patched and where that corresponds to; None where the pair has none such."""
    base = pos + runs.length(pair) if pos < 0 else pos
    source = runs.source_positions(pair).get(base)
    if source is None:
        return None
    here, there = (source, base) if runs.base == "corrupted" else (base, source)
    clean, corrupted = (_recording(runs, run, pair, site).at(site, layer) for run in ("clean", "corrupted"))
    return clean[here].float() - corrupted[there].float()


def _recording(runs: PairRuns, run: str, pair: int, site: str) -> Recording:
    return runs.recording(run, *kept_sites(site), pair=pair)


def from_elsewhere(vector: object) -> Made:
    """A vector from {layer: [d_model]} or another package's. PatchError where it is neither, or its layer type has no site here."""
    if isinstance(vector, Mapping):
        return Made(vector)
    if isinstance(vector, LayerActivations):
        kind = str(getattr(vector, "layer_type", "decoder_block"))
        if kind not in _FOREIGN_SITES:
            raise PatchError(f"A steering_vectors vector of layer type {kind!r} has no site here.", f"Use {', '.join(_FOREIGN_SITES)}.")
        return Made(vector.layer_activations, _FOREIGN_SITES[kind], method="steering_vectors")
    if isinstance(vector, Directions):
        directions = {layer: torch.tensor(direction) for layer, direction in vector.directions.items()}
        return Made(directions, method="repeng", provenance={"model_type": str(getattr(vector, "model_type", "unknown"))})
    raise PatchError(
        f"A steering vector was expected, and this is a {type(vector).__name__}.",
        "Use pw.SteeringVector, a dictionary {layer: tensor}, or a vector of steering_vectors or repeng.",
    )


def from_file(path: Path) -> Made:
    """A vector from a .safetensors or .gguf file. PatchError where there is no such file, or it is not a steering vector."""
    stored = vector_files.read(path)
    about = stored.about
    rule = about.get("token_rule", "unknown")
    return Made(
        stored.vectors,
        about.get("site", "resid_post"),
        tuple(rule) if isinstance(rule, list) else rule,
        about.get("method", "unknown"),
        {int(layer): float(norm) for layer, norm in about.get("residual_norms", {}).items()},
        about.get("provenance", {}),
    )


def norms_over(model: WrappedModel, prompts: Sequence[Text], site: str) -> dict[int, float]:
    """{layer: the residual stream's median L2 norm there}, over the tokens of these prompts.

    Raises:
        PromptError: there are no prompts, or one is empty, too long or not understood.
    """
    several = [prompts] if isinstance(prompts, str) else list(prompts)
    if not several:
        raise PromptError("The list of prompts is empty.", "Give at least one.")
    runs = [record(model, tokenize_prompt(model, prompt, "reference"), kept_sites(site)) for prompt in several]
    return residual_norms(model, runs, site)


def chosen_layers(model: WrappedModel, layer: int | None, layers: Sequence[int] | None) -> list[int]:
    """The layers that `layer` or `layers` names; PatchError unless it is one of the two."""
    if (layer is None) == (layers is None):
        raise PatchError("A vector needs a layer: either `layer` or `layers`.", f"layer={model.n_layers // 2} is the middle one.")
    chosen = [layer] if layer is not None else list(layers or ())
    if not chosen:
        raise PatchError("The list of layers is empty.", f"layers=[{model.n_layers // 2}] is the middle one.")
    return chosen


def _plain(prompts: Sequence[Any]) -> list[Any]:
    """Prompts as plain data."""
    several = [prompts] if isinstance(prompts, str) else prompts
    return [prompt if isinstance(prompt, str | None) else [int(token) for token in prompt] for prompt in several]
