"""Nodes: the places in a model that paths lead from, through and to."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from patchwidget.engine.paths.frozen_run import Receiver
from patchwidget.engine.sites import axis_size, find_layer, find_site
from patchwidget.errors import SiteError
from patchwidget.given import Index, Indices, as_list, checked_index, plain
from patchwidget.models.wrapped import WrappedModel
from patchwidget.public import public

SENDERS = ("z", "attn_out", "mlp_out", "resid_pre", "resid_mid")
RECEIVERS = ("q", "k", "v", "k_per_head", "v_per_head", "mlp_in", "resid_post")
BETWEEN = ("z", "q", "k", "v", "k_per_head", "v_per_head", "mlp_in", "mlp_out")

# In which order a block takes its inputs and adds its outputs. A head's inputs are q, k, v; its output is z.
_INPUT = {**dict.fromkeys(["z", "q", "k", "v", "k_per_head", "v_per_head"], 1), **dict.fromkeys(["mlp_in", "mlp_out"], 4), "resid_post": 6}
_OUTPUT = {
    "resid_pre": 0,
    **dict.fromkeys(["z", "attn_out", "q", "k", "v", "k_per_head", "v_per_head"], 2),
    "resid_mid": 3,
    **dict.fromkeys(["mlp_in", "mlp_out"], 5),
}


@public
@dataclass(frozen=True)
class Node:
    """A place in the model, for paths.

    Attributes:
        site: as a sender "z" (a head's output), "mlp_out", "attn_out", "resid_pre" or "resid_mid"; as a receiver "q", "k" or "v" of a head,
            "k_per_head" or "v_per_head" (keys and values as one query head sees them), "mlp_in" (the input of an MLP, and of nothing else)
            or "resid_post" (of the last block: the logits).
        layer: which; may be left out for resid_post, which is then the last block's.
        head: a head; of k and v a key/value head; None for all of the layer's.
        pos: a position, several, or None for all.

    Negative numbers count from the end, those of positions from that of the prompt that is patched.
    """

    site: str
    layer: Index | None = None
    head: Index | None = None
    pos: Indices | None = None

    def __post_init__(self) -> None:
        for name in ("layer", "head", "pos"):
            object.__setattr__(self, name, plain(getattr(self, name)))

    def __str__(self) -> str:
        """Short, for labels: "q 9.6", "mlp_out 3", "z 5.1 @7"."""
        place = "" if self.layer is None else f" {self.layer}" + ("" if self.head is None else f".{self.head}")
        return f"{self.site}{place}" + ("" if self.pos is None else f" @{self.pos}")

    def __repr__(self) -> str:
        given = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self)[1:] if getattr(self, f.name) is not None]
        return f"Node({', '.join([repr(self.site), *given])})"

    def positions(self, length: int) -> tuple[int, ...]:
        """Its positions in a prompt of this length, ascending.

        Raises:
            SiteError: one does not exist.
        """
        if self.pos is None:
            return tuple(range(length))
        places = [checked_index(position, length, "Position", "the prompt has positions", f" of {self}") for position in as_list(self.pos)]
        if not places:
            raise SiteError(f"{self} has an empty list of positions.", "Leave pos out to take all.")
        return tuple(sorted(set(places)))

    def comes_before(self, model: WrappedModel, other: "Node") -> bool:
        """Whether this node's output is added to the residual stream before the other reads it; both with their layers."""
        parallel = other.site in ("mlp_in", "mlp_out") and model.anatomy.blocks[other.layer or 0].parallel
        entry = _INPUT["q"] if parallel else _INPUT[other.site]  # side by side with the attention, the MLP reads what that reads
        return (self.layer or 0, _OUTPUT[self.site]) < (other.layer or 0, entry)

    def inputs(self, model: WrappedModel, positions: tuple[int, ...]) -> list[Receiver]:
        """Where this node, with its layer, reads the residual stream: a head (z) by its queries, keys and values."""
        if self.site == "z":
            group = None if self.head is None else self.head * model.n_kv_heads // model.n_heads
            return [Receiver(site, self.layer or 0, positions, head) for site, head in [("q", self.head), ("k", group), ("v", group)]]
        return [Receiver("mlp_in" if self.site == "mlp_out" else self.site, self.layer or 0, positions, self.head)]


def check_node(model: WrappedModel, node: object, role: str, sites: Sequence[str]) -> Node:
    """The node with its layer filled in, its layer and head counted from 0.

    Args:
        role: what it is meant to be, "sender", "receiver" or "node between", and the sites that can be that.

    Raises:
        SiteError: the site can't be that; no such layer or head; or no layer was given.
    """
    if not isinstance(node, Node):
        raise SiteError(
            f"A pw.Node was expected as a {role}, and this is a {type(node).__name__}.",
            "Give pw.Node('z', layer=..., head=...), for example.",
        )
    if node.site not in sites:
        hint = {"sender": _SENDER_HINT, "receiver": _RECEIVER_HINT}.get(role, "")
        raise SiteError(f"{node.site!r} can't be a {role} of a path.", f"It can be one of {', '.join(sites)}. {hint}".strip())
    layer = find_layer(model, _layer_of(model, node))
    axis = None if node.site == "mlp_in" else find_site(node.site).axis
    return Node(node.site, layer, _head_of(model, node, axis, layer), node.pos)


def _head_of(model: WrappedModel, node: Node, axis: str | None, layer: int) -> int | None:
    if node.head is None:
        if node.site.endswith("_per_head"):
            raise SiteError(f"{node} names no head, and {node.site} is what one query head sees.", "Give head=, or take k or v.")
        return None
    if axis is None:
        raise SiteError(f"{node} names a head, and {node.site} is not divided into heads.", "Leave head out.")
    size = axis_size(model, find_site(node.site), layer) or 0
    return checked_index(node.head, size, "Key/value head" if axis == "kv_head" else "Head", f"{node.site} has")


def _layer_of(model: WrappedModel, node: Node) -> int:
    if node.layer is not None:
        return node.layer
    if node.site == "resid_post":
        return model.n_layers - 1
    raise SiteError(f"The node {node} names no layer.", "Give layer=.")


_SENDER_HINT = "A sender is what is added to the residual stream; of a head that is z."
_RECEIVER_HINT = "A path ends at an input: of a head those are q, k and v."
