"""Path patching to the letter: whole forwards, one or two for each sender, in which hooks hold everything that is to be held."""

from collections.abc import Callable
from contextlib import ExitStack

import torch

from patchwidget.models.attention import intercepted

Edits = dict[tuple[str, int], Callable[[torch.Tensor], torch.Tensor]]
Seen = dict[tuple[str, int], torch.Tensor]


class Oracle:
    """Both runs of an experiment's pair, and forwards of the base run with edits.

    An edit is a function of a site's whole tensor: z [1, T, n_heads * d_head]; q, k, v [1, heads, T, d_head]; the others [1, T, d_model].
    """

    def __init__(self, experiment):
        self.experiment, self.model = experiment, experiment.model
        self.layers = range(self.model.n_layers)
        self.d_head, self.group = self.model.d_head, self.model.n_heads // self.model.n_kv_heads
        self.base_tokens, self.source_tokens = (getattr(experiment.pair, run) for run in (experiment.runs.base, experiment.runs.source))
        self.base, self.source = (self.forward({}, tokens)[1] for tokens in (self.base_tokens, self.source_tokens))

    @torch.no_grad()
    def forward(self, edits: Edits, tokens=None) -> tuple[float, Seen]:
        """The metric, and every site as it was before the edit of it."""
        seen: Seen = {}

        def taken(place, tensor):
            batched = tensor if tensor.ndim > 2 else tensor[None]  # OPT's MLP takes rows
            seen[place] = batched.clone()
            return edits[place](batched.clone()).reshape(tensor.shape) if place in edits else tensor

        def before(place):
            return lambda module, args, kwargs: (
                ((taken(place, args[0]), *args[1:]), kwargs)
                if args
                else (args, {**kwargs, "hidden_states": taken(place, kwargs["hidden_states"])})
            )

        def after(place):
            return lambda module, args, output: (
                taken(place, output) if isinstance(output, torch.Tensor) else (taken(place, output[0]), *output[1:])
            )

        blocks = self.model.anatomy.blocks
        at = {block.attention: layer for layer, block in enumerate(blocks)}

        def attend(own, module, query, key, value, mask, **kw):
            layer = at[module]
            query, key, value = (taken((site, layer), x) for site, x in [("q", query), ("k", key), ("v", value)])
            output = own(module, query, key, value, mask, **kw)[0]
            for head, views in edits.get(("per head", layer), {}).items():
                seen_by_it = views.get("k_per_head", key), views.get("v_per_head", value)
                output[:, :, head] = own(module, query, *seen_by_it, mask, **kw)[0][:, :, head]
            return output, None

        with ExitStack() as stack:
            for layer, block in enumerate(blocks):
                handles = [
                    block.module.register_forward_pre_hook(before(("resid_pre", layer)), with_kwargs=True),
                    block.module.register_forward_hook(after(("resid_post", layer))),
                    block.o_proj.register_forward_pre_hook(before(("z", layer)), with_kwargs=True),
                    block.attn_out.register_forward_hook(after(("attn_out", layer))),
                    mlp_of(block.module).register_forward_pre_hook(before(("mlp_in", layer)), with_kwargs=True),
                    block.mlp_out.register_forward_hook(after(("mlp_out", layer))),
                ]
                for handle in handles:
                    stack.callback(handle.remove)
            stack.enter_context(intercepted(self.model.hf, attend))
            logits = self.model.hf(torch.tensor([self.base_tokens if tokens is None else tokens]), use_cache=False).logits[0, -1]
        pair = self.experiment.pair
        return float(logits[pair.answers[0]] - logits[pair.distractors[0]]), seen

    def at_receivers(self, sender: Edits, freeze: str) -> Seen:
        """What is everywhere in the base run when the sender changes and the rule holds the rest."""
        held = ("z",) if freeze == "heads" else ("z", "mlp_out")
        edits = {place: (lambda x, place=place: self.base[place]) for place in ((site, layer) for site in held for layer in self.layers)}
        for place, change in sender.items():
            hold = edits.get(place, lambda x: x)
            edits[place] = lambda x, hold=hold, change=change: change(hold(x).clone())
        return self.forward(edits)[1]

    def receive(self, seen: Seen, receivers, edits: Edits | None = None) -> float:
        """The metric when these receivers [(site, layer, head, positions)] of the base run have their inputs from there."""
        edits = dict(edits or {})
        for site, layer, head, positions in receivers:
            if site.endswith("_per_head"):
                raw = site.removesuffix("_per_head")
                view = self.base[raw, layer].clone()
                view[:, head // self.group, positions] = seen[raw, layer][:, head // self.group, positions]
                edits.setdefault(("per head", layer), {}).setdefault(head, {})[site] = view
            else:
                put, change = self.put(site, layer, head, positions, seen), edits.get((site, layer), lambda x: x)
                edits[site, layer] = lambda x, put=put, change=change: put(change(x))
        return self.forward(edits)[0]

    def put(self, site: str, layer: int, head: int | None, positions, seen: Seen) -> Callable[[torch.Tensor], torch.Tensor]:
        """A change of one site at some positions, of one head or of all, to what was seen."""
        positions = list(positions)

        def change(x):
            new = seen[site, layer]
            if site == "z" and head is not None:
                own = slice(head * self.d_head, (head + 1) * self.d_head)
                x[:, positions, own] = new[:, positions, own]
            elif site in ("q", "k", "v"):
                heads = slice(None) if head is None else slice(head, head + 1)
                x[:, heads, positions] = new[:, heads, positions]
            else:
                x[:, positions] = new[:, positions]
            return x

        return change

    def send(self, site: str, layer: int, head: int | None = None, positions=None) -> Edits:
        """A sender with its activation from the source run."""
        return {(site, layer): self.put(site, layer, head, range(len(self.base_tokens)) if positions is None else positions, self.source)}


def mlp_of(block):
    return next(getattr(block, name) for name in ("mlp", "block_sparse_moe", "fc1") if hasattr(block, name))
