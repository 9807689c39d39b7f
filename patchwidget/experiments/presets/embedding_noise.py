"""Noise on the embeddings of some tokens: what corrupts the runs of causal tracing."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from patchwidget.models.hooks import Hooks
from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.token_pair import TokenPair


class NoisedEmbeddings:
    """Corrupted runs that are the clean prompt with noise added to its embeddings; each pair is a sample of the noise.

    Args:
        positions: the tokens whose embeddings are noised.
        noise: [samples, len(positions), d], added to what the embedding module gives.
    """

    apart = True  # the noise must not reach the clean run, nor another sample

    def __init__(self, model: WrappedModel, positions: Sequence[int], noise: np.ndarray) -> None:
        self._model, self._positions, self._noise = model, list(positions), torch.tensor(noise, dtype=torch.float32)

    @contextmanager
    def around(self, number: int) -> Iterator[None]:
        """Inside, forwards of this context have the pair's noise in them."""

        def add(module: nn.Module, output: Tensor) -> Tensor:
            changed = output.clone()
            changed[:, self._positions] += self._noise[number].to(changed)
            return changed

        with Hooks() as hooks:
            hooks.after(self._model.hf.get_input_embeddings(), add)  # type: ignore[operator]
            yield

    def first_change(self, pair: TokenPair) -> int:
        """The first noised position."""
        return min(self._positions)
