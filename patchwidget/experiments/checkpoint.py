"""A sweep's numbers on disk while it runs, so that a killed process loses nothing but the batch under way.

The file begins with a line of JSON that says whose numbers these are. Each batch follows as two little-endian uint32 (how many cells, and the
CRC-32 of the rest), int64 places and float32 metrics. A batch that a crash cut short is the last one, and is dropped.
"""

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from patchwidget.errors import PatchError

from .files import plain, write_whole
from .layout import Layout
from .runs import Runs
from .sources import Source

FORMAT, VERSION = "patchwidget checkpoint", 1
_HEAD = struct.Struct("<II")


class Checkpoint:
    """The file of one sweep. It is made at once if it is not there.

    Args:
        owner: the sweep's fingerprint.
        metrics: how many numbers each cell has.

    Raises:
        PatchError: the file is of another sweep or something else, or it can't be read or written.
    """

    def __init__(self, path: Path, owner: str, metrics: int) -> None:
        self.path, self._metrics = path, metrics
        header = {"format": FORMAT, "version": VERSION, "sweep": owner}
        if not path.exists():
            write_whole(path, json.dumps(header).encode() + b"\n")
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


def fingerprint(runs: Runs, layout: Layout, source: Source | None) -> str:
    """What a sweep's numbers depend on, in 64 characters: weights, prompts, metrics (functions by their names), cells and source."""
    told = {
        "model": [runs.model.name, str(runs.model.dtype), _weights(runs)],
        "pairs": [
            [_tokens(pair.clean), _tokens(pair.corrupted), pair.answers, pair.distractors, pair.correspondence] for pair in runs.pairs
        ],
        "positions": [measure.positions for measure in runs.measures],
        "roles": [pair.roles for pair in runs.pairs],
        "asked": [list(runs.metrics), runs.direction, layout.site, layout.axes, {**layout.info, "code": ""}],
        "options": layout.info.get("code", "").rpartition("\nresult = ")[2],
        "source": hashlib.sha256(source.detach().cpu().float().numpy().tobytes()).hexdigest()
        if isinstance(source, Tensor)
        else repr(source),
    }
    return hashlib.sha256(json.dumps(plain(told), sort_keys=True).encode()).hexdigest()


def _weights(runs: Runs) -> str:
    """The first numbers of every weight."""
    digest = hashlib.sha256()
    for name, weight in runs.model.hf.named_parameters():
        digest.update(f"{name} {list(weight.shape)}".encode())
        digest.update(weight.detach().flatten()[:16].to("cpu", torch.float32).numpy().tobytes())
    return digest.hexdigest()


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
        raise PatchError(message, "Update patchwidget, or choose another file.")
    if header.get("sweep") != wanted["sweep"]:
        message = f"{path} belongs to another sweep: the model, the prompts, the metric or the cells are others."
        raise PatchError(message, "Ask for the same sweep, or choose another file.")
