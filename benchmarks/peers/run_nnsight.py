"""nnsight: the usual one trace for each cell, or several cells as invokes that share a trace, which its README calls batching.

Runs in the peers' environment: python -m benchmarks.peers.run_nnsight FOLDER CELLS_PER_TRACE
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import nnsight  # pyright: ignore[reportMissingImports]
import torch

from benchmarks.peers.tasks import PLACES, Cell, Measured, Task, measure, serve


def main() -> None:
    folder, size = sys.argv[1:]
    serve(lambda: start(folder, int(size)))


def start(folder: str, size: int) -> Callable[[Task], Measured]:
    torch.set_grad_enabled(False)
    model = nnsight.TransformersModel(folder, task="text-generation", device_map="cpu", dtype=torch.float32, dispatch=True)
    patch = one_trace_each if size == 1 else partial(invokes_in_a_trace, size=size)
    return partial(measure, partial(record, model), partial(patch, model))


def record(model: Any, task: Task) -> dict[int, torch.Tensor]:
    with model.trace(torch.tensor([task.clean])):
        saved = nnsight.save({})
        for layer in task.layers:
            saved[layer] = get(module_of(model, task, layer), task)
    return saved


def one_trace_each(model: Any, task: Task, source: dict[int, torch.Tensor]) -> list[float]:
    values = []
    for cell in task.cells:
        with model.trace(torch.tensor([task.corrupted])):
            put(module_of(model, task, cell.layer), task, cell, source)
            value = task.metric(model.output.logits).save()
        values.append(value.item())
    return values


def invokes_in_a_trace(model: Any, task: Task, source: dict[int, torch.Tensor], size: int) -> list[float]:
    values = []
    for begin in range(0, len(task.cells), size):
        with model.trace() as tracer:
            found = nnsight.save([])
            for cell in task.cells[begin : begin + size]:
                with tracer.invoke(torch.tensor([task.corrupted])):
                    put(module_of(model, task, cell.layer), task, cell, source)
                    found.append(task.metric(model.output.logits))
        values += [value.item() for value in found]
    return values


def module_of(model: Any, task: Task, layer: int) -> Any:
    return model.get(PLACES[task.site][0].format(layer))


def get(module: Any, task: Task) -> torch.Tensor:
    return module.input if PLACES[task.site][1] == "input" else module.output


def put(module: Any, task: Task, cell: Cell, source: dict[int, torch.Tensor]) -> None:
    index = task.index(cell)
    changed = get(module, task).clone()
    changed[index] = source[cell.layer][index]
    if PLACES[task.site][1] == "input":
        module.input = changed
    else:
        module.output = changed


if __name__ == "__main__":
    main()
