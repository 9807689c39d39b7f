"""A steering vector: directions in a model's residual stream, one per layer, with where they come from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from patchwidget.engine.sites import find_layer
from patchwidget.engine.unembed import read_logits
from patchwidget.errors import ModelError, PatchError, SiteError
from patchwidget.given import Array, Index, Indices, plain
from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.pair import Text, plain_prompts
from patchwidget.public import public
from patchwidget.runs.pair_runs import HasRuns

from . import construct, vector_files
from .methods import TokenRule, check_steered_site


@public
@dataclass(frozen=True, eq=False)
class SteeringVector(construct.Made):
    """Directions to steer along. It adds, subtracts and scales like a vector, layer by layer.

    Attributes:
        vectors: {layer: float32 [d_model]} on the CPU, not normalised; or [n, d_model] where each of n positions has its own (ActAdd).
        site: where they live: resid_pre, resid_mid, resid_post, attn_out or mlp_out.
        token_rule: at which tokens the activations were read.
        method: how they were made: "mean_diff", "pca", "caa", "actadd", "logistic", "patch", or in the maker's own words.
        residual_norms: {layer: number}, the median L2 norm of the residual stream there, over the tokens of the prompts it was made from;
            what `unit="residual norm"` is measured in. Empty where it is not known.
        provenance: where it comes from: model, weights, prompts, date...; plain data that JSON can hold.

    Raises:
        SiteError: the site is none of these.
        PatchError: there is no vector, or one is not finite or of another width than the rest.
    """

    def __post_init__(self) -> None:
        check_steered_site(self.site)
        if not self.vectors:
            raise PatchError("A steering vector needs at least one layer, and none was given.", "Give vectors={layer: tensor}.")
        vectors = {int(layer): torch.as_tensor(v).detach().float().cpu().clone() for layer, v in sorted(self.vectors.items())}
        object.__setattr__(self, "vectors", vectors)
        object.__setattr__(self, "residual_norms", plain(self.residual_norms))
        if min(vectors) < 0:
            raise PatchError(f"There is a layer {min(vectors)}, and a vector knows no model to count from its end.", "Count from 0.")
        for layer, vector in vectors.items():
            if vector.ndim not in (1, 2) or vector.shape[-1] != self.d_model or vector.numel() == 0:
                shapes = ", ".join(str(list(v.shape)) for v in vectors.values())
                raise PatchError(f"The vectors have shapes {shapes}.", "Each has to be [d_model], or [positions, d_model], of one width.")
            if not torch.isfinite(vector).all():
                raise PatchError(f"The vector of layer {layer} has numbers that are not finite (NaN or infinite).", "Check what made it.")

    # ---- where vectors come from

    @classmethod
    def from_pairs(
        cls,
        model: WrappedModel,
        positive: Sequence[Text] | Array,
        negative: Sequence[Text] | Array,
        layer: Index | None = None,
        *,
        layers: Indices | None = None,
        method: str = "mean_diff",
        site: str = "resid_post",
        token_rule: TokenRule | None = None,
    ) -> "SteeringVector":
        """Make a vector from prompts that have something and prompts that lack it.

        Args:
            positive, negative: prompts (texts or token ids). Where a method takes pairs, the first belongs to the first, and so on.
            layer: the layer; or `layers`, several, each with a vector of its own. Negative ones count from the last.
            method:
                "mean_diff": mean activation of the positive minus mean of the negative examples.
                "pca": first principal direction of the pairs' differences, uncentred (Zou et al. 2023, arXiv:2310.01405; repeng), pointing
                    the way of their mean and as long as their root mean square along it.
                "caa": mean difference over pairs at the answer token, which is the last one they differ in (Rimsky et al. 2024,
                    arXiv:2312.06681).
                "actadd": the difference of one pair at each position, to be added to the first positions of a prompt (Turner et al. 2023,
                    arXiv:2308.10248, who add at resid_pre); the shorter prompt is padded with spaces.
                "logistic": the normal of a logistic-regression probe, as long as the mean difference along it. Needs scikit-learn.
            site: resid_pre, resid_mid, resid_post, attn_out or mlp_out.
            token_rule: which tokens are read: "last" (the default), "mean", "all", "answer", or a span (start, stop) as in a Python slice,
                over which is averaged. caa and actadd bring their own.

        Returns:
            A SteeringVector, not normalised.

        Raises:
            PromptError: a side is empty, both are the same, or do not form pairs where pairs are needed.
            SiteError: no such layer or site.
            PatchError: no such method or rule, or activations that are not finite.
            ModelError: the model is in training mode.
        """
        chosen = [find_layer(model, one) for one in construct.chosen_layers(model, plain(layer), plain(layers))]
        sides = plain_prompts(positive), plain_prompts(negative)
        return cls(**vars(construct.from_pairs(model, *sides, chosen, method=method, site=site, token_rule=token_rule)))

    @classmethod
    def from_patch(cls, experiment: HasRuns, *, layer: Index, pos: Index, site: str = "resid_post") -> "SteeringVector":
        """The clean minus the corrupted activation at one cell of a grid: what a patch puts there, as a direction.

        Args:
            experiment: a `pw.Experiment`; of several pairs, the mean of those that have the position is taken.
            layer, pos, site: the cell; negative numbers count from the end. Where prompts are aligned, `pos` is one of the run that is
                patched, as in the grid, and the other run's is the one that it corresponds to.

        Raises:
            SiteError: no such cell.
            PromptError: both runs have the same activation there.
        """
        return cls(**vars(construct.from_patch(experiment.runs, find_layer(experiment.runs.model, layer), plain(pos), site)))

    @classmethod
    def of(cls, vector: object) -> "SteeringVector":
        """A vector from elsewhere: {layer: tensor}, a `steering_vectors.SteeringVector` or a `repeng.ControlVector`; one of ours as it is.

        Raises:
            PatchError: it is none of these, or its layer type has no site here.
        """
        return vector if isinstance(vector, SteeringVector) else cls(**vars(construct.from_elsewhere(vector)))

    @classmethod
    def load(cls, path: str | Path) -> "SteeringVector":
        """Read a .safetensors or .gguf file. PatchError where there is no such file, or it is not a steering vector."""
        return cls(**vars(construct.from_file(Path(path))))

    def save(self, path: str | Path) -> None:
        """Write a .safetensors file (everything that is known of the vector) or a .gguf control vector for llama.cpp and repeng.

        Raises:
            PatchError: the name ends otherwise, or GGUF can't hold this vector (of the first block's output, of a sublayer, by position).
        """
        about = {
            "site": self.site,
            "token_rule": self.token_rule,
            "method": self.method,
            "norms": {str(layer): self.norm(layer) for layer in self.layers},
            "residual_norms": {str(layer): norm for layer, norm in self.residual_norms.items()},
            "provenance": dict(self.provenance),
        }
        vector_files.write(Path(path), vector_files.Stored(self.vectors, about))

    def with_norms(self, model: WrappedModel, prompts: Sequence[Text]) -> "SteeringVector":
        """This vector with the residual stream's median L2 norms over these prompts, for `unit="residual norm"`; PromptError if one is empty."""
        return replace(self, residual_norms=construct.norms_over(model, prompts, self.site))

    # ---- what it holds

    @property
    def layers(self) -> list[int]:
        """The layers that it has a direction for, ascending."""
        return list(self.vectors)

    @property
    def d_model(self) -> int:
        """Its width."""
        return next(iter(self.vectors.values())).shape[-1]

    def __getitem__(self, layer: int) -> Tensor:
        if layer not in self.vectors:
            raise SiteError(f"The vector has no layer {layer}.", f"It has {', '.join(map(str, self.vectors))}.")
        return self.vectors[layer]

    def __repr__(self) -> str:
        layers = ", ".join(map(str, self.layers)) if len(self.layers) < 5 else f"{self.layers[0]}..{self.layers[-1]}"
        norms = ", ".join(f"{self.norm(layer):.3g}" for layer in self.layers[:4]) + (", ..." if len(self.layers) > 4 else "")
        return f"SteeringVector({self.method}, {self.site} of layer {layers}, width {self.d_model}, norm {norms})"

    # ---- arithmetic, layer by layer; the result keeps what is known of the left operand

    def __add__(self, other: "SteeringVector") -> "SteeringVector":
        return self._combined(other, torch.add)

    def __radd__(self, other: object) -> "SteeringVector":
        return self if other == 0 else NotImplemented  # `sum` begins with 0

    def __sub__(self, other: "SteeringVector") -> "SteeringVector":
        return self._combined(other, torch.sub)

    def __mul__(self, factor: float) -> "SteeringVector":
        return self._mapped(lambda vector: vector * factor, scaled=float(factor) * self.provenance.get("scaled", 1.0))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> "SteeringVector":
        return self * (1 / divisor)

    def __neg__(self) -> "SteeringVector":
        return self * -1.0

    def project_out(self, other: "SteeringVector") -> "SteeringVector":
        """This vector without its component along `other`, in every layer. PatchError where `other` lacks a layer or is zero there."""
        return self._combined(other, _without)

    def normalized(self) -> "SteeringVector":
        """Of L2 norm 1 in every layer (of a vector by position: all its entries together). PatchError for a zero vector."""
        if not all(vector.norm() > 0 for vector in self.vectors.values()):
            raise PatchError("A zero vector has no direction, so it can't be normalised.", "Check what made it.")
        return self._mapped(lambda vector: vector / vector.norm(), normalized=True)

    def norm(self, layer: int | None = None) -> float:
        """L2 norm in one layer; of a vector by position, the largest of its rows. The layer may be left out where there is one only."""
        return float(self._one(layer).norm(dim=-1).max())

    def relative_norm(self, layer: int | None = None) -> float:
        """The norm in units of the residual stream's median norm at that layer. PatchError where that is not known."""
        layer = self._layer(layer)
        return self.norm(layer) / self.residual_norm(layer)

    def residual_norm(self, layer: int) -> float:
        """The residual stream's median norm at a layer. PatchError where it is not known."""
        if layer not in self.residual_norms:
            raise PatchError(
                f"This vector does not know the residual stream's norm at layer {layer}.",
                "Make it known: vector.with_norms(model, prompts).",
            )
        return self.residual_norms[layer]

    def cosine(self, other: "SteeringVector", layer: int | None = None) -> float:
        """Cosine similarity with another vector in one layer; NaN if either is zero there."""
        ours, theirs = self._one(layer), other[self._layer(layer)]
        self._check_fits(other)
        return float(functional.cosine_similarity(ours.flatten().double(), theirs.flatten().double(), dim=0, eps=0.0))

    def top_tokens(self, model: WrappedModel, k: int = 10, layer: int | None = None) -> list[tuple[str, float]]:
        """The tokens that the vector points to through the unembedding, as (text, logit), largest first; ask -vector for the other end.

        Taken through the final norm first, as the residual stream is (the logit lens, nostalgebraist 2020), so the vector's length is of no
        account. Of a vector by position, the last position's.

        Raises:
            PatchError: the vector is of another width than the model.
            ModelError: what is before the model's unembedding is not a chain of modules.
        """
        vector = self._one(layer)
        self.check_width(model)
        if model.anatomy.tail is None:
            raise ModelError(f"What is before the unembedding of {model.name} is not a chain of modules.", "Choose another model.")
        # a short one would sink in the norm's epsilon
        row = functional.normalize(vector.reshape(-1, self.d_model)[-1:]) * self.d_model**0.5
        with torch.no_grad(), model.lock:
            logits = read_logits(model, row.to(model.device, model.dtype))[0]
        best = logits.topk(min(k, len(logits)))
        return [(model.token_text(int(token)), float(logit)) for token, logit in zip(best.indices, best.values, strict=True)]

    def check_width(self, model: WrappedModel) -> None:
        """Raise PatchError where the vector does not fit the model."""
        if self.d_model != model.d_model:
            raise PatchError(
                f"The steering vector has width {self.d_model}, and the residual stream of {model.name} has {model.d_model}.",
                f"It was made on {self.provenance.get('model', 'another model')}; make one on this model.",
            )

    def _layer(self, layer: int | None) -> int:
        if layer is None and len(self.vectors) > 1:
            raise SiteError("This vector has several layers.", f"Name one: layer={self.layers[0]}, for example.")
        return self.layers[0] if layer is None else layer

    def _one(self, layer: int | None) -> Tensor:
        return self[self._layer(layer)]

    def _mapped(self, change: Callable[[Tensor], Tensor], **told: Any) -> "SteeringVector":
        vectors = {layer: change(vector) for layer, vector in self.vectors.items()}
        return replace(self, vectors=vectors, provenance={**self.provenance, **told})

    def _combined(self, other: "SteeringVector", combine: Callable[[Tensor, Tensor], Tensor]) -> "SteeringVector":
        self._check_fits(other)
        if self.layers != other.layers:
            raise PatchError(f"The vectors have different layers: {self.layers} and {other.layers}.", "Combine vectors of the same layers.")
        vectors = {layer: combine(vector, other[layer]) for layer, vector in self.vectors.items()}
        method = self.method if self.method == other.method else f"{self.method}, {other.method}"
        return replace(self, vectors=vectors, method=method, provenance={**self.provenance, "combined_with": dict(other.provenance)})

    def _check_fits(self, other: "SteeringVector") -> None:
        if self.d_model != other.d_model:
            raise PatchError(
                f"The vectors have widths {self.d_model} and {other.d_model}, so they are of different models.", "Use one model's."
            )
        if self.site != other.site:
            raise PatchError(f"The vectors live at different sites: {self.site} and {other.site}.", "Use vectors of one site.")


def _without(vector: Tensor, other: Tensor) -> Tensor:
    square = (other * other).sum(-1, keepdim=True)
    if not (square > 0).all():
        raise PatchError("A zero vector can't be projected out: it has no direction.", "Check what made it.")
    return vector - (vector * other).sum(-1, keepdim=True) / square * other
