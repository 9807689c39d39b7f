"""How well attribution ranks cells: against the exact grid, on the default model and the indirect-object pair.

python -m benchmarks.attribution            every site; a few minutes
python -m benchmarks.attribution --sites z q

For each site and method: Spearman's rank correlation of the estimated with the exact effects, over the cells that can have one (those from the first
token on that differs); how many exact cells, computed in the estimate's order, it takes until the ten with the truly largest effects are all among
them; and the processor time of the estimate and of the exact grid.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import spearmanr

import patchwidget as pw

SENTENCE = "When John and Mary went to the store, {} gave a drink to"
METHODS = {
    "atp": {},
    "atp*": {"method": "atp*"},
    "atp* (QK fix)": {"method": "atp*", "grad_drop": False},
    "atp* (GradDrop)": {"method": "atp*", "qk_fix": False},
    "ig, 5 steps": {"method": "ig", "steps": 5},
    "ig, 10 steps": {"method": "ig"},
}
TOP = 10


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare attribution with exact cells.")
    parser.add_argument("--sites", nargs="+", default=["resid_pre", "z", "q", "k", "mlp_post"])
    sites = parser.parse_args().sites
    pair = pw.PromptPair(SENTENCE.format("John"), SENTENCE.format("Mary"), " Mary", " John")
    experiment = pw.Experiment(pw.load(), pair)
    print("| site | cells | method | rank correlation | cells for the top 10 | estimate, s | exact, s |")
    print("|---|---:|---|---:|---:|---:|---:|")
    for site in sites:
        where: dict[str, Any] = few_neurons(experiment) if site == "mlp_post" else {}
        experiment.sweep(site, **{"layers": [0], **where}, progress=False)  # records what both need
        exact, exact_seconds = timed(lambda site=site, where=where: experiment.sweep(site, **where, progress=False))
        for name, how in METHODS.items():
            if "QK" in name and site not in ("q", "k"):
                continue
            estimate, seconds = timed(lambda site=site, where=where, how=how: experiment.attribute(site, **where, **how))
            found, true = (effects(experiment, result) for result in (estimate, exact))
            correlation, needed = float(spearmanr(found, true)[0]), cells_needed(found, true)  # type: ignore[arg-type]
            row = f"| {site} | {len(true)} | {name} | {correlation:.2f} | {needed} |"
            print(f"{row} {seconds:.2f} | {exact_seconds:.2f} |", flush=True)


def few_neurons(experiment: pw.Experiment) -> dict[str, list]:
    """The neurons of the layer whose MLP matters most, at the two positions where that is so."""
    found = experiment.sweep("mlp_out", progress=False).top(2)
    layers, positions = found["layer"].tolist(), found["pos"].tolist()
    return {"layers": layers[:1], "positions": [[position] for position in sorted(set(positions))]}


def effects(experiment: pw.Experiment, result: pw.PatchResult) -> np.ndarray:
    """The effects of the cells at or after the first token that differs."""
    first = experiment.pair.first_difference
    effect = result.effect
    return effect.isel(pos=effect["pos"].to_numpy().astype(int) >= first).to_numpy().ravel()


def cells_needed(found: np.ndarray, true: np.ndarray) -> int:
    """How many cells have to be computed in the order of the estimates until the true top ones are among them."""
    place = np.empty(len(found), int)
    place[np.argsort(-np.abs(found), kind="stable")] = np.arange(1, len(found) + 1)
    return int(place[np.argsort(-np.abs(true))[:TOP]].max())


def timed(work: Callable[[], pw.PatchResult]) -> tuple[pw.PatchResult, float]:
    """What came of it, and the processor's seconds."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


if __name__ == "__main__":
    main()
