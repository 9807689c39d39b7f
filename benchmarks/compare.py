"""This engine beside the other ways to patch, in one run and one table: python -m benchmarks.compare

One hooked forward per cell, nnsight and TransformerLens patch the same cells with the same weights, each in a process of its own. They
take minutes for a sweep, so they measure a sample of its cells, and the seconds are scaled up by the number of cells; --sample 0 has them
do every cell. Machines are noisy: all ways take turns, several times, and the best turn of each counts. Look at the ratios.
"""

import argparse
import platform
import random
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import torch

import patchwidget as pw
from benchmarks.arithmetic import operations
from benchmarks.peers.client import PEERS, Peer, PeerError, start_hooked, start_peers
from benchmarks.peers.environment import PeersMissingError
from benchmarks.peers.tasks import Cell, Task
from benchmarks.sweep import PAIRS, matrix_product_rate, timed
from patchwidget.errors import SiteError
from patchwidget.model import Model

PARTS = ("head", "kv_head", "neuron")
NOTE = "~ scaled from a sample of the cells. (Nx): N times this engine's seconds."


@dataclass(frozen=True)
class Row:
    """A sweep of the table."""

    name: str
    site: str
    options: Mapping[str, Any] = field(default_factory=dict)
    pair: str = "indirect object"


@dataclass
class Best:
    """The best of one way's turns: seconds for the whole sweep, and how far its numbers are from this engine's at most."""

    seconds: float = float("inf")
    difference: float = 0.0
    scaled: bool = False
    trouble: str = ""

    def take_turn(self, way: Peer, task: Task, chosen: list[int], expected: np.ndarray) -> None:
        if self.trouble:
            return
        try:
            measured = way.measure(replace(task, cells=[task.cells[i] for i in chosen]))
        except PeerError as error:
            self.trouble = str(error)
            return
        self.scaled = len(chosen) < len(task.cells)
        self.seconds = min(self.seconds, measured.recording + measured.patching * len(task.cells) / len(chosen))
        self.difference = float(np.abs(expected[chosen] - measured.values).max())

    def text(self, ours: float) -> str:
        return self.trouble or f"{'~' if self.scaled else ''}{self.seconds:.1f} s ({self.seconds / ours:.0f}x)"


def main() -> None:
    options = arguments()
    model = pw.load()
    table = rows(model)
    unknown = ", ".join(set(options.rows or ()) - set(table))
    if unknown:
        raise SystemExit(f"There is no row {unknown}. Rows are: {', '.join(table)}.")
    ways, missing = start_ways(skip_peers=options.skip_peers)
    with ExitStack() as stack:
        for way in ways.values():
            stack.enter_context(way)
        print(f"{model}\n{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n{NOTE}\n")
        print_row("sweep", "cells", "this engine", "share of the rate", *ways, "largest difference")
        print_row(*["---"] * (5 + len(ways)))
        for name in options.rows or table:
            print_row(*measured_row(model, table[name], ways, options.turns, options.sample))
    print(missing)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time this engine beside hooked forwards, nnsight and TransformerLens.")
    parser.add_argument("--rows", nargs="+", help="which sweeps, by short name; all by default")
    parser.add_argument("--sample", type=int, default=60, help="how many cells of a sweep the other ways measure; 0: every one")
    parser.add_argument("--turns", type=int, default=3, help="how often each way is measured; its best turn counts")
    parser.add_argument("--skip-peers", action="store_true", help="leave out nnsight and TransformerLens")
    return parser.parse_args()


def rows(model: Model) -> dict[str, Row]:
    """By the short name that --rows takes."""
    layer, position = model.n_layers // 3, pw.Experiment(model, PAIRS["indirect object"]).pair.first_difference
    together = {"positions": "all"}
    return {
        "resid_pre": Row("resid_pre", "resid_pre"),
        "first_token": Row("resid_pre, first token differs", "resid_pre", pair="first token differs"),
        "z": Row("z, all positions", "z", together),
        "z_each": Row("z, each position", "z"),
        "q": Row("q, all positions", "q", together),
        "k": Row("k, all positions", "k", together),
        "v": Row("v, all positions", "v", together),
        "mlp_post": Row(f"mlp_post, layer {layer}, position {position}", "mlp_post", {"layers": [layer], "positions": [position]}),
    }


def start_ways(*, skip_peers: bool) -> tuple[dict[str, Peer], str]:
    """The other ways, running, by name; and a sentence on those that can't."""
    ways = {"one hooked forward per cell": start_hooked()}
    if skip_peers:
        return ways, ""
    try:
        return ways | start_peers(), ""
    except PeersMissingError as error:
        return ways, f"\nNot measured: {', '.join(PEERS)}. {error}"


def measured_row(model: Model, row: Row, ways: dict[str, Peer], turns: int, sample: int) -> list[str]:
    """The texts of a row."""
    try:
        task = task_of(model, row)
    except SiteError:
        return [row.name, "", "not in this engine yet", *[""] * (len(ways) + 2)]
    for way in ways.values():
        with suppress(PeerError):
            way.measure(replace(task, cells=task.cells[:1]))  # until it is loaded and warm
    chosen = sorted(random.Random(0).sample(range(len(task.cells)), min(sample or len(task.cells), len(task.cells))))
    seconds, rates, best = [], [], {name: Best() for name in ways}
    for _ in range(turns):
        rates.append(matrix_product_rate(model.device))
        took, values = timed(lambda: sweep_afresh(model, row))
        seconds.append(took)
        for name, way in ways.items():
            best[name].take_turn(way, task, chosen, values)
    ours, rate = min(seconds), max(rates)
    return [
        row.name,
        str(len(task.cells)),
        f"{ours:.2f} s",
        f"{operations(model, task) / ours / rate:.0%} of {rate / 1e9:.0f} GFLOP/s",
        *[turn.text(ours) for turn in best.values()],
        f"{max(turn.difference for turn in best.values()):.0e}",
    ]


def sweep_afresh(model: Model, row: Row) -> np.ndarray:
    """The whole of a sweep: both runs recorded, the cells, the checks. Values in C order."""
    experiment = pw.Experiment(model, PAIRS[row.pair])
    return experiment.sweep(row.site, progress=False, **row.options).values.to_numpy().ravel()


def task_of(model: Model, row: Row) -> Task:
    """The row as the other ways are told it, its cells in C order. Raises SiteError where this engine can't do it."""
    experiment = pw.Experiment(model, PAIRS[row.pair])
    sweep = experiment.start(row.site, **row.options)
    sweep.close()
    positions = row.options.get("positions", "each")
    fixed = {"pos": positions[0]} if isinstance(positions, list) else {}
    points = [fixed | dict(zip(sweep.dims, point, strict=True)) for point in product(*(sweep.coords[dim] for dim in sweep.dims))]
    return Task(
        row.site,
        [int(token) for token in experiment.pair.clean],
        [int(token) for token in experiment.pair.corrupted],
        experiment.pair.answers[0],
        experiment.pair.distractors[0],
        {"resid_pre": 0, "mlp_post": 1}.get(row.site, model.d_head),
        [Cell(point["layer"], point.get("pos"), next((point[dim] for dim in PARTS if dim in point), None)) for point in points],
    )


def print_row(*texts: str) -> None:
    """A line of a Markdown table."""
    print(f"| {' | '.join(texts)} |", flush=True)


if __name__ == "__main__":
    main()
