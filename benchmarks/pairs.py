"""A set of prompt pairs in one sweep, against one hooked forward per cell and pair: python -m benchmarks.pairs

Pairs of indirect object identification, and two sweeps of each: resid_pre at every position, and every head (z) at the last token. The hooked
way is timed on a sample of cells, drawn at random over pairs and cells, and scaled up: one cell costs it what any other does. The last
column tells how far the two ways' numbers lie apart on that sample.

Then the same sweep for a growing number of pairs: the time for each pair should be about constant. Processor seconds, of all threads, which
other work on the machine disturbs little; `OMP_NUM_THREADS=1` in front gives both ways one thread.
"""

import argparse
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

import patchwidget as pw
from patchwidget.model import Model

from .sweep import put


def main() -> None:
    parser = argparse.ArgumentParser(description="Time sweeps over a set of pairs.")
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--sample", type=int, default=40, help="cells of the hooked way that are timed")
    parser.add_argument("--growth", type=int, nargs="*", default=[4, 8, 16, 32], help="numbers of pairs whose times are compared")
    options = parser.parse_args()
    model = pw.load()
    pairs = pw.tasks.ioi(model, options.pairs)
    swept(model, pairs[:1], "resid_pre", {})  # what is found out once for each model, and the code that a first sweep loads
    print_row("sweep", "pairs", "cells", "this engine, s", "hooked forwards, s", "ratio", "largest difference")
    print_row(*["---"] * 7)
    for site, asked in (("resid_pre", {}), ("z", {"positions": ["END"]})):
        seconds, result = processor_seconds(lambda site=site, asked=asked: swept(model, pairs, site, asked))
        values = result.values.squeeze(["role"] if site == "z" else []).to_numpy()
        cells = np.argwhere(np.isfinite(values))
        chosen = [tuple(map(int, cells[k])) for k in random.Random(0).sample(range(len(cells)), options.sample)]
        hooked, apart = by_hand(model, pairs, site, values, chosen)
        scaled = hooked / options.sample * len(cells)
        times = f"{seconds:.1f}", f"~{scaled:.0f}", f"{scaled / seconds:.0f}x"
        print_row(site, str(len(pairs)), str(len(cells)), *times, f"{apart:.0e}")
    print()
    print_row("pairs", "processor seconds", "for each pair")
    print_row(*["---"] * 3)
    for n in options.growth:
        seconds, _ = processor_seconds(lambda n=n: swept(model, pairs[:n], "resid_pre", {}))
        print_row(str(n), f"{seconds:.1f}", f"{seconds / n:.2f}")


def swept(model: Model, pairs: Sequence[pw.PromptPair], site: str, asked: dict[str, Any]) -> pw.PatchResult:
    """The whole of a sweep: every prompt recorded, the cells, the checks."""
    return pw.Experiment(model, pairs).sweep(site, progress=False, **asked)


def processor_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    value = work()
    return time.process_time() - start, value


@torch.no_grad()
def by_hand(model: Model, pairs: pw.PromptSet, site: str, values: np.ndarray, cells: Sequence[tuple[int, ...]]) -> tuple[float, float]:
    """Seconds for these cells the usual way - for each a hook, a whole forward, the metric, the hook removed - and how far its numbers lie from
    `values` at the most. Recording the clean runs is not counted."""
    total = apart = 0.0
    for cell in cells:
        pair, layer, place = cell
        block = model.anatomy.blocks[layer]
        module = block.module if site == "resid_pre" else block.o_proj
        if module is None:
            raise LookupError(f"layer {layer} has no output projection")
        clean, corrupted = (torch.tensor([model.encode(str(text))]) for text in (pairs[pair].clean, pairs[pair].corrupted))
        answer, distractor = (model.encode(str(word), special=False)[0] for word in (pairs[pair].answer, pairs[pair].distractor))
        hook = (
            put(entering(model, module, clean), place)
            if site == "resid_pre"
            else put_head(entering(model, module, clean), place, model.n_heads)
        )

        def one_cell(module: nn.Module = module, hook: Any = hook, corrupted: torch.Tensor = corrupted) -> torch.Tensor:
            handle = module.register_forward_pre_hook(hook)
            logits = model.hf(corrupted).logits[0, -1]
            handle.remove()
            return logits

        seconds, logits = processor_seconds(one_cell)
        total += seconds
        apart = max(apart, abs(float(logits[answer] - logits[distractor]) - float(values[cell])))
    return total, apart


def entering(model: Model, module: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """What a module is given in the run of a prompt."""
    found: list[torch.Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, args: found.append(args[0].clone()))
    model.hf(tokens)
    handle.remove()
    return found[0]


def put_head(source: torch.Tensor, head: int, n_heads: int) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], tuple[torch.Tensor, ...]]:
    """A hook that puts one head's output at the last position in, before the output projection."""

    def hook(module: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        heads = args[0].clone().unflatten(-1, (n_heads, -1))
        heads[:, -1, head] = source.unflatten(-1, (n_heads, -1))[:, -1, head]
        return (heads.flatten(-2),)

    return hook


def print_row(*texts: str) -> None:
    """A line of a Markdown table."""
    print(f"| {' | '.join(texts)} |", flush=True)


if __name__ == "__main__":
    main()
