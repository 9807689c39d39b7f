"""A sweep's numbers on disk while it runs, so that a killed process loses nothing but the batch under way.

The file begins with a line of JSON that says whose numbers these are: digests of all they depend on. They are taken anew each time the file is
opened, from the model and the functions as they are then, so that another model's numbers are never gone on with. Each batch follows as two
little-endian uint32 (how many cells, and the CRC-32 of the rest), int64 places and float32 metrics. A batch that a crash cut short is the last
one, and is dropped.
"""

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from patchwidget.errors import PatchError
from patchwidget.experiments.results.result_files import plain
from patchwidget.models.digest import model_digest
from patchwidget.models.hooks import foreign_forward
from patchwidget.runs.pair_runs import PairRuns
from patchwidget.whole_files import check_plain, write_whole

from .identity import described
from .result_layout import Layout
from .sources import Source

FORMAT, VERSION = "patchwidget checkpoint", 2
_HEAD = struct.Struct("<II")


class Checkpoint:
    """The file of one sweep. It is made at once if it is not there.

    Args:
        owner: the sweep's `fingerprint`.
        metrics: how many numbers each cell has.

    Raises:
        PatchError: the file is of another sweep or something else, or it can't be read or written.
    """

    def __init__(self, path: Path, owner: Mapping[str, str], metrics: int) -> None:
        self.path, self._metrics = path, metrics
        header = {"format": FORMAT, "version": VERSION, "sweep": dict(owner)}
        if not path.exists():
            write_whole(path, json.dumps(header).encode() + b"\n")
        check_plain(path)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise PatchError(f"{path} can't be read: {error.strerror}.", "Choose another file.") from error
        first, _, self._rest = content.partition(b"\n")
        _check_owner(path, first, header)
        self._good = len(content) - len(self._rest)  # up to here it is whole

    def batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """What is in it: places int64 [n], values float32 [n, metrics]. What a crash cut short is taken off the file."""
        each, at = 8 + 4 * self._metrics, 0
        while at + _HEAD.size <= len(self._rest):
            n, crc = _HEAD.unpack_from(self._rest, at)
            body = self._rest[at + _HEAD.size : at + _HEAD.size + n * each]
            if len(body) < n * each or zlib.crc32(body) != crc:
                break
            at += _HEAD.size + n * each
            yield np.frombuffer(body[: 8 * n], "<i8"), np.frombuffer(body[8 * n :], "<f4").reshape(n, self._metrics)
        os.truncate(self.path, self._good + at)

    def append(self, index: np.ndarray, values: np.ndarray) -> None:
        """Write a batch to the end."""
        body = index.astype("<i8").tobytes() + values.astype("<f4").tobytes()
        try:
            with self.path.open("ab") as file:
                file.write(_HEAD.pack(len(index), zlib.crc32(body)) + body)
        except OSError as error:
            raise PatchError(
                f"{self.path} can't be written: {error.strerror}.", "The batches before are in it; make room and go on."
            ) from error


def fingerprint(runs: PairRuns, layout: Layout, source: Source | None) -> dict[str, str]:
    """What a sweep's numbers depend on, each part in 64 characters: the model by every number it computes with, the prompts, the metrics
    (functions by what they compute), and which cells are given what.

    It is taken anew from the model as it is.
    """
    told = {
        "the model": [runs.model.name, model_digest(runs.model.hf), _own_functions(runs.model.hf)],
        "the prompts": [
            [[_tokens(pair.clean), _tokens(pair.corrupted), pair.answers, pair.distractors, pair.correspondence] for pair in runs.pairs],
            [measure.positions for measure in runs.measures],
            [pair.roles for pair in runs.pairs],
        ],
        "the metrics": described(runs.metrics),
        "the cells": [
            runs.direction,
            layout.site,
            layout.axes,
            {**layout.info, "code": ""},
            layout.info.get("code", "").rpartition("\nresult = ")[2],
        ],
        "the source": described(source),
    }
    return {part: hashlib.sha256(json.dumps(plain(value), sort_keys=True).encode()).hexdigest() for part, value in told.items()}


def _own_functions(hf: nn.Module) -> list:
    """The user's own hooks, and functions in the place of a module's `forward`, which are part of what the model computes."""
    own = [
        (name, kind, function)
        for name, module in hf.named_modules()
        for kind, functions in {
            "_forward_pre_hooks": module._forward_pre_hooks.values(),  # noqa: SLF001 - torch has no public way to list them
            "_forward_hooks": module._forward_hooks.values(),  # noqa: SLF001
            "forward": [foreign_forward(module)],
        }.items()
        for function in functions
    ]
    return [[name, kind, described(function)] for name, kind, function in own if function is not None]


def _tokens(prompt: list[int] | Tensor) -> list:
    return prompt.tolist() if isinstance(prompt, Tensor) else list(prompt)


def _check_owner(path: Path, line: bytes, wanted: dict) -> None:
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise PatchError(f"{path} is no checkpoint of a sweep.", "Choose a file that is not there yet.")
    if header.get("version") != VERSION:
        message = f"{path} is a checkpoint of version {header.get('version')}, and this patchwidget knows version {VERSION}."
        raise PatchError(message, "Choose another file, or use the patchwidget that wrote it.")
    if header.get("sweep") != wanted["sweep"]:
        others = [part for part, digest in wanted["sweep"].items() if header.get("sweep", {}).get(part) != digest]
        message = f"{path} belongs to another sweep: it differs in {' and '.join(others)}."
        raise PatchError(message, "Ask for the same sweep, or choose another file.")
