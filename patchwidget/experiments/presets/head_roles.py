"""What each attention head does by itself, measured on this model: where it attends, and what it copies."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from patchwidget.engine.executors.attention import attention_patterns
from patchwidget.engine.recording import record
from patchwidget.engine.sites import find_tap
from patchwidget.engine.tap_hooks import on_read, on_write
from patchwidget.engine.unembed import read_logits
from patchwidget.errors import PromptError
from patchwidget.models.hooks import Hooks
from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.pair import PromptPair, tokenize_pair
from patchwidget.prompts.tasks import induction
from patchwidget.prompts.token_pair import TokenPair
from patchwidget.public import public

# a destination, and the sources whose attention is added up
Entry = tuple[int, list[int]]
EntriesOf = Callable[[TokenPair], list[Entry]]

AMONG = 5  # a token counts as copied if it is among so many likeliest ones


@public
def head_roles(
    model: WrappedModel, task: PromptPair | Sequence[PromptPair], *, length: int = 20, samples: int = 4, seed: int = 0
) -> xr.Dataset:
    """Scores of every head for the roles of the IOI circuit (Wang et al. 2022, section 3 and appendices), from 0 to 1.

    Args:
        task: one pair or several with the roles IO, S1, S2 and END, as `pw.tasks.ioi` gives them; their clean prompts are looked at.
        length, samples, seed: of the repeated random tokens on which induction, duplicate-token and previous-token heads are told.

    Returns:
        A Dataset over (layer, head). Mean attention, over the prompts: attention_to_io and attention_to_s (from END to IO and to S1 or S2; name
        movers look at IO), s_inhibition (from END to S2). Over repeated random tokens, from each token of the second time: induction (to the
        token after the same one), duplicate_token (to the same one), previous_token (to the one before). From the weights: copy_score, the
        share of names that are among the five likeliest tokens when the head attends to the name alone (its value as the head reads it from the
        residual stream after the first block, through output projection, final norm and unembedding), and negative_copy_score, with the
        sign turned. name_mover is attention_to_io times copy_score.

    Raises:
        PromptError: the prompts lack a role.
        ModelError: the model's attention can't be read.
    """
    pairs = pairs_with_roles(model, task)
    by_name = {"attention_to_io": ["IO"], "attention_to_s": ["S1", "S2"], "s_inhibition": ["S2"]}
    back = {"induction": length - 1, "duplicate_token": length, "previous_token": 1}
    repeated = [tokenize_pair(model, pair) for pair in induction(model, samples, seed=seed, length=length)]
    scores = {
        **_mean_attention(model, pairs, {name: partial(_from_end, roles=roles) for name, roles in by_name.items()}),
        **_mean_attention(model, repeated, {name: partial(_looking_back, length=length, back=n) for name, n in back.items()}),
    }
    scores["copy_score"], scores["negative_copy_score"] = copy_scores(model, [(pair.clean, _at(pair, "IO")) for pair in pairs])
    scores["name_mover"] = scores["attention_to_io"] * scores["copy_score"]
    coords = {"layer": range(model.n_layers), "head": range(model.n_heads)}
    return xr.Dataset({name: (("layer", "head"), found) for name, found in scores.items()}, coords)


def pairs_with_roles(model: WrappedModel, task: PromptPair | Sequence[PromptPair]) -> list[TokenPair]:
    """The pairs as tokens; PromptError where there is none, or one lacks a role of the circuit."""
    pairs = [tokenize_pair(model, pair) for pair in ([task] if isinstance(task, PromptPair) else task)]
    if not pairs:
        raise PromptError("The list of pairs is empty.", "Give at least one PromptPair.")
    missing = {"IO", "S1", "S2", "END"} - set.intersection(*(set(pair.roles) for pair in pairs))
    if missing:
        raise PromptError(
            f"The prompts lack the roles {', '.join(sorted(missing))}.", "Use pw.tasks.ioi(model), or name them in PromptPair."
        )
    return pairs


@torch.no_grad()
def copy_scores(
    model: WrappedModel, places: Sequence[tuple[Sequence[int] | Tensor, int]], among: int = AMONG
) -> tuple[np.ndarray, np.ndarray]:
    """How often each head makes the token likely that it attends to, and how often unlikely: [layers, heads] each.

    A head that attends to one position alone passes that position's value on; a prompt of one token is just that case, so each block is given
    the residual stream of the name as its only token, and what its heads put out is read.

    Args:
        places: prompts and a position in each.
    """
    entering = torch.stack([record(model, tokens).resid[1][position] for tokens, position in places])
    names = torch.tensor([tokens[position] for tokens, position in places], device=model.device)
    heads: dict[int, Tensor] = {}
    with model.lock, Hooks() as hooks:
        for layer in range(model.n_layers):
            on_write(hooks, find_tap(model, "resid_pre", layer), partial(_replace, entering))
            on_read(hooks, find_tap(model, "z", layer), lambda rows, layer=layer: heads.update({layer: rows.clone()}))
        model.logits_at(names[:, None], (0,))
    found = np.zeros((2, model.n_layers, model.n_heads))
    for layer, z in heads.items():
        written = _written_by_each(model, layer, z)
        for i, sign in enumerate((1, -1)):
            logits = read_logits(model, sign * written.flatten(0, 1)).unflatten(0, written.shape[:2])
            best = logits.topk(among, dim=-1).indices
            found[i, layer] = (best == names[None, :, None]).any(-1).float().mean(1).cpu().numpy()
    return found[0], found[1]


def _replace(new: Tensor, rows: Tensor) -> None:
    rows.copy_(new)


def _written_by_each(model: WrappedModel, layer: int, z: Tensor) -> Tensor:
    """What each head alone adds to the residual stream, without the bias: z [rows, heads, d_head] -> [heads, rows, d_model]."""
    projection = model.anatomy.blocks[layer].o_proj
    if projection is None:
        raise LookupError(f"layer {layer} has no output projection")
    alone = torch.zeros(z.shape[1], *z.shape, dtype=z.dtype, device=z.device)
    for head in range(z.shape[1]):
        alone[head, :, head] = z[:, head]
    flat = alone.flatten(-2)
    return projection(flat) - projection(torch.zeros_like(flat[:1, :1]))


def _mean_attention(model: WrappedModel, pairs: Sequence[TokenPair], scores: Mapping[str, EntriesOf]) -> dict[str, np.ndarray]:
    """Mean attention over some entries of each clean prompt, by the name of a score: [layers, heads]."""
    totals = {name: np.zeros((model.n_layers, model.n_heads)) for name in scores}
    for pair in pairs:
        patterns = attention_patterns(model, pair.clean)
        for name, entries_of in scores.items():
            entries = [sum(patterns[:, :, dest, src] for src in sources) for dest, sources in entries_of(pair)]
            totals[name] += torch.stack(entries).mean(0).numpy()  # type: ignore[arg-type]
    return {name: total / len(pairs) for name, total in totals.items()}


def _from_end(pair: TokenPair, roles: Sequence[str]) -> list[Entry]:
    return [(_at(pair, "END"), [_at(pair, role) for role in roles])]


def _looking_back(pair: TokenPair, length: int, back: int) -> list[Entry]:
    return [(i, [i - back]) for i in range(pair.length - length + 1, pair.length)]


def _at(pair: TokenPair, role: str) -> int:
    return pair.roles[role][0][-1]
