"""How fast a ladder of strengths is: one packed pass against one steered forward per strength, in one run on the default model.

python -m benchmarks.ladder            33 strengths at layer 15, on prompts of several lengths
python -m benchmarks.ladder --repeat 9

Each forward is the usual one: a hook that adds strength times the vector to the block's output, `model(input_ids)`, the last position's
logits. Both ways give the next-token distribution at each strength. "first" is a ladder from nothing, with the prompt's own run and the check
of its logits; "again" is one more on the same prompt, as when another layer or vector is tried. Steered at every position, a ladder saves the
layers before the vector and what a short forward wastes, but each strength needs every row of the layers after it, so on long prompts the
arithmetic of those layers is the floor; steered at the last position only, there is one row for each strength. Machines are noisy: the ways
take turns, the best of several counts, and the ratios are what to look at. With one thread (OMP_NUM_THREADS=1 in front of the command) the
seconds are the processor's, which other work disturbs little; more threads make the arithmetic of a ladder faster, and hardly the forwards of
a short prompt, which wait for the memory.
"""

import argparse
import platform
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

import patchwidget as pw
from patchwidget.model import Model
from patchwidget.runs.pair_runs import PairRuns
from patchwidget.steering.steer import Positions

SHORT = "I think that the film was very"
LONG = "We went to the cinema last night, and sat in the third row, and the film went on for nearly three hours. " + SHORT
# prompt and steered positions
CASES: dict[str, tuple[str, Positions]] = {
    "short": (SHORT, "all"),
    "long": (LONG, "all"),
    "long, from its last token": (LONG, (-1, None)),
}
LAYER, STRENGTHS = 15, np.linspace(-4, 4, 33)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time a ladder of strengths against one forward per strength.")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each way, of which the best counts")
    repeat = parser.parse_args().repeat
    model = pw.load()
    vector = pw.SteeringVector.from_pairs(model, ["I love it, it is wonderful"], ["I hate it, it is terrible"], layer=LAYER)
    print(f"{model}\n{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {len(STRENGTHS)} strengths\n")
    print(
        f"{'prompt':26}{'tokens':>7}{'forwards, s':>13}{'first, s':>10}{'ratio':>7}{'again, s':>10}{'ratio':>7}{'difference':>12}",
        flush=True,
    )
    for name, (prompt, positions) in CASES.items():
        tokens, steer = model.encode(prompt), pw.Steer(vector, positions=positions)
        start = 0 if positions == "all" else len(tokens) - 1
        ladder = model.ladder(prompt, steer, STRENGTHS)
        ways = {
            "forwards": partial(one_forward_per_strength, model, tokens, vector[LAYER], start),
            "first": partial(kl_of_ladder, model, prompt, steer),
            "again": partial(kl_of_ladder, model, prompt, steer, runs=ladder.info["runs"]),
        }
        runs = [{way: timed(work) for way, work in ways.items()} for _ in range(repeat)]
        best = {way: min(run[way][0] for run in runs) for way in ways}
        difference = np.abs(ladder.kl - runs[0]["forwards"][1]).max()
        row = f"{name:26}{len(tokens):7}{best['forwards']:13.2f}"
        row += "".join(f"{best[way]:10.3f}{best['forwards'] / best[way]:6.1f}x" for way in ("first", "again"))
        print(f"{row}{difference:12.1e}", flush=True)


def timed(work: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """Seconds, of the processor where there is one thread, and what came of it."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    value = work()
    return clock() - start, value


def kl_of_ladder(model: Model, prompt: str, steer: pw.Steer, runs: PairRuns | None = None) -> np.ndarray:
    return model.ladder(prompt, steer, STRENGTHS, runs=runs).kl


@torch.no_grad()
def one_forward_per_strength(model: Model, tokens: list[int], vector: Tensor, start: int) -> np.ndarray:
    """The usual way, literally: the KL from the unsteered next-token distribution at each strength, steered from position `start` on."""
    inputs = torch.tensor([tokens])
    base = model.hf(inputs).logits[0, -1].log_softmax(-1)
    values = []
    for strength in STRENGTHS:

        def add(module: nn.Module, args: object, output: Tensor, strength: float = float(strength)) -> Tensor:
            output = output.clone()
            output[:, start:] += strength * vector
            return output

        handle = model.anatomy.blocks[LAYER].module.register_forward_hook(add)
        steered = model.hf(inputs).logits[0, -1].log_softmax(-1)
        handle.remove()
        values.append(float((base.exp() * (base - steered)).sum()))
    return np.array(values, np.float32)


if __name__ == "__main__":
    main()
