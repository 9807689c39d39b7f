"""How fast a sweep is: this engine against one hooked forward per cell, in one run on the default model.

python -m benchmarks.sweep            the indirect-object pair (420 cells) and a pair that differs in its first token
python -m benchmarks.sweep --repeat 5

The hooked way is the usual one: for each cell register a hook, run the whole model, read the metric, remove the hook. The last column
tells how far the two ways' numbers lie apart. Machines are noisy: look at the ratios. The packed sweep is run several times and the best
counts, and so it is for the matrix products that it is compared with, measured each time beside it.
"""

import argparse
import platform
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

import patchwidget as pw
from patchwidget.model import Model

SENTENCE = "{} John and Mary went to the store, {} gave a drink to"
PAIRS = {
    "indirect object": pw.PromptPair(SENTENCE.format("When", "John"), SENTENCE.format("When", "Mary"), " Mary", " John"),
    "first token differs": pw.PromptPair(SENTENCE.format("When", "John"), SENTENCE.format("After", "John"), " Mary", " John"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a sweep against one hooked forward per cell.")
    parser.add_argument("--repeat", type=int, default=3, help="runs of the packed sweep, of which the best counts")
    repeat = parser.parse_args().repeat
    model = pw.load()
    print(f"{model}\n{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print(f"{'pair':21}{'cells':>6}{'hooked, s':>11}{'packed, s':>11}{'ratio':>7}{'of the rate':>13}{'GFLOP/s':>9}{'difference':>12}")
    for name, pair in PAIRS.items():
        experiment = pw.Experiment(model, pair)
        rates, runs = [], []
        for _ in range(repeat):
            rates.append(matrix_product_rate(model.device))
            runs.append(timed(lambda pair=pair: sweep_afresh(model, pair)))
        packed, values = min(runs, key=lambda run: run[0])
        hooked, expected = timed(lambda experiment=experiment: one_forward_per_cell(model, experiment))
        share = arithmetic(model, experiment) / packed / max(rates)
        row = f"{name:21}{values.size:6}{hooked:11.2f}{packed:11.3f}{hooked / packed:6.0f}x{share:13.0%}"
        print(f"{row}{max(rates) / 1e9:9.0f}{np.abs(values - expected).max():12.1e}", flush=True)


def timed(work: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Seconds, and what came of it."""
    start = time.perf_counter()
    value = work()
    return time.perf_counter() - start, value


def sweep_afresh(model: Model, pair: pw.PromptPair) -> np.ndarray:
    """The whole of a sweep: both runs recorded, the cells, the checks."""
    return pw.Experiment(model, pair).sweep("resid_pre", progress=False).values.to_numpy()


def matrix_product_rate(device: torch.device, size: int = 2048) -> float:
    """Floating-point operations a second in float32 matrix products, the best of several."""
    a = torch.randn(size, size, device=device)
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        torch.mm(a, a)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)


def arithmetic(model: Model, experiment: pw.Experiment) -> float:
    """Floating-point operations in matrix products that the sweep needs: rows from the patch on, in the layers from the patch on."""
    per_row = 2 * sum(p.numel() for p in model.anatomy.blocks[0].module.parameters() if p.ndim == 2)
    length, first = experiment.pair.length, experiment.pair.first_difference
    rows = sum(length - position for position in range(first, length))
    return per_row * rows * model.n_layers * (model.n_layers + 1) / 2


@torch.no_grad()
def one_forward_per_cell(model: Model, experiment: pw.Experiment) -> np.ndarray:
    """The usual way, literally: [layer, pos] of the metric, each cell by a hook and a whole forward."""
    clean, corrupted = torch.tensor([experiment.pair.clean]), torch.tensor([experiment.pair.corrupted])
    (answer,), (distractor,) = experiment.pair.answers, experiment.pair.distractors
    entering = model.hf(clean, output_hidden_states=True).hidden_states
    values = np.empty((model.n_layers, experiment.pair.length), np.float32)
    for layer, block in enumerate(model.anatomy.blocks):
        for position in range(experiment.pair.length):
            handle = block.module.register_forward_pre_hook(put(entering[layer], position))
            logits = model.hf(corrupted).logits[0, -1]
            handle.remove()
            values[layer, position] = logits[answer] - logits[distractor]
    return values


def put(source: torch.Tensor, position: int) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], tuple[torch.Tensor, ...]]:
    """A hook that puts the source's residual stream in at one position."""

    def hook(module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        hidden = args[0].clone()
        hidden[:, position] = source[:, position]
        return (hidden, *args[1:])

    return hook


if __name__ == "__main__":
    main()
