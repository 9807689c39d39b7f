"""Whether a model still gives what was recorded of it."""

from collections import defaultdict

import torch
from torch import Tensor

from patchwidget.engine.recording import enters_alike

from .checks import Check, parity_check, tolerance
from .recordings import Recordings


def still_enters(recordings: Recordings) -> bool:
    """Whether what enters the first block is what was recorded, in every run that is kept."""
    by_length: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for place, recording in recordings.kept.items() if recordings.model.has_blocks else ():
        by_length[recording.length].append(place)
    return all(
        enters_alike(now, recordings.kept[place])
        for places in by_length.values()
        for now, place in zip(recordings.entering(places), places, strict=True)
    )


def still_ends(recordings: Recordings) -> bool:
    """Whether the logits of the first pair that is kept are what was recorded."""
    first = next((pair for _, pair in recordings.kept), 0)
    kept = {run: recordings.kept[run, first] for run in ("clean", "corrupted") if (run, first) in recordings.kept}
    if len(kept) < 2 or not recordings.share_a_forward(first):
        return all(parity_now(recordings, run, first, recording.logits).ok for run, recording in kept.items())
    tokens, positions = torch.cat([recording.tokens for recording in kept.values()]), recordings.measured("clean", first)
    with torch.no_grad(), recordings.model.lock:
        plain = recordings.model.logits_at(tokens, positions)
    limit = tolerance(recordings.model.dtype, float(plain.abs().max()))
    return all(parity_check(recording.logits, now, limit).ok for recording, now in zip(kept.values(), plain, strict=True))


def parity_now(recordings: Recordings, run: str, pair: int, ours: Tensor) -> Check:
    """Whether these logits [measured positions, vocabulary] of a run that is kept are those of the untouched model now."""
    plain = recordings.logits_now(run, pair)
    return parity_check(ours, plain, tolerance(recordings.model.dtype, float(plain.abs().max())))
