"""What is measured, in words that every way to patch understands, and how a peer is asked for it: a JSON line in, a JSON line out.

Only the standard library and torch are imported here: this runs in our environment and in the peers'.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

# where each site is in a Llama: the module of a layer, and which side of it
PLACES = {
    "resid_pre": ("model.layers.{}", "input"),
    "z": ("model.layers.{}.self_attn.o_proj", "input"),
    "q": ("model.layers.{}.self_attn.q_proj", "output"),
    "k": ("model.layers.{}.self_attn.k_proj", "output"),
    "v": ("model.layers.{}.self_attn.v_proj", "output"),
    "mlp_post": ("model.layers.{}.mlp.down_proj", "input"),
}


class Cell(NamedTuple):
    """One patch: at a position, or at all of them (None); of one head or neuron, or of the whole width (None)."""

    layer: int
    pos: int | None
    part: int | None


@dataclass(frozen=True)
class Task:
    """Cells of a sweep: the clean run's activations go into the corrupted run, and the logits' difference is read at the last position.

    Attributes:
        clean, corrupted: token ids.
        width: how many numbers a head (d_head) or a neuron (1) has at this site; 0 where it is not divided.
    """

    site: str
    clean: list[int]
    corrupted: list[int]
    answer: int
    distractor: int
    width: int
    cells: list[Cell]

    @property
    def layers(self) -> list[int]:
        return sorted({cell.layer for cell in self.cells})

    def index(self, cell: Cell) -> tuple[slice, slice | int, slice]:
        """Where the cell is in the site's tensor [batch, pos, features], as Hugging Face's modules have it."""
        pos = slice(None) if cell.pos is None else cell.pos
        part = slice(None) if cell.part is None else slice(cell.part * self.width, (cell.part + 1) * self.width)
        return slice(None), pos, part

    def metric(self, logits: Any) -> Any:
        """Of logits [batch, pos, vocabulary]: a scalar tensor."""
        return logits[0, -1, self.answer] - logits[0, -1, self.distractor]

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(line: str) -> "Task":
        fields = json.loads(line)
        return Task(**{**fields, "cells": [Cell(*cell) for cell in fields["cells"]]})


@dataclass(frozen=True)
class Measured:
    """Seconds to record the clean run, seconds for all the cells, and the cells' values in their order."""

    recording: float
    patching: float
    values: list[float]


def measure(record: Callable[[Task], Any], patch: Callable[[Task, Any], list[float]], task: Task) -> Measured:
    """Time both parts."""
    start = time.perf_counter()
    recorded = record(task)
    between = time.perf_counter()
    values = patch(task, recorded)
    return Measured(between - start, time.perf_counter() - between, values)


def serve(start: Callable[[], Callable[[Task], Measured]]) -> None:
    """Make the peer ready, then answer each task on standard input with a line on standard output, which nothing else may write to."""
    out, sys.stdout = sys.stdout, sys.stderr
    answer = start()
    for line in sys.stdin:
        try:
            reply = asdict(answer(Task.from_json(line)))
        except Exception as error:  # noqa: BLE001 - whatever a peer can't do belongs into the table
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=out, flush=True)
