"""Results on disk: one file with the values, the baselines, the checks and where they come from.

A file is a zip archive of `header.json` and one `.npy` array each for values and states. Nothing in it is ever executed.
"""

import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from patchwidget.errors import PatchError
from patchwidget.runs.checks import Check
from patchwidget.whole_files import write_whole

from .data import ResultData

_R = TypeVar("_R", bound=ResultData)

FORMAT, VERSION = "patchwidget result", 1
_HEADER = {"format", "version", "made", "results"}
_RESULT = {"dims", "coords", "name", "clean", "corrupted", "noise", "checks", "info"}


def save_result(result: ResultData, path: str | Path) -> Path:
    """Write a result, with its further metrics, into one file.

    It is written under another name and then renamed, so that after a crash the old file or the new one is there, whole.

    Raises:
        PatchError: the file can't be written.
    """
    path = Path(path)
    results = {"": result, **result.others}
    header = {
        "format": FORMAT,
        "version": VERSION,
        "made": {"time": datetime.now(UTC).isoformat(timespec="seconds"), **_versions()},
        "results": {name: _described(one) for name, one in results.items()},
    }
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("header.json", json.dumps(header, indent=1))
        for number, one in enumerate(results.values()):
            for what, array in (("values", one.values.to_numpy()), ("state", one.state)):
                file.writestr(f"{number}/{what}.npy", _npy(array))
    write_whole(path, archive.getvalue())
    return path


def read_result(path: str | Path, kind: type[_R]) -> _R:
    """Read what `save_result` wrote, as a result of the given class.

    Raises:
        PatchError: there is no such file, it is cut short or damaged, it is something else, or a newer patchwidget wrote it.
    """
    try:
        with zipfile.ZipFile(path) as file:
            header = _checked(json.loads(file.read("header.json")), path)
            results = {name: _read(kind, one, file, number, path) for number, (name, one) in enumerate(header["results"].items())}
    except OSError as error:
        raise PatchError(f"{path} can't be read: {error.strerror or error}.", "Check the path.") from error
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, EOFError, zlib.error) as error:
        raise PatchError(
            f"{path} is no whole file of a result: it is cut short, damaged or something else ({error}).", "Save it again."
        ) from error
    first = results.pop("")
    first.others.update(results)
    return first


def plain(value: Any) -> Any:
    """A value as JSON has it; what can't be written down (a function, a tensor) as it prints."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float | bool) else repr(value)


def _described(result: ResultData) -> dict[str, Any]:
    return {
        "dims": list(result.values.dims),
        "coords": {str(dim): result.values.coords[dim].to_numpy().tolist() for dim in result.values.dims},
        "name": result.values.name,
        "clean": _numbers(result.clean),
        "corrupted": _numbers(result.corrupted),
        "noise": float(result.noise),
        "checks": [asdict(check) for check in result.checks],
        "info": plain(result.info),
    }


def _read(kind: type[_R], described: dict[str, Any], file: zipfile.ZipFile, number: int, path: str | Path) -> _R:
    if strange := set(described) - _RESULT:
        raise PatchError(
            f"{path} has {', '.join(sorted(strange))}, which this patchwidget does not know.", "Update patchwidget to open it."
        )
    values, state = (np.load(BytesIO(file.read(f"{number}/{what}.npy")), allow_pickle=False) for what in ("values", "state"))
    array = xr.DataArray(values, dims=described["dims"], coords=described["coords"], name=described["name"])
    clean, corrupted = (
        xr.DataArray(x, dims="pair") if isinstance(x, list) else float(x) for x in (described["clean"], described["corrupted"])
    )
    checks = [Check(**check) for check in described["checks"]]
    return kind(array, clean, corrupted, state, checks, described["noise"], described["info"])


def _checked(header: Any, path: str | Path) -> dict[str, Any]:
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise PatchError(f"{path} is no result of patchwidget.", "Open a file that PatchResult.save wrote.")
    if header["version"] != VERSION:
        message = f"{path} is of version {header['version']} of the format, and this patchwidget knows version {VERSION}."
        raise PatchError(message, "Update patchwidget to open it.")
    if not isinstance(header["results"], dict) or "" not in header["results"]:
        raise ValueError("it holds no result")
    if strange := set(header) - _HEADER:
        raise PatchError(
            f"{path} has {', '.join(sorted(strange))}, which this patchwidget does not know.", "Update patchwidget to open it."
        )
    return header


def _numbers(baseline: float | xr.DataArray) -> float | list[float]:
    return baseline.to_numpy().tolist() if isinstance(baseline, xr.DataArray) else float(baseline)


def _npy(array: np.ndarray) -> bytes:
    content = BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in ("patchwidget", "torch", "transformers")}
