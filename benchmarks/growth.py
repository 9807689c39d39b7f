"""How a sweep's cost grows with tokens and layers, and what memory it takes: python -m benchmarks.growth

Random models of the default model's width, and pairs that differ in their first token, so that every cell has to be computed. A patch at
layer l and position p needs the tokens from p on in the layers from l on: the predicted cost of a sweep is the sum over its cells of
(layers left) x (tokens left), and the time for each of these should be about constant. Small sweeps lose more to what each step costs.

Each measurement is a process of its own, so that its peak memory can be told, and takes one thread's processor time, which other work on
the machine changes little: this is about growth, not about speed.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import time

import torch

import patchwidget as pw
from patchwidget.model import Model
from patchwidget.models.default_model import default_model_folder

VOCABULARY = 1024  # small: the embedding is not what is measured
TOKENS = [(6, tokens) for tokens in (8, 16, 32, 64, 128)]
LAYERS = [(layers, 16) for layers in (6, 12, 24, 48)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Time sweeps of growing size, and tell their peak memory.")
    parser.add_argument("--repeat", type=int, default=3, help="how often each is timed; the best counts")
    parser.add_argument("--one", type=int, nargs=2, metavar=("LAYERS", "TOKENS"), help="measure one, and print it as JSON")
    options = parser.parse_args()
    if options.one:
        layers, tokens = options.one
        print(json.dumps(measured(layers, tokens, options.repeat)))
        return
    print_row("layers", "tokens", "cells", "predicted", "processor seconds", "µs for each predicted", "model, MB", "peak above it, MB")
    print_row(*["---"] * 8)
    for layers, tokens in [*TOKENS, *LAYERS]:
        command = [sys.executable, "-m", "benchmarks.growth", "--repeat", str(options.repeat), "--one", str(layers), str(tokens)]
        one = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        predicted = layers * (layers + 1) // 2 * tokens * (tokens + 1) // 2
        seconds, model, peak = one["seconds"], one["model"] / 1e6, one["peak"] / 1e6
        each = f"{seconds / predicted * 1e6:.0f}"
        print_row(str(layers), str(tokens), str(layers * tokens), str(predicted), f"{seconds:.2f}", each, f"{model:.0f}", f"{peak:.0f}")


def measured(layers: int, tokens: int, repeat: int) -> dict[str, float]:
    """Best seconds of a resid_pre sweep; in bytes, the model's parameters and how far memory rose above all that was there before."""
    torch.set_num_threads(1)
    model = random_model(layers)
    sweep(model, 3)  # loads the code that a first sweep loads
    before = peak_memory()
    seconds = min(processor_seconds(model, tokens) for _ in range(repeat))
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.hf.parameters())
    return {"seconds": seconds, "model": size, "peak": peak_memory() - before}


def random_model(layers: int) -> Model:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(default_model_folder(), num_hidden_layers=layers, vocab_size=VOCABULARY)
    return pw.wrap(AutoModelForCausalLM.from_config(config).eval())


def processor_seconds(model: Model, tokens: int) -> float:
    start = time.process_time()
    sweep(model, tokens)
    return time.process_time() - start


def sweep(model: Model, tokens: int) -> None:
    first, other, answer, distractor, *rest = random.Random(0).sample(range(VOCABULARY), tokens + 3)
    pair = pw.PromptPair([first, *rest], [other, *rest], answer, distractor)
    pw.Experiment(model, pair).sweep("resid_pre", progress=False)


def peak_memory() -> int:
    """The most memory that this process has held, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def print_row(*texts: str) -> None:
    """A line of a Markdown table."""
    print(f"| {' | '.join(texts)} |", flush=True)


if __name__ == "__main__":
    main()
