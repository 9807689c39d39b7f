"""With what activations are replaced: the other run's, zero, a mean, another prompt's, noise, or any tensor."""

import reprlib
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from patchwidget.engine.recording import Recording, record
from patchwidget.engine.sites import find_site
from patchwidget.errors import PatchError, PromptError, SiteError
from patchwidget.given import Array, token_ids
from patchwidget.prompts.pair import Text, plain_prompts, tokenize_prompt
from patchwidget.public import public
from patchwidget.runs.pair_runs import PairRuns

# (site, layer) -> what to put there, [T, ...] by position of the base prompt
Values = Callable[[str, int], Tensor]


@public
@dataclass(frozen=True)
class Resample:
    """The activations of another prompt of the same length ("resample ablation"): a text, or token ids."""

    prompt: Text

    def __post_init__(self) -> None:
        object.__setattr__(self, "prompt", token_ids(self.prompt))


@public
@dataclass(frozen=True, eq=False)
class Mean:
    """The mean activation over reference prompts.

    Attributes:
        prompts: texts or token ids.
        per_position: the mean at each position by itself (the prompts then have the base prompt's length); otherwise one mean over all
            positions of all prompts.
    """

    prompts: str | Sequence[Text] | Array
    per_position: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "prompts", plain_prompts(self.prompts))


@public
@dataclass(frozen=True)
class Noise:
    """Gaussian noise added to the base run's own activation.

    Attributes:
        scale: its standard deviation, in standard deviations of the base run's activations at that site and layer (over all elements; Meng et
            al. 2022 use 3, on embeddings).
        seed: the same seed gives the same noise in every cell.
    """

    scale: float = 3.0
    seed: int = 0


@public
@dataclass(frozen=True)
class Placebo:
    """The base run's own activation moved by a random direction, as far as the other run's lies from it: a matched control.

    The distance is matched for each position (and head) by itself; a single neuron moves that far up or down. If the other run's activation
    does no more than such a placebo, its content does not matter, only that something was disturbed.

    Attributes:
        seed: of the directions; each pair, site and layer has its own.
    """

    seed: int = 0


Source = str | Tensor | float | Resample | Mean | Noise | Placebo | Array


def as_source(source: Source | None) -> Any:
    """A source as everything behind knows it: NumPy's and pandas' arrays as tensors, single numbers as Python's."""
    if isinstance(source, str | Tensor) or not isinstance(source, Array):
        return source
    array = np.asarray(source)
    return torch.from_numpy(array.copy()) if array.ndim else array.item()


def values_of(runs: PairRuns, pair: int, source: Source) -> tuple[Values, int]:
    """What a source puts where, and the first position at which it can differ from the base run.

    Args:
        source: "clean" or "corrupted" (that run of the pair), "zero", a `Mean`, `Resample` or `Noise`, a number, or a tensor that fits the site:
            one value for every position, or one per position.

    Raises:
        PatchError, PromptError, SiteError: the source is not known, its prompts do not fit, or its shape does not.
    """
    if isinstance(source, str) and source in ("clean", "corrupted"):
        return _run_values(runs, pair, source)
    if isinstance(source, str) and source == "zero":
        return lambda site, layer: torch.zeros_like(_own(runs, pair, site, layer)), 0
    if isinstance(source, Placebo):
        return lambda site, layer: _placebo(runs, pair, site, layer, source), runs.unchanged_before(pair)
    if isinstance(source, Noise):
        return lambda site, layer: _noisy(_own(runs, pair, site, layer), source, layer), 0
    if isinstance(source, Resample | Mean):
        return _resampled(runs, pair, source) if isinstance(source, Resample) else _mean(runs, pair, source), 0
    if isinstance(source, Tensor | float | int):
        return lambda site, layer: _fitted(torch.as_tensor(source), _own(runs, pair, site, layer), site), 0
    known = "'clean', 'corrupted', 'zero', a number, a tensor, pw.Mean(prompts), pw.Resample(prompt), pw.Noise(scale) or pw.Placebo(seed)"
    raise PatchError(f"source={reprlib.repr(source)} is not known.", f"Use {known}.")


def _run_values(runs: PairRuns, pair: int, run: str) -> tuple[Values, int]:
    """The activations of the pair's "clean" or "corrupted" run, by position of the base run."""
    if run == runs.base:
        return as_recorded(runs, pair, run), runs.length(pair)
    if runs.pairs[pair].shifted:
        return lambda site, layer: _aligned(runs, pair, site, layer), runs.unchanged_before(pair)
    return as_recorded(runs, pair, run), runs.unchanged_before(pair)


def as_recorded(runs: PairRuns, pair: int, run: str) -> Values:
    """A run's activations by its own positions, wherever these correspond to."""
    return lambda site, layer: runs.recording(run, _raw(site), pair).at(_raw(site), layer)


