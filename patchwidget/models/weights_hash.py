"""A hash of a sample of a model's weights, quick enough to be taken of each vector."""

import hashlib

import torch
from torch import Tensor, nn

_STRETCHES, _IN_A_ROW = 64, 16


@torch.no_grad()
def weights_hash(hf: nn.Module) -> str | None:
    """SHA-256 (its first 16 hexadecimal digits) over the name, the shape and 1,024 numbers of each parameter: 64 stretches, evenly spaced.

    None where some weights are not in memory (accelerate has put them aside).

    A sample, so that it takes milliseconds and not the minutes of a whole large model; training, editing and merging change all of a matrix.
    Numbers count in float32, so that a bfloat16 checkpoint loaded in float32 is the same model.
    """
    if any(weight.is_meta for weight in hf.parameters()):
        return None
    digest = hashlib.sha256()
    for name, weight in hf.named_parameters():
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        digest.update(_sample(weight.reshape(-1)).float().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _sample(numbers: Tensor) -> Tensor:
    """All of a few numbers; of many, stretches of neighbours, which memory gives up in one go."""
    if len(numbers) <= _STRETCHES * _IN_A_ROW:
        return numbers
    step = (len(numbers) - _IN_A_ROW) // (_STRETCHES - 1)
    return numbers.as_strided((_STRETCHES, _IN_A_ROW), (step * numbers.stride(0), numbers.stride(0)), numbers.storage_offset())
