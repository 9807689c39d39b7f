"""The usual way without a library: for each cell register a hook, run the whole model, read the metric, remove the hook.

Runs in patchwidget's environment, on transformers alone: python -m benchmarks.peers.run_hooked FOLDER
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from benchmarks.peers.tasks import PLACES, Measured, Task, measure, serve


def main() -> None:
    serve(lambda: start(sys.argv[1]))


def start(folder: str) -> Callable[[Task], Measured]:
    torch.set_grad_enabled(False)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return partial(measure, partial(record, model), partial(patch, model))


def record(model: nn.Module, task: Task) -> dict[int, Tensor]:
    source: dict[int, Tensor] = {}
    handles = [hook(model, task, layer, partial(source.__setitem__, layer)) for layer in task.layers]
    model(torch.tensor([task.clean]))
    for handle in handles:
        handle.remove()
    return source


def patch(model: nn.Module, task: Task, source: dict[int, Tensor]) -> list[float]:
    corrupted = torch.tensor([task.corrupted])
    values = []
    for cell in task.cells:
        handle = hook(model, task, cell.layer, lambda value, cell=cell: put(value, task.index(cell), source[cell.layer]))
        values.append(task.metric(model(corrupted).logits).item())
        handle.remove()
    return values


def put(value: Tensor, index: tuple[slice | int, ...], source: Tensor) -> Tensor:
    value = value.clone()
    value[index] = source[index]
    return value


def hook(model: nn.Module, task: Task, layer: int, change: Callable[[Tensor], Tensor | None]) -> Any:
    """Have the site's tensor go through `change`, which may leave it as it is."""
    path, side = PLACES[task.site]
    module = model.get_submodule(path.format(layer))

    def before(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        changed = change(args[0])
        return None if changed is None else (changed, *args[1:])

    def after(module: nn.Module, args: tuple[Tensor, ...], output: Any) -> Tensor | None:
        return change(output)

    return module.register_forward_pre_hook(before) if side == "input" else module.register_forward_hook(after)


if __name__ == "__main__":
    main()
