"""Directions added to activations while a model runs or generates, at positions that are right under a key/value cache and left padding.

Positions are those of the prompt's own tokens, from 0, and go on through what is generated: padding has none. In each forward the place of
its first column in the whole sequence is read off the attention mask that transformers' `generate` passes, or off the cache.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from patchwidget.engine.edits import moved_along
from patchwidget.engine.sites import find_tap
from patchwidget.engine.tap_hooks import on_write
from patchwidget.errors import ModelError, PatchError
from patchwidget.models.hooks import Hooks
from patchwidget.models.trace import main_input
from patchwidget.models.wrapped import WrappedModel

# (start, stop): positions from start to before stop
Span = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Steering:
    """One direction at one place of one batch of prompts.

    Attributes:
        site, layer: where; a site as wide as the residual stream.
        value: [d_model]; or [n, d_model], one row for each of the first n steered positions.
        operator: "add", "project_out" or "cap" (see `cells.moved_along`).
        strength: of the operator.
        spans: which positions, for each prompt.
        schedule: factor of the strength at the i-th steered position; 1 everywhere if None.
    """

    site: str
    layer: int
    value: Tensor
    operator: str
    strength: float
    spans: tuple[Span, ...]
    schedule: Callable[[int], float] | None = None

    def reach(self, prompt: int, first: int, stop: int) -> range:
        """Which of the positions from `first` to before `stop` are steered in a prompt."""
        start, end = self.spans[prompt]
        if self.value.ndim == 2:
            end = min(end, start + len(self.value))
        return range(max(start, first), min(end, stop))

    def at(self, prompt: int, positions: range) -> tuple[Tensor, Tensor]:
        """The directions [n, d_model] and the strengths [n] at n steered positions. PatchError where the schedule gives no finite number."""
        steps = range(positions.start - self.spans[prompt][0], positions.stop - self.spans[prompt][0])
        values = self.value[steps.start : steps.stop] if self.value.ndim == 2 else self.value.expand(len(steps), -1)
        if self.schedule is None:
            return values, torch.full((len(steps),), self.strength)
        factors = torch.tensor([float(self.schedule(step)) for step in steps])
        if not factors.isfinite().all():
            raise PatchError(f"The schedule gives the factors {factors.tolist()}.", "Let it return a finite number at every position.")
        return values, self.strength * factors


@contextmanager
def steered(model: WrappedModel, steerings: Sequence[Steering], pads: Sequence[int]) -> Iterator[None]:
    """Steer this context's forwards of `model.hf` inside the `with` block.

    Args:
        pads: how many tokens of padding are before each prompt; rows of a batch are the prompts in order, each as often as beams ask.

    Raises:
        SiteError: a place that does not exist in this model.
        ModelError: a place was never passed.
    """
    places: dict[tuple[str, int], list[Steering]] = defaultdict(list)
    for steering in steerings:
        places[steering.site, steering.layer].append(steering)
    columns = _Columns(pads)
    missed = set(places)

    def write(place: tuple[str, int], rows: Tensor) -> None:
        missed.discard(place)
        for steering in places[place]:
            _steer(steering, rows, columns)

    with Hooks() as hooks:
        if places:
            hooks.before(model.hf, columns.note)
        for site, layer in places:
            on_write(hooks, find_tap(model, site, layer), partial(write, (site, layer)), shared=site == "resid_mid")
        yield
    if missed and columns.noted:
        named = ", ".join(f"{site} of layer {layer}" for site, layer in sorted(missed))
        raise ModelError(f"{model.name} never passed {named}, so nothing was steered there.", "Choose another site.")


class _Columns:
    """Where the columns of the forward under way are in their sequences."""

    def __init__(self, pads: Sequence[int]) -> None:
        self.pads = pads
        self.noted = False
        self.first, self.width = 0, 0
        self._cache: Any = None

    def note(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before each forward of the whole model."""
        tokens = kwargs["input_ids"] if kwargs.get("input_ids") is not None else main_input(args, kwargs)
        if tokens is None:
            raise LookupError(f"{type(module).__name__} was called without a tensor")
        mask, cache = kwargs.get("attention_mask"), kwargs.get("past_key_values", kwargs.get("cache_params"))
        if isinstance(mask, Tensor) and mask.ndim == 2:
            self.first = mask.shape[1] - tokens.shape[1]
        else:
            self.first = self._length_of(cache)
        self.noted, self.width, self._cache = True, tokens.shape[1], cache

    def _length_of(self, cache: Any) -> int:
        """How many columns a cache holds."""
        if cache is None:
            return 0
        try:
            return int(cache.get_seq_length())
        except (AttributeError, ValueError):  # a recurrent model's (Mamba) does not know: all that was given since it came up
            return self.first + self.width if cache is self._cache else 0

    def steered(self, steering: Steering, n_rows: int) -> Iterator[tuple[int, int, range]]:
        """What of this forward is steered, sequence by sequence: (the row of position 0, prompt, positions)."""
        if not self.noted:  # transformers 4.57 fills the cache in chunks past the model's own hooks
            raise ModelError("The model's forward was not seen to begin, so positions can't be told.", "Leave prefill_chunk_size out.")
        sequences = n_rows // self.width
        for sequence in range(sequences):
            prompt = sequence * len(self.pads) // sequences
            first = self.first - self.pads[prompt]
            positions = steering.reach(prompt, first, first + self.width)
            if positions:
                yield sequence * self.width - first, prompt, positions


def _steer(steering: Steering, rows: Tensor, columns: _Columns) -> None:
    """Write one steering into the rows [R, d_model] of a forward, in place."""
    for origin, prompt, positions in columns.steered(steering, len(rows)):
        chosen = rows[origin + positions.start : origin + positions.stop]
        values, strengths = steering.at(prompt, positions)
        chosen.copy_(moved_along(steering.operator, chosen, values.to(rows.device), strengths.to(rows.device)))
