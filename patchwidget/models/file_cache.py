"""Folders of files that are costly to make: made once, whole or not at all, and checked each time they are asked for."""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_dir

MANIFEST = "manifest.json"

log = logging.getLogger(__name__)


def cache_dir() -> Path:
    """Where patchwidget keeps what it has made: the user's cache, or the folder that PATCHWIDGET_CACHE names."""
    return Path(os.environ.get("PATCHWIDGET_CACHE") or user_cache_dir("patchwidget"))


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return `folder`, filled by `make(temporary_folder)` if it is not there or is damaged.

    Two processes that ask at the same time make it once. A process that dies while making it leaves nothing that counts.
    Raises OSError where the files cannot be written, and whatever `make` raises.
    """
    if is_intact(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(folder.name + ".lock")):
        if not is_intact(folder):
            _make(folder, make)
    return folder


def is_intact(folder: Path) -> bool:
    """Whether every file of the folder's manifest is there with the content it was made with."""
    try:
        digests = json.loads((folder / MANIFEST).read_text())
        return all(sha256(folder / name) == digest for name, digest in digests.items())
    except (OSError, ValueError):
        return False


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make(folder: Path, make: Callable[[Path], None]) -> None:
    if folder.exists():
        log.warning("%s is damaged and is made again", folder)
    # also what a process left that was killed here: no other one can be at it, we hold the lock
    for leftover in [folder, *folder.parent.glob(f"{folder.name}.*.tmp")]:
        shutil.rmtree(leftover, ignore_errors=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=folder.name + ".", suffix=".tmp"))
    try:
        make(made)
        digests = {path.name: sha256(path) for path in sorted(made.iterdir())}
        (made / MANIFEST).write_text(json.dumps(digests, indent=1))
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
