"""Files that are written whole or not at all."""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from patchwidget.errors import PatchError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that at any moment the old one or the new one is there, whole."""
    with replacing(path) as written:
        written.write_bytes(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives an empty file beside `path`, to be written; when all is well it takes the place of `path`, at once.

    Where `path` is a link, the file that it points to is replaced. A new file has the permissions that the user's umask leaves, and one that
    was there keeps its own.

    Raises:
        PatchError: the file can't be written, is write-protected, or is no plain file.
    """
    target = Path(os.path.realpath(path))
    check_plain(target)
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
    if mode is not None and not mode & 0o222:
        raise PatchError(f"{path} is write-protected.", "Choose another file.")
    written: Path | None = None
    try:
        new = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        with new.open("xb"):
            written = new
        yield written
        if mode is not None:
            written.chmod(mode)
        with written.open("rb+") as file:
            os.fsync(file.fileno())
        written.replace(target)
    except OSError as error:
        raise PatchError(f"{path} can't be written: {error.strerror or error}.", "Choose a folder that exists and has room.") from error
    finally:
        if written is not None:
            written.unlink(missing_ok=True)


def check_plain(path: Path) -> None:
    """Raise PatchError where something is there that is no file: a folder or a device."""
    if path.exists() and not path.is_file():
        raise PatchError(f"{path} is no plain file.", "Choose another name.")
