"""The attention again, with some queries or keys replaced: what the QK fix of attribution patching puts in place of a gradient.

Softmax saturates: where a query looks at one key alone, the gradient at queries and keys is nearly 0 however much a patch would change. So the
change of the heads' outputs is computed as it is, and only what follows is linear (Kramar et al. 2024, arXiv:2403.00745, section 3.1). A head's
output is its pattern times the values, so this is the change of the pattern times the gradient there.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .capture import AttentionCall

# how many numbers of attention patterns may be in memory at once
_BUDGET = 2**24


@torch.no_grad()
def change_by_queries(call: AttentionCall, query: Tensor) -> Tensor:
    """How the heads' outputs change, [T, H, d], when each position has these queries [T, H, d]. A query matters at its own position only."""
    return (call.attend(_batch(query, call.query), call.key, call.value).float() - call.output.float())[0]


@torch.no_grad()
def change_by_keys(call: AttentionCall, key: Tensor, groups: Sequence[Sequence[int]]) -> Iterator[Tensor]:
    """How the heads' outputs change, [T, H, d], when the positions of one group have these keys [T, Hkv, d]; for each group in turn."""
    key, length = _batch(key, call.key), call.query.shape[2]
    at_once = max(1, _BUDGET // (call.query.shape[1] * length * length))
    for first in range(0, len(groups), at_once):
        chosen = groups[first : first + at_once]
        keys = call.key.repeat(len(chosen), 1, 1, 1)
        for row, group in zip(keys, chosen, strict=True):
            row[:, list(group)] = key[0, :, list(group)]
        n = len(chosen)
        yield from call.attend(call.query.expand(n, -1, -1, -1), keys, call.value.expand(n, -1, -1, -1)).float() - call.output.float()


def _batch(heads: Tensor, like: Tensor) -> Tensor:
    """[T, H, d] -> [1, H, T, d]."""
    return heads.transpose(0, 1)[None].to(like)
