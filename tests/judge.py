"""A literal judge of patches: one forward for each cell, torch's own hooks at modules by their names, and an attention of its own.

It shares no code with the package. It knows a few architectures of transformers by name, one prompt at a time, and is slow.
"""

import copy
import sys
from collections.abc import Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Family:
    """The modules of a block by name; `parallel`: attention and MLP work side by side, so that there is no stream between them."""

    blocks: str
    attention: str
    o_proj: str
    mlp: str
    down: str
    attn_out: str
    mlp_out: str
    parallel: bool = False


_LLAMA = Family("model.layers", "self_attn", "self_attn.o_proj", "mlp", "mlp.down_proj", "self_attn.o_proj", "mlp")
FAMILIES = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "gemma2": Family(
        "model.layers",
        "self_attn",
        "self_attn.o_proj",
        "mlp",
        "mlp.down_proj",
        "post_attention_layernorm",
        "post_feedforward_layernorm",
    ),
    "gpt2": Family("transformer.h", "attn", "attn.c_proj", "mlp", "mlp.c_proj", "attn.c_proj", "mlp"),
    "gpt_neox": Family(
        "gpt_neox.layers", "attention", "attention.dense", "mlp", "mlp.dense_4h_to_h", "attention.dense", "mlp", parallel=True
    ),
}
Place = tuple[str, int]


@dataclass(frozen=True, eq=False)
class Write:
    """What is written into one run.

    Attributes:
        place: site and layer. The stream between blocks is ("resid_pre", l) for each l up to the number of layers.
        positions: where; of patterns, from where attention looks.
        value: by position of the run, as `Judge.record` gives the site's values: [T, d], [T, heads, d_head], or [T, heads, T] of patterns.
        part: (head,), of k and v one of keys and values; (neuron,); (head, element); () for all.
        columns: to where a pattern's attention looks; None for all.
        add: to what stands there.
    """

    place: Place
    positions: Sequence[int]
    value: Tensor
    part: tuple[int, ...] = ()
    columns: Sequence[int] | None = None
    add: bool = False


@dataclass(eq=False)
class _Run:
    """One forward: what is to be written, and what passed."""

    writes: Sequence[Write]
    seen: dict[Place, Tensor] = field(default_factory=dict)

    def pass_by(self, place: Place, values: Tensor) -> Tensor:
        """Note the values [T, ...] of one place, and give them back with what is written there, one write after the other."""
        self.seen[place], values = values.clone(), values.clone()
        for write in self.writes:
            if write.place == place:
                for position in sorted(set(write.positions)):
                    here = (position, *write.part)
                    values[here] = values[here] + write.value[here] if write.add else write.value[here]
        return values


