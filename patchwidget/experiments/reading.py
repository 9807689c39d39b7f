"""What was recorded, to be looked at: the activations of a site, and where a head attends."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from patchwidget.engine.executors.attention import attention_pattern
from patchwidget.engine.sites import MODULE, check_site, find_layer, find_site, find_tap, layers_with
from patchwidget.errors import PatchError, SiteError
from patchwidget.given import Index, Indices, checked_index, plain
from patchwidget.models.wrapped import WrappedModel
from patchwidget.runs.pair_runs import PairRuns


@dataclass(frozen=True, eq=False)
class AttentionRow:
    """Where one head looks: float32 post-softmax attention in the clean and in the corrupted run, [T] from one position or [T, T] from each."""

    clean: np.ndarray
    corrupted: np.ndarray


def read_activation(
    runs: PairRuns,
    site: str,
    layer: Index | None = None,
    pos: Indices | None = None,
    head: Index | None = None,
    run: str | None = None,
    *,
    pair: Index = 0,
) -> Tensor:
    """What a site holds in a run without a patch: [position, ...], as the site's table in the README has it (`pattern`: [dest, head, src]).

    Args:
        site: as in `sweep`.
        layer: which; not for a module, whose path says it.
        pos: a position, whose axis then falls away, or several; every one by default.
        head: a head (of k and v a key/value head), whose axis then falls away; every one by default.
        run: "clean" or "corrupted"; the one that is patched by default.
        pair: which of several. Negative numbers count from the end, here as everywhere.

    Returns:
        A copy, in the model's dtype and on its device.

    Raises:
        SiteError: no such site, layer, position or head.
    """
    layer, pos, head, pair = plain(layer), plain(pos), plain(head), plain(pair)
    run = runs.base if run is None else run
    if run not in ("clean", "corrupted"):
        raise PatchError(f"run={run!r} is not known.", "Use 'clean' or 'corrupted'; without it, it is the run that is patched.")
    pair = checked_index(pair, len(runs.pairs), "Pair", "the experiment has pairs")
    runs.look_again(whole=True)
    layer = _layer(runs.model, site, layer)
    check_site(runs.model, site, layer)
    recorded = site.removesuffix("_per_head")
    value = runs.recording(run, recorded, pair).at(recorded, layer)
    if site != recorded:  # each query head sees the keys and values of its group
        value = value.repeat_interleave(runs.model.n_heads // value.shape[1], 1)
    if head is not None:
        if find_site(site).axis not in ("head", "kv_head"):
            raise SiteError(f"The site {site} is not divided into heads.", "Leave head out, or choose z, q, k, v or pattern.")
        value = value[:, checked_index(head, value.shape[1], "Head", f"{site} has")]
    if pos is not None:
        places = [
            checked_index(p, len(value), "Position", f"the {run} prompt has positions") for p in (pos if isinstance(pos, list) else [pos])
        ]
        value = value[places] if isinstance(pos, list) else value[places[0]]
    return value.detach().clone()


def read_attention(runs: PairRuns, layer: Index, head: Index, pos: Index | None = None) -> AttentionRow:
    """One row of a head's attention in both runs, from position `pos` to every position; or without it the whole pattern.

    Negative numbers count from the end.

    Raises:
        SiteError: no such layer, head or position.
        ModelError: the model's attention can't be read.
    """
    runs.look_again(whole=True)
    layer = find_layer(runs.model, layer)
    find_tap(runs.model, "resid_pre", layer)
    head = checked_index(plain(head), runs.model.n_heads, "Head", f"{runs.model.name} has heads")
    patterns = {name: attention_pattern(runs.model, runs.recording(name), layer)[head].cpu().numpy() for name in ("clean", "corrupted")}
    if pos is None:
        return AttentionRow(**patterns)
    pos = checked_index(plain(pos), runs.length(), "Position", f"the {runs.base} prompt has positions")
    if pos >= min(map(len, patterns.values())):
        raise SiteError(f"Position {pos} does not exist in both prompts.", "Choose an earlier one.")
    return AttentionRow(**{name: pattern[pos] for name, pattern in patterns.items()})


def _layer(model: WrappedModel, site: str, layer: int | None) -> int:
    if site.startswith(MODULE):
        if layer is not None:
            raise SiteError(f"{site} is one module, and a layer was given.", "Leave it out; the path says which module it is.")
        return layers_with(model, site)[0]
    find_site(site)
    if layer is None:
        raise SiteError(f"{site} is there in every layer, and none was named.", "Give layer=.")
    return find_layer(model, layer)
