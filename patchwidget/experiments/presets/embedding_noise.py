"""Runs with noise on the embeddings of some tokens: the corrupted run of causal tracing."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from patchwidget.engine.edits import Cell
from patchwidget.engine.executors.hooked import HookedExecutor
from patchwidget.engine.executors.packed import PackedExecutor
from patchwidget.engine.recording import Recording
from patchwidget.experiments.experiment import Experiment
from patchwidget.models.hooks import Hooks
from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.pair import PromptPair
from patchwidget.runs.checks import Check


class NoisedExperiment(Experiment):
    """An experiment whose corrupted runs are the clean prompt with noise added to its embeddings; its pairs are the samples of the noise.

    Args:
        prompt: the prompt as token ids, and its answer.
        positions: the tokens whose embeddings are noised.
        noise: [samples, len(positions), d], added to what the embedding module gives.
    """

    def __init__(self, model: WrappedModel, prompt: PromptPair, positions: Sequence[int], noise: np.ndarray, metric: str) -> None:
        self._noised_positions, self._noise = list(positions), torch.tensor(noise, dtype=torch.float32)
        super().__init__(model, [prompt] * len(noise), metric)

    def unchanged_before(self, pair: int) -> int:
        return min(self._noised_positions) if self.model.has_blocks and self.model.causal else 0

    def make_executor(self, name: str, pairs: Sequence[int] | None = None) -> PackedExecutor | HookedExecutor:
        made = super().make_executor(name, pairs)
        if isinstance(made, HookedExecutor):
            return _NoisedExecutor(made, self, list(range(len(self.pairs)) if pairs is None else pairs))
        return made  # it stands on the recorded runs, which have the noise in them

    @contextmanager
    def noised(self, pair: int) -> Iterator[None]:
        """Inside, forwards of this context have the pair's noise in them."""
        at = self._noised_positions

        def add(module: nn.Module, output: Tensor) -> Tensor:
            changed = output.clone()
            changed[:, at] += self._noise[pair].to(changed)
            return changed

        with Hooks() as hooks:
            hooks.after(self.model.hf.get_input_embeddings(), add)  # type: ignore[operator]
            yield

    def _are_unlike(self, pair: int) -> bool:
        return True  # the noise must not reach the clean run

    def _record(self, pair: int, runs: Sequence[str], sites: set[str]) -> None:
        for run in runs:
            if run == "corrupted":
                with self.noised(pair):
                    super()._record(pair, [run], sites)
            else:
                super()._record(pair, [run], sites)

    def _entering(self, places: Sequence[tuple[str, int]]) -> list[Recording]:
        entered: list[Recording] = []
        for run, pair in places:
            with self.noised(pair) if run == "corrupted" else nullcontext():
                entered += super()._entering([(run, pair)])
        return entered

    def _parity_of_run(self, run: str, pair: int, ours: Tensor) -> Check:
        with self.noised(pair) if run == "corrupted" else nullcontext():
            return super()._parity_of_run(run, pair, ours)


class _NoisedExecutor(HookedExecutor):
    """Whole forwards with the noise of their pair."""

    def __init__(self, plain: HookedExecutor, experiment: NoisedExperiment, pairs: list[int]) -> None:
        super().__init__(plain.model, plain.prompts, plain.measures, plain.max_rows)
        self._experiment, self._pairs = experiment, pairs

    def run(self, cells: Sequence[Cell]) -> Generator[Any, None, None]:
        for place, pair in enumerate(self._pairs):
            numbers = [number for number, cell in enumerate(cells) if cell.base == place]
            batches = super().run([cells[number] for number in numbers])
            while True:
                with self._experiment.noised(pair):  # not around the yield: between batches nothing is left on the model
                    batch = next(batches, None)
                if batch is None:
                    break
                batch.cells[:] = [numbers[i] for i in batch.cells]
                yield batch