def patchable(runs: PairRuns, pair: int, source: Source) -> Collection[int]:
    """The positions of the run that is patched for which the source has something: where the two prompts correspond."""
    other = isinstance(source, Placebo) or (isinstance(source, str) and source == runs.source)
    return runs.source_positions(pair) if other else range(runs.length(pair))


def describe_source(source: Source) -> str:
    """A source in a few words, for provenance."""
    if isinstance(source, Tensor):
        return f"tensor {list(source.shape)}"
    return source if isinstance(source, str) else type(source).__name__.lower() if isinstance(source, Mean) else repr(source)


def _raw(site: str) -> str:
    """Where the activations of a site are recorded: a head's view of keys and values is theirs."""
    return site.removesuffix("_per_head")


def _own(runs: PairRuns, pair: int, site: str, layer: int) -> Tensor:
    return runs.recording(runs.base, _raw(site), pair).at(_raw(site), layer)


def _aligned(runs: PairRuns, pair: int, site: str, layer: int) -> Tensor:
    """The source run's activations, each at the position that it corresponds to; the base run's own where there is none."""
    found, own = runs.recording(runs.source, _raw(site), pair).at(_raw(site), layer), _own(runs, pair, site, layer)
    positions = runs.source_positions(pair)
    here, there = list(positions), list(positions.values())
    value = own.clone()
    if site == "pattern":  # [dest, head, src]
        value[torch.tensor(here)[:, None], :, torch.tensor(here)] = found[torch.tensor(there)[:, None], :, torch.tensor(there)].to(own)
    else:
        value[here] = found[there].to(own)
    return value


def _noisy(own: Tensor, noise: Noise, layer: int) -> Tensor:
    generator = torch.Generator().manual_seed(noise.seed * 100_003 + layer)
    sample = torch.randn(own.shape, generator=generator, dtype=torch.float32).to(own)
    return own + noise.scale * own.float().std().to(own) * sample


def _placebo(runs: PairRuns, pair: int, site: str, layer: int, placebo: Placebo) -> Tensor:
    if site == "pattern":
        raise SiteError("A row of attention moved in a random direction is no attention.", "Take the placebo of z, q, k or v instead.")
    own, other = _own(runs, pair, site, layer).float(), values_of(runs, pair, runs.source)[0](site, layer)
    distance = other.to(own) - own
    generator = torch.Generator().manual_seed(zlib.crc32(f"{placebo.seed} {pair} {site} {layer}".encode()))
    direction = torch.randn(own.shape, generator=generator).to(own)
    if find_site(site).axis == "neuron":  # each is a cell of its own
        moved = distance.abs() * direction.sign()
    else:
        moved = direction / direction.norm(dim=-1, keepdim=True) * distance.norm(dim=-1, keepdim=True)
    return (own + moved).to(other)


def _fitted(value: Tensor, own: Tensor, site: str) -> Tensor:
    try:
        return value.to(own).broadcast_to(own.shape)
    except RuntimeError as error:
        message = f"The value for {site} has shape {list(value.shape)}, and there it has to fit {list(own.shape)} ([position, ...])."
        raise SiteError(message, "Give one value for all positions, or one per position.") from error


def _resampled(runs: PairRuns, pair: int, source: Resample) -> Values:
    found = _Reference(runs, [source.prompt])
    _check_length(found.lengths, runs.length(pair), "The prompt to resample from")
    return lambda site, layer: found.at(_raw(site), layer)[0]


def _mean(runs: PairRuns, pair: int, source: Mean) -> Values:
    if not source.prompts:
        raise PromptError("The mean is over no prompts.", "Give pw.Mean at least one prompt.")
    found = _Reference(runs, source.prompts)
    if source.per_position:
        _check_length(found.lengths, runs.length(pair), "A reference prompt")
        return lambda site, layer: torch.stack(found.at(_raw(site), layer)).mean(0)

    def overall(site: str, layer: int) -> Tensor:
        return torch.cat(found.at(_raw(site), layer)).mean(0).expand_as(_own(runs, pair, site, layer))

    return overall


def _check_length(lengths: list[int], wanted: int, what: str) -> None:
    for length in lengths:
        if length != wanted:
            raise PromptError(f"{what} has {length} tokens, and the base prompt {wanted}.", "Choose prompts of the same length.")


class _Reference:
    """Other prompts' runs, recorded when first asked for a site."""

    def __init__(self, runs: PairRuns, prompts: Any) -> None:
        self._model = runs.model
        self._tokens = [tokenize_prompt(runs.model, prompt, "reference") for prompt in prompts]
        self._recordings: dict[str, list[Recording]] = {}

    @property
    def lengths(self) -> list[int]:
        return [len(tokens) for tokens in self._tokens]

    def at(self, site: str, layer: int) -> list[Tensor]:
        if site not in self._recordings:
            kept: list[Any] = [] if site in ("resid_pre", "resid_post") else [site]
            self._recordings[site] = [record(self._model, tokens, kept) for tokens in self._tokens]
        return [recording.at(site, layer) for recording in self._recordings[site]]
