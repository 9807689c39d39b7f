"""The places in a decoder that can be read and patched, in TransformerLens's words, and where each one is found in a model.

Blocks come in three kinds, and the residual stream goes through them like this:

- sequential (GPT-2, Llama):           resid_mid = resid_pre + attn_out;  resid_post = resid_mid + mlp_out
- parallel (GPT-NeoX, Phi, Cohere):    resid_post = resid_pre + attn_out + mlp_out, and both are computed from resid_pre
- post-norm (Gemma 2 and 3, OLMo 2):   as sequential, and attn_out and mlp_out are what a norm makes of the projections' outputs

`SITES["z"].__doc__` says of each site which tensor it is in all of them.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from patchwidget.errors import SiteError
from patchwidget.given import checked_index, plain
from patchwidget.models.anatomy import Block, module_tree
from patchwidget.models.wrapped import WrappedModel


@dataclass(frozen=True)
class Site:
    """A kind of activation.

    Attributes:
        name: its name in sweeps and patches.
        axis: what one position's value is divided into: None, "head", "kv_head" or "neuron".
        enters: how far a patch reaches within its own block: "block" (other positions attend to what changed), "attention" (only the patched
            positions' attention changes) or "after" (nothing of the block's attention changes).
        tensor: which tensor it is in a sequential block, in words, with its shape.
        parallel, post_norm: which one in blocks of these kinds.
    """

    name: str
    axis: str | None
    enters: str
    tensor: str
    parallel: str = "the same"
    post_norm: str = "the same"

    def __post_init__(self) -> None:
        text = f"{self.tensor}. In parallel blocks (GPT-NeoX, Phi): {self.parallel}. In post-norm blocks (Gemma 2 and 3, OLMo 2): {self.post_norm}."
        object.__setattr__(self, "__doc__", text)


_RECEIVED = "as the attention receives them, after their norm (Qwen 3, OLMo 2) and the rotary embedding where there are such"

SITES = {
    site.name: site
    for site in [
        Site("resid_pre", None, "block", "residual stream entering the block, [pos, d_model]", "the same, read by attention and MLP alike"),
        Site(
            "resid_mid",
            None,
            "after",
            "residual stream between attention and MLP, [pos, d_model]",
            "there is none, since attention and MLP work side by side",
            "the same, with the normed output of the attention in it",
        ),
        Site(
            "resid_post",
            None,
            "after",
            "residual stream leaving the block, [pos, d_model]",
            "the same, both outputs added to resid_pre at once",
            "the same, with both normed outputs in it",
        ),
        Site(
            "attn_out",
            None,
            "after",
            "what the attention adds to the residual stream, the output of its output projection, [pos, d_model]",
            post_norm="the output of the norm behind the output projection",
        ),
        Site(
            "mlp_out",
            None,
            "after",
            "what the MLP adds to the residual stream, the output of its down projection, [pos, d_model]",
            "the same, computed from resid_pre",
            "the output of the norm behind the down projection",
        ),
        Site(
            "z",
            "head",
            "after",
            "each head's output before the output projection, [pos, head, d_head]",
            post_norm="the same, the norm comes after the projection",
        ),
        Site("q", "head", "attention", f"queries {_RECEIVED}, [pos, head, d_head]"),
        Site("k", "kv_head", "block", f"keys {_RECEIVED}, [pos, kv_head, d_head]"),
        Site("v", "kv_head", "block", "values as the attention receives them, [pos, kv_head, d_head]"),
        Site("k_per_head", "head", "block", "keys as one query head sees them, the others keeping theirs, [pos, head, d_head]"),
        Site("v_per_head", "head", "block", "values as one query head sees them, the others keeping theirs, [pos, head, d_head]"),
        Site(
            "pattern",
            "head",
            "attention",
            "attention after the softmax, from each destination to each source; zero where a destination can't look (later positions, those outside "
            "of a sliding window), whatever is put there, [dest_pos, head, src_pos]",
        ),
        Site(
            "mlp_post",
            "neuron",
            "after",
            "hidden activation as the down projection receives it (gate times up), [pos, neuron]",
            "the same, computed from resid_pre",
            "the same, the norm comes after the projection",
        ),
    ]
}
MODULE = "module:"  # prefix of sites that are any module's output, or with ".input" behind it its input
# TransformerLens's last words for a place where they are not the site's name
_HOOKS = {"post": "mlp_post", "rot_q": "q", "rot_k": "k", "embed": "resid_pre"}
# These are not at a module's input or output: they are reached through the attention function.
ATTENTION_SITES = frozenset({"q", "k", "v", "k_per_head", "v_per_head", "pattern"})


@dataclass(frozen=True)
class Tap:
    """Where a site is: a module's main input or output.

    Attributes:
        side: "input" or "output".
        heads: how many heads the last axis holds; None where it is not divided.
        free: any shape [batch, ...] or [batch, position, ...] may come, as with modules named by their path.
    """

    module: nn.Module
    side: str
    heads: int | None = None
    free: bool = False

    def rows(self, tensor: Tensor) -> Tensor:
        """The tensor as [rows, ...]: one row per position of each prompt, heads on an axis of their own. A view where memory allows."""
        if self.free:
            return tensor.flatten(0, 1) if tensor.ndim > 2 else tensor
        flat = tensor.reshape(-1, tensor.shape[-1])
        return flat.unflatten(-1, (self.heads, -1)) if self.heads else flat


def find_site(name: str) -> Site:
    """The site of this name; SiteError with the nearest name where there is none."""
    if name in SITES:
        return SITES[name]
    if name.startswith(MODULE):
        return Site(name, None, "block", f"the {'input' if name.endswith('.input') else 'output'} of a module, [pos, ...]")
    raise SiteError(
        f"There is no site {name!r}.", f"{_nearest(name)}Sites are: {', '.join(SITES)}, and any module by its path: 'module:...'."
    )


def _nearest(name: str) -> str:
    """What was probably meant, as a sentence; TransformerLens's full names say the layer too."""
    hook = re.fullmatch(r"(?:blocks\.(\d+)\.)?(?:attn\.|mlp\.)?hook_(\w+)", name)
    if hook:
        wanted = _HOOKS.get(hook[2], hook[2])
        near = difflib.get_close_matches(wanted, SITES, n=1)
        layer = f", layer {hook[1]}" if hook[1] else ""
        return f"Here the layer is given apart from the site: {near[0]!r}{layer}. " if near else ""
    near = difflib.get_close_matches(name, SITES, n=1)
    return f"Did you mean {near[0]!r}? " if near else ""


