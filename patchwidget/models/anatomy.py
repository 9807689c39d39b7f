"""Where things are in a model: blocks, attention, MLP, norms and head, found by watching one forward instead of by a list of names."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from patchwidget.errors import ModelError

from .trace import Call, Trace, same, trace_forward, written


@dataclass(frozen=True)
class Block:
    """One decoder block. Each field is the module at whose input or output a site is read; None where the block has no such place.

    - `attention`: the module that calls the attention function (q, k, v, pattern are intercepted there).
    - `attn_out`: its output is what the attention adds to the residual stream (after the post-norm where there is one, as in Gemma 2).
    - `o_proj`: its input is `z`, the heads' outputs side by side.
    - `mid`: its input is `resid_mid`, and the same tensor goes on in the residual stream; None in parallel blocks (GPT-NeoX, Phi, Cohere).
    - `mlp_out`: its output is what the MLP adds to the residual stream (after the post-norm where there is one).
    - `down`: its input is `mlp_post`, the hidden activation.
    """

    module: nn.Module
    attention: nn.Module | None
    attn_out: nn.Module | None
    o_proj: nn.Module | None
    mid: nn.Module | None
    mlp_out: nn.Module | None
    down: nn.Module | None
    parallel: bool
    intercepted: bool


@dataclass(frozen=True)
class Anatomy:
    """A decoder as the engine sees it.

    `tail`: the modules between the last block and `head` (the final norm), each fed by the one before; None where they form no such chain.
    """

    blocks: tuple[Block, ...]
    tail: tuple[nn.Module, ...] | None
    head: nn.Module
    d_model: int
    n_heads: int
    n_kv_heads: int
    d_head: int

    @property
    def intercepted(self) -> bool:
        """Whether every block's attention goes through transformers' attention interface: what the packed executor needs."""
        return all(block.intercepted for block in self.blocks)


def find_anatomy(hf: nn.Module, inputs: dict[str, Any]) -> Anatomy:
    """Run one small forward and read the anatomy off it.

    Raises ModelError, with the module tree, where no decoder blocks or no unembedding can be found.
    """
    head = getattr(hf, "get_output_embeddings", lambda: None)()  # a torch module's attributes have no type
    stack = _find_stack(hf)
    if stack is None or head is None:
        missing = "no stack of decoder blocks" if stack is None else "no unembedding (language-model head)"
        raise ModelError(
            f"{type(hf).__name__} has {missing}, so it can't be patched as a decoder. Its modules:\n{module_tree(hf)}",
            "Load it with AutoModelForCausalLM, or pass a model whose blocks stand in one nn.ModuleList.",
        )
    head, trace = written(head), trace_forward(hf, inputs)
    calls = trace.of([written(module) for module in stack])
    blocks = tuple(_read_block(call, trace) for call in calls)
    d_model = calls[0].input.shape[-1] if calls and calls[0].input is not None else 0
    attended = {a.module: a for a in trace.attended}
    heads = next(iter(attended.values()), None)
    n_heads, n_kv_heads, d_head = (heads.n_heads, heads.n_kv_heads, heads.d_head) if heads else _heads_from_config(hf, d_model)
    return Anatomy(blocks, _find_tail(trace, calls[-1], head), head, d_model, n_heads, n_kv_heads, d_head)


def module_tree(hf: nn.Module, depth: int = 3) -> str:
    """The names of a model's modules down to a depth, for error messages."""
    lines = [f"  {name}: {type(module).__name__}" for name, module in hf.named_modules() if name and name.count(".") < depth]
    return "\n".join(lines[:60] + (["  ..."] if len(lines) > 60 else []))


def _find_stack(hf: nn.Module) -> nn.ModuleList | None:
    """The outermost ModuleList with the most parameters."""
    lists = {name: m for name, m in hf.named_modules() if isinstance(m, nn.ModuleList) and len(m) > 0}
    outermost = [m for name, m in lists.items() if not any(name.startswith(other + ".") for other in lists)]
    return max(outermost, key=lambda m: sum(p.numel() for p in m.parameters()), default=None)


def _heads_from_config(hf: nn.Module, d_model: int) -> tuple[int, int, int]:
    config = hf.config.get_text_config() if hasattr(hf.config, "get_text_config") else hf.config  # type: ignore[union-attr]
    n_heads = getattr(config, "num_attention_heads", None) or 1
    return n_heads, n_heads, d_model // n_heads


