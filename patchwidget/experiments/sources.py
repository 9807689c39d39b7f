"""With what activations are replaced: the other run's, zero, a mean, another prompt's, noise, or any tensor."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from patchwidget.engine.recording import Recording, record
from patchwidget.errors import PatchError, PromptError, SiteError

from .prompts import Text, tokenize_prompt
from .runs import Runs

# (site, layer) -> what to put there, [T, ...] by position of the base prompt
Values = Callable[[str, int], Tensor]


@dataclass(frozen=True)
class Resample:
    """The activations of another prompt of the same length ("resample ablation")."""

    prompt: Text


@dataclass(frozen=True, eq=False)
class Mean:
    """The mean activation over reference prompts.

    Attributes:
        prompts: texts or token ids.
        per_position: the mean at each position by itself (the prompts then have the base prompt's length); otherwise one mean over all
            positions of all prompts.
    """

    prompts: Sequence[Text]
    per_position: bool = True


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


Source = str | Tensor | float | Resample | Mean | Noise


def values_of(runs: Runs, pair: int, source: Source) -> tuple[Values, int]:
    """What a source puts where, and the first position at which it can differ from the base run.

    Args:
        source: "clean" or "corrupted" (that run of the pair), "zero", a `Mean`, `Resample` or `Noise`, a number, or a tensor that fits the site:
            one value for every position, or one per position.

    Raises:
        PatchError, PromptError, SiteError: the source is not known, its prompts do not fit, or its shape does not.
    """
    if isinstance(source, str) and source in ("clean", "corrupted"):
        same = source == runs.base
        first = runs.pairs[pair].length if same else runs.unchanged_before(pair)
        return lambda site, layer: runs.recording(source, _raw(site), pair).at(_raw(site), layer), first
    if isinstance(source, str) and source == "zero":
        return lambda site, layer: torch.zeros_like(_own(runs, pair, site, layer)), 0
    if isinstance(source, Noise):
        return lambda site, layer: _noisy(_own(runs, pair, site, layer), source, layer), 0
    if isinstance(source, Resample):
        return _resampled(runs, pair, source), 0
    if isinstance(source, Mean):
        return _mean(runs, pair, source), 0
    if isinstance(source, Tensor | float | int):
        return lambda site, layer: _fitted(torch.as_tensor(source), _own(runs, pair, site, layer), site), 0
    known = "'clean', 'corrupted', 'zero', a number, a tensor, pw.Mean(prompts), pw.Resample(prompt) or pw.Noise(scale)"
    raise PatchError(f"source={source!r} is not known.", f"Use {known}.")


def describe_source(source: Source) -> str:
    """A source in a few words, for provenance."""
    if isinstance(source, Tensor):
        return f"tensor {list(source.shape)}"
    return source if isinstance(source, str) else type(source).__name__.lower() if isinstance(source, Mean) else repr(source)


def _raw(site: str) -> str:
    """Where the activations of a site are recorded: a head's view of keys and values is theirs."""
    return site.removesuffix("_per_head")


def _own(runs: Runs, pair: int, site: str, layer: int) -> Tensor:
    return runs.recording(runs.base, _raw(site), pair).at(_raw(site), layer)


def _noisy(own: Tensor, noise: Noise, layer: int) -> Tensor:
    generator = torch.Generator().manual_seed(noise.seed * 100_003 + layer)
    sample = torch.randn(own.shape, generator=generator, dtype=torch.float32).to(own)
    return own + noise.scale * own.float().std().to(own) * sample


def _fitted(value: Tensor, own: Tensor, site: str) -> Tensor:
    try:
        return value.to(own).broadcast_to(own.shape)
    except RuntimeError as error:
        message = f"The value for {site} has shape {list(value.shape)}, and there it has to fit {list(own.shape)} ([position, ...])."
        raise SiteError(message, "Give one value for all positions, or one per position.") from error


def _resampled(runs: Runs, pair: int, source: Resample) -> Values:
    found = _Reference(runs, [source.prompt])
    _check_length(found.lengths, runs.pairs[pair].length, "The prompt to resample from")
    return lambda site, layer: found.at(_raw(site), layer)[0]


def _mean(runs: Runs, pair: int, source: Mean) -> Values:
    if not source.prompts:
        raise PromptError("The mean is over no prompts.", "Give pw.Mean at least one prompt.")
    found = _Reference(runs, source.prompts)
    if source.per_position:
        _check_length(found.lengths, runs.pairs[pair].length, "A reference prompt")
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

    def __init__(self, runs: Runs, prompts: Sequence[Text]) -> None:
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
