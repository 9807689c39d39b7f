"""The places in a decoder that can be read and patched, in TransformerLens's words, and where each one is found in a model."""

import difflib
from dataclasses import dataclass

from torch import Tensor, nn

from patchwidget.errors import SiteError
from patchwidget.models.anatomy import Block
from patchwidget.models.model import Model


@dataclass(frozen=True)
class Site:
    """A kind of activation.

    Attributes:
        name: its name in sweeps and patches.
        axis: what one position's value is divided into: None, "head" or "kv_head" or "neuron".
        before_attention: whether a patch here changes what other positions attend to in the same block.
        tensor: which tensor it is, in words.
    """

    name: str
    axis: str | None
    before_attention: bool
    tensor: str


SITES = {
    site.name: site
    for site in [
        Site("resid_pre", None, True, "residual stream entering the block, [pos, d_model]"),
        Site("resid_mid", None, False, "residual stream between attention and MLP, [pos, d_model]; parallel blocks have none"),
        Site("resid_post", None, False, "residual stream leaving the block, [pos, d_model]"),
        Site(
            "attn_out", None, False, "what the attention adds to the residual stream, after its post-norm if there is one, [pos, d_model]"
        ),
        Site("mlp_out", None, False, "what the MLP adds to the residual stream, after its post-norm if there is one, [pos, d_model]"),
        Site("z", "head", False, "each head's output before the output projection, [pos, head, d_head]"),
    ]
}


@dataclass(frozen=True)
class Tap:
    """Where a site is in one block: a module's main input or output, and how many heads its last axis holds (None: it is not divided)."""

    module: nn.Module
    side: str  # "input" or "output"
    heads: int | None = None

    def rows(self, tensor: Tensor) -> Tensor:
        """The tensor as [rows, ...]: one row per position of each prompt, heads on an axis of their own. A view where memory allows."""
        flat = tensor.reshape(-1, tensor.shape[-1])
        return flat.unflatten(-1, (self.heads, -1)) if self.heads else flat


def find_site(name: str) -> Site:
    """The site of this name; SiteError with the nearest name where there is none."""
    if name in SITES:
        return SITES[name]
    near = difflib.get_close_matches(str(name), SITES, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else ""
    raise SiteError(f"There is no site {name!r}.", f"{hint} Sites are: {', '.join(SITES)}.".strip())


def find_tap(model: Model, name: str, layer: int) -> Tap:
    """Where a site is in one layer of a model; SiteError where the layer does not exist or its block has no such place."""
    site = find_site(name)
    check_layer(model, layer)
    block = model.anatomy.blocks[layer]
    tap = _taps(block, model.n_heads)[site.name]
    if tap is None:
        raise SiteError(
            f"Layer {layer} of {model.name} has no {name}: {_why_missing(block, name)}",
            "Choose another site; resid_pre is there in every model.",
        )
    return tap


def check_layer(model: Model, layer: int) -> None:
    """Raise SiteError unless the layer exists."""
    if not 0 <= layer < model.n_layers:
        raise SiteError(f"Layer {layer} does not exist: {model.name} has layers 0 to {model.n_layers - 1}.", "Choose one of these.")


def _taps(block: Block, n_heads: int) -> dict[str, Tap | None]:
    def tap(module: nn.Module | None, side: str, heads: int | None = None) -> Tap | None:
        return None if module is None else Tap(module, side, heads)

    return {
        "resid_pre": tap(block.module, "input"),
        "resid_mid": tap(block.mid, "input"),
        "resid_post": tap(block.module, "output"),
        "attn_out": tap(block.attn_out, "output"),
        "mlp_out": tap(block.mlp_out, "output"),
        "z": tap(block.o_proj, "input", n_heads),
    }


def _why_missing(block: Block, name: str) -> str:
    if name == "resid_mid" and block.parallel:
        return "attention and MLP work side by side on the same input in this architecture, so there is no residual stream between them."
    return f"no such place was found in {type(block.module).__name__}."