def check_site(model: WrappedModel, name: str, layer: int) -> None:
    """Raise SiteError where the site or the layer does not exist, or the layer's block has no such place."""
    if name not in ATTENTION_SITES:
        find_tap(model, name, layer)
        return
    check_layer(model, layer)
    if not model.anatomy.blocks[layer].intercepted:
        raise SiteError(
            f"{name} of {model.name} can't be reached: its attention does not go through transformers' attention interface.",
            "Patch z, attn_out or a residual stream instead.",
        )


def find_tap(model: WrappedModel, name: str, layer: int) -> Tap:
    """Where a site that is at some module is in one layer; SiteError as in `check_site`."""
    site = find_site(name)
    if name.startswith(MODULE):
        return _named_tap(model, name)
    check_layer(model, layer)
    block = model.anatomy.blocks[layer]
    tap = _taps(block, model.n_heads)[site.name]
    if tap is None:
        raise SiteError(
            f"Layer {layer} of {model.name} has no {name}: {_why_missing(block, name)}",
            "Choose another site; resid_pre is there in every model.",
        )
    return tap


def layers_with(model: WrappedModel, name: str) -> Sequence[int]:
    """The layers that have a site: all of them, or for a module named by its path the one it is in (-1 if it is in none)."""
    if not name.startswith(MODULE):
        return range(model.n_layers)
    module = _named_tap(model, name).module
    blocks = model.anatomy.blocks if model.has_blocks else ()
    return [next((layer for layer, block in enumerate(blocks) if module in set(block.module.modules())), -1)]


def _named_tap(model: WrappedModel, name: str) -> Tap:
    path = name.removeprefix(MODULE)
    side = "input" if path.endswith(".input") else "output"
    path = path.removesuffix(".input")
    modules = dict(model.hf.named_modules())
    if not path or path not in modules:
        near = difflib.get_close_matches(path, modules, n=3)
        hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else "Its modules:\n" + module_tree(model.hf)
        raise SiteError(f"{model.name} has no module {path!r}.", hint)
    return Tap(modules[path], side, free=True)


def find_layer(model: WrappedModel, layer: Any) -> int:
    """The layer, counted from 0, that a user's number names: negative ones count from the end. SiteError where there is none."""
    return checked_index(plain(layer), model.n_layers, "Layer", f"{model.name} has layers")


def check_layer(model: WrappedModel, layer: int) -> None:
    """Raise SiteError unless the layer exists."""
    if layer < 0:
        raise SiteError(f"Layer {layer} does not exist: here layers are counted from 0 on.", "Choose one of these.")
    find_layer(model, layer)


def axis_size(model: WrappedModel, site: Site, layer: int) -> int | None:
    """How many heads, key/value heads or neurons the site has in one layer; None where it is not divided."""
    if site.axis == "neuron":
        weight = find_tap(model, site.name, layer).module.weight
        return weight.numel() // model.d_model  # type: ignore[union-attr,operator]
    return {"head": model.n_heads, "kv_head": model.n_kv_heads}.get(site.axis or "")


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
        "mlp_post": tap(block.down, "input"),
    }


def _why_missing(block: Block, name: str) -> str:
    if name == "resid_mid" and block.parallel:
        return "attention and MLP work side by side on the same input in this architecture, so there is no residual stream between them."
    if name == "mlp_post":
        return f"no single down projection was found in {type(block.module).__name__} (a mixture of experts has many)."
    if name in ("attn_out", "mlp_out"):
        return f"in {type(block.module).__name__} no module gives what is added to the residual stream (it is added inside of one)."
    return f"no such place was found in {type(block.module).__name__}."