class Judge:
    """Runs one model.

    Args:
        hf: a transformers model of one of `FAMILIES`; a copy of it is used.
    """

    def __init__(self, hf: nn.Module, family: str) -> None:
        self.hf, self.family = copy.deepcopy(hf).eval(), FAMILIES[family]
        self.hf.set_attn_implementation("eager")
        self.blocks = list(self.hf.get_submodule(self.family.blocks))
        self.layer_of = {block.get_submodule(self.family.attention): layer for layer, block in enumerate(self.blocks)}
        self.n_heads = self.hf.config.num_attention_heads

    def logits(self, tokens: Sequence[int], writes: Sequence[Write] = ()) -> Tensor:
        """[T, vocabulary], with these writes in the order given."""
        return self._forward(tokens, _Run(writes))

    def record(self, tokens: Sequence[int]) -> dict[Place, Tensor]:
        """The values at every place of a run in which nothing is written."""
        run = _Run(())
        self._forward(tokens, run)
        return run.seen

    @torch.no_grad()
    def _forward(self, tokens: Sequence[int], run: _Run) -> Tensor:
        with ExitStack() as stack:
            stack.enter_context(_attention_of(self.layer_of, lambda *args, **kw: self._attend(run, *args, **kw)))
            for layer, block in enumerate(self.blocks):
                for handle in self._hooks(run, layer, block):
                    stack.callback(handle.remove)
            return self.hf(torch.tensor([tokens]), use_cache=False).logits[0]

    def _hooks(self, run: _Run, layer: int, block: nn.Module) -> list:
        names, entering = self.family, {}

        def enter(stream: Tensor) -> Tensor:
            entering["stream"] = run.pass_by(("resid_pre", layer), stream)
            return entering["stream"]

        def attended(out: Tensor) -> Tensor:
            out = run.pass_by(("attn_out", layer), out)
            return out if names.parallel else run.pass_by(("resid_mid", layer), entering["stream"] + out) - entering["stream"]

        def heads(z: Tensor) -> Tensor:
            return run.pass_by(("z", layer), z.unflatten(-1, (self.n_heads, -1))).flatten(1)

        last = [_after(block, lambda x: run.pass_by(("resid_pre", layer + 1), x))] if layer == len(self.blocks) - 1 else []
        return [
            _before(block, enter),
            _before(block.get_submodule(names.o_proj), heads),
            _before(block.get_submodule(names.down), lambda x: run.pass_by(("mlp_post", layer), x)),
            _after(block.get_submodule(names.attn_out), attended),
            _after(block.get_submodule(names.mlp_out), lambda x: run.pass_by(("mlp_out", layer), x)),
            *last,
        ]

    def _attend(
        self, run: _Run, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling=None, softcap=None, **_
    ) -> tuple[Tensor, None]:
        layer = self.layer_of[module]
        q = run.pass_by(("q", layer), query[0].transpose(0, 1))
        k, v = (self._as_heads_see(run, site, layer, x[0].transpose(0, 1)) for site, x in (("k", key), ("v", value)))
        scores = torch.einsum("thd,shd->ths", q, k) * (q.shape[-1] ** -0.5 if scaling is None else scaling)
        scores = scores if softcap is None else softcap * torch.tanh(scores / softcap)
        pattern = self._looking(run, layer, (scores + mask[0].transpose(0, 1)).softmax(-1), mask[0, 0] == 0)
        return torch.einsum("ths,shd->thd", pattern, v)[None], None

    def _as_heads_see(self, run: _Run, site: str, layer: int, values: Tensor) -> Tensor:
        """Keys or values [T, heads, d_head] of each query head, with what is written into the group's and into the head's own."""
        run.seen[site, layer] = values.clone()
        group = self.n_heads // values.shape[1]
        seen = values.repeat_interleave(group, 1)
        for write in run.writes:
            for head in range(self.n_heads):
                of_group, of_head = write.place == (site, layer), write.place == (f"{site}_per_head", layer)
                meant = (of_group and write.part in ((), (head // group,))) or (of_head and write.part in ((), (head,)))
                for position in sorted(set(write.positions)) if meant else []:
                    new = write.value[position, head // group]
                    seen[position, head] = seen[position, head] + new if write.add else new
        return seen

    def _looking(self, run: _Run, layer: int, pattern: Tensor, sight: Tensor) -> Tensor:
        """The pattern [T, heads, T] with what is written of it; nothing where attention can't look."""
        run.seen["pattern", layer], pattern = pattern.clone(), pattern.clone()
        for write in (write for write in run.writes if write.place == ("pattern", layer)):
            for position in sorted(set(write.positions)):
                for head in write.part or range(self.n_heads):
                    for column in range(pattern.shape[2]) if write.columns is None else sorted(set(write.columns)):
                        new = write.value[position, head, column] * sight[position, column]
                        pattern[position, head, column] = pattern[position, head, column] + new if write.add else new
        return pattern


@contextmanager
def _attention_of(modules, function):
    """The eager attention function of the file that defines the attention modules' class is this one meanwhile."""
    file = sys.modules[type(next(iter(modules))).__module__]
    own = file.eager_attention_forward
    file.eager_attention_forward = function
    try:
        yield
    finally:
        file.eager_attention_forward = own


def _before(module: nn.Module, change):
    """Change the one prompt's values [T, ...] as they enter a module."""

    def hook(module, args, kwargs):
        if args:
            return (change(args[0][0])[None], *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": change(kwargs["hidden_states"][0])[None]}

    return module.register_forward_pre_hook(hook, with_kwargs=True)


def _after(module: nn.Module, change):
    """Change the one prompt's values [T, ...] as they leave a module."""

    def hook(module, args, output):
        return (change(output[0][0])[None], *output[1:]) if isinstance(output, tuple) else change(output[0])[None]

    return module.register_forward_hook(hook)