def _is_linear(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim == 2 and not isinstance(module, nn.Embedding)


def _is_norm(module: nn.Module) -> bool:
    shapes = [p.ndim for p in module.parameters()]
    return bool(shapes) and max(shapes) <= 1


def _has_matrices(module: nn.Module) -> bool:
    return any(p.ndim >= 2 for p in module.parameters())


def _read_block(call: Call, trace: Trace) -> Block:
    inside = trace.within(call)
    parts = {written(module) for module in call.module.children()}
    children = [c for c in inside if c.module in parts]
    attended = next((a for a in trace.attended if call.began < a.at < call.ended), None)
    attention = _attention_child(children, attended.at if attended else None)
    mlp = [c for c in children if _has_matrices(c.module) and c is not attention]
    entry, parallel = _mlp_entry(call, children, mlp, attention)
    attn_out = _contribution(attention, children)
    mlp_out = _contribution(mlp[-1], children) if mlp and _is_one_mlp(mlp) else None
    if parallel:
        adds_attention = adds_mlp = _is_sum(call.input, call.own, attn_out, mlp_out)
    else:
        middle = entry.input if entry else call.own
        adds_attention, adds_mlp = _is_sum(call.input, middle, attn_out), _is_sum(middle, call.own, mlp_out)
    return Block(
        module=call.module,
        attention=attended.module if attended else (attention.module if attention else None),
        attn_out=attn_out.module if attn_out and adds_attention else None,
        o_proj=_output_projection(attention, trace, attended.at if attended else None),
        mid=None if parallel or entry is None else entry.module,
        mlp_out=mlp_out.module if mlp_out and adds_mlp else None,
        down=_down_projection(mlp, trace) if mlp and _is_one_mlp(mlp) else None,
        parallel=parallel,
        intercepted=attended is not None,
    )


def _is_sum(before: Tensor | None, after: Tensor | None, *parts: Call | None) -> bool:
    """Whether what these calls gave is what was added to the residual stream (some models scale it; some add inside the module itself)."""
    outputs = [part.value.flatten().double() for part in parts if part is not None and part.value is not None]
    if before is None or after is None or len(outputs) < len(parts):
        return False
    added, given = after.flatten().double() - before.flatten().double(), torch.stack(outputs).sum(0)
    return float(torch.nn.functional.cosine_similarity(added, given, dim=0)) > 0.99


def _attention_child(children: list[Call], attended_at: int | None) -> Call | None:
    if attended_at is not None:
        return next((c for c in children if c.began < attended_at < c.ended), None)
    return next((c for c in children if _is_attention(c.module) or "mixer" in type(c.module).__name__.lower()), None)


def _is_attention(module: nn.Module) -> bool:
    return "atten" in type(module).__name__.lower()


def _is_one_mlp(mlp: list[Call]) -> bool:
    """One module, or bare linear layers in a row (OPT); several MLPs side by side have no single output."""
    return len(mlp) == 1 or all(_is_linear(c.module) for c in mlp)


def _contribution(source: Call | None, children: list[Call]) -> Call | None:
    """The call whose output is added to the residual stream: `source`, or the post-norm that takes its output."""
    if source is None:
        return None
    return next((c for c in children if c.began > source.began and same(c.input, source.output) and _is_norm(c.module)), source)


def _mlp_entry(block: Call, children: list[Call], mlp: list[Call], attention: Call | None) -> tuple[Call | None, bool]:
    """The call whose input is the residual stream before the MLP, and whether the block is parallel (that input is the block's own)."""
    if not mlp or attention is None:
        return None, False
    entry = mlp[0]
    pre_norm = next((c for c in children if c.began < entry.began and same(c.output, entry.input) and _is_norm(c.module)), None)
    entry = pre_norm or entry
    return entry, same(entry.input, block.input) or entry.began < attention.began


def _output_projection(attention: Call | None, trace: Trace, attended_at: int | None) -> nn.Module | None:
    """The first linear layer after the attention function, or the last one of an attention that can't be intercepted."""
    if attention is None or not _is_attention(attention.module):
        return None
    linear = [c for c in trace.within(attention) if _is_linear(c.module)]
    if attended_at is not None:
        return next((c.module for c in linear if c.began > attended_at), None)
    return linear[-1].module if linear else None


def _down_projection(mlp: list[Call], trace: Trace) -> nn.Module | None:
    """The last linear layer of the MLP, if its output is the MLP's output (in a mixture of experts it is not)."""
    last = mlp[-1]
    linear = [c for c in [*trace.within(last), last] if _is_linear(c.module)]
    if not linear or linear[-1].value is None or last.own is None or linear[-1].value.numel() != last.own.numel():
        return None
    given = linear[-1].own if linear[-1] is last else linear[-1].value
    return linear[-1].module if given is not None and torch.equal(given.flatten(), last.own.flatten()) else None


def _find_tail(trace: Trace, last_block: Call, head: nn.Module) -> tuple[nn.Module, ...] | None:
    """The chain of modules that leads from the last block's output to the head's input."""
    tail: list[nn.Module] = []
    current = last_block.output
    for call in trace.calls:
        if call.began > last_block.ended and same(call.input, current):
            if call.module is head:
                return tuple(tail)
            tail.append(call.module)
            current = call.output
    return None
