"""Steering vectors in files: safetensors with everything that is known of them, and GGUF control vectors for llama.cpp and repeng.

GGUF control vectors: `general.architecture` is "controlvector", `controlvector.model_hint` the model's type (such as "llama"),
`controlvector.layer_count` the number of tensors, and each tensor `direction.N`, float32 [d_model], is added to the residual stream that
leaves block N, blocks counted from 0. So `direction.N` is `resid_post` of layer N here. llama.cpp has none for block 0 and refuses
`direction.0`: the first one it takes is `direction.1`, the second block's. repeng counts in the same way.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from patchwidget.errors import PatchError
from patchwidget.whole_files import replacing

FORMAT = "patchwidget.steering_vector"
_ARCHITECTURE = "controlvector"
_FIRST_GGUF_LAYER = 1


@dataclass(frozen=True, eq=False)
class Stored:
    """What a file holds: the tensors by layer, and the rest as plain data."""

    vectors: Mapping[int, Tensor]
    about: Mapping[str, Any]


def write(path: Path, stored: Stored) -> None:
    """Write a `.safetensors` or `.gguf` file; at any moment the old one or the new one is there, whole.

    Raises:
        PatchError: the name ends otherwise, the format can't hold the vector, or the file can't be written.
    """
    writers = {".safetensors": _write_safetensors, ".gguf": _write_gguf}
    if path.suffix not in writers:
        raise PatchError(f"Steering vectors can't be saved as {path.name!r}.", "Let the name end in .safetensors or .gguf.")
    with replacing(path) as written:
        writers[path.suffix](written, stored)


def read(path: Path) -> Stored:
    """Read what `write`, repeng or llama.cpp's cvector-generator wrote. PatchError where it is not a steering vector."""
    if not path.is_file():
        raise PatchError(f"There is no file {str(path)!r}.", "Check the name and the folder.")
    try:
        with path.open("rb") as file:
            is_gguf = file.read(4) == b"GGUF"
    except OSError as error:
        raise PatchError(f"{path} can't be read: {error.strerror}.", "Choose another file.") from error
    stored = _read_gguf(path) if is_gguf else _read_safetensors(path)
    _check_about(stored.about, path)
    return stored


def _write_safetensors(path: Path, stored: Stored) -> None:
    tensors = {f"layer.{layer}": vector.contiguous() for layer, vector in stored.vectors.items()}
    metadata = {"format": FORMAT, **{name: json.dumps(value) for name, value in stored.about.items()}}
    save_file(tensors, path, metadata)


def _read_safetensors(path: Path) -> Stored:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()} if metadata.get("format") == FORMAT else {}  # noqa: SIM118
        about = {name: json.loads(value) for name, value in metadata.items() if name != "format"}
    except (SafetensorError, ValueError) as error:
        raise _not_a_vector(path, "it is neither a GGUF nor a readable safetensors file") from error
    if not tensors:
        raise _not_a_vector(path, f"its metadata does not say format={FORMAT}")
    return Stored({_layer_of(name, path): tensor for name, tensor in tensors.items()}, about)


def _write_gguf(path: Path, stored: Stored) -> None:
    from gguf import GGUFWriter

    directions = {_gguf_layer(str(stored.about["site"]), layer): vector for layer, vector in stored.vectors.items()}
    if min(directions) < _FIRST_GGUF_LAYER:
        raise PatchError(
            "llama.cpp's control vectors begin with the second block, and this vector steers the first one's output.",
            "Save it as .safetensors, or take a later layer.",
        )
    if any(vector.ndim != 1 for vector in directions.values()):
        raise PatchError("GGUF control vectors hold one vector per layer, and this one has one per position.", "Save it as .safetensors.")
    writer = GGUFWriter(path, _ARCHITECTURE)
    provenance = stored.about.get("provenance", {})
    writer.add_string(f"{_ARCHITECTURE}.model_hint", str(provenance.get("model_type") or provenance.get("model") or "unknown"))
    writer.add_uint32(f"{_ARCHITECTURE}.layer_count", len(directions))
    writer.add_string(FORMAT, json.dumps(dict(stored.about)))  # readers of control vectors pass over keys they don't know
    for layer, vector in directions.items():
        writer.add_tensor(f"direction.{layer}", vector.numpy().astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _read_gguf(path: Path) -> Stored:
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
    except (ValueError, IndexError, KeyError) as error:
        raise _not_a_vector(path, "the GGUF file is damaged") from error
    if _text(reader, "general.architecture") != _ARCHITECTURE:
        raise _not_a_vector(path, f"its architecture is {_text(reader, 'general.architecture')!r}, not {_ARCHITECTURE!r}")
    directions = {
        _layer_of(tensor.name, path): torch.from_numpy(np.array(tensor.data, dtype=np.float32))
        for tensor in reader.tensors
        if tensor.name.startswith("direction.")
    }
    if not directions:
        raise _not_a_vector(path, "it holds no direction")
    try:
        ours = json.loads(_text(reader, FORMAT) or "{}")
    except ValueError as error:
        raise _not_a_vector(path, "what it says of itself is damaged") from error
    # what was written here goes back to the site it came from
    about = ours or {
        "site": "resid_post",
        "method": "control vector",
        "provenance": {"model_type": _text(reader, f"{_ARCHITECTURE}.model_hint"), "file": path.name},
    }
    shift = 1 if isinstance(about, Mapping) and about.get("site") == "resid_pre" else 0
    return Stored({layer + shift: vector for layer, vector in directions.items()}, about)


def _check_about(about: Any, path: Path) -> None:
    """Raise PatchError where what a file says of its vector is not as `write` puts it."""
    kinds = {"site": str, "method": str, "token_rule": str | list, "residual_norms": Mapping, "provenance": Mapping}
    known = about if isinstance(about, Mapping) else {"site": None}
    strange = [name for name, kind in kinds.items() if name in known and not isinstance(known[name], kind)]
    if strange:
        raise _not_a_vector(path, f"what it says of itself is damaged ({', '.join(strange)})")
    norms = about.get("residual_norms", {})
    if not all(str(layer).isdigit() and isinstance(norm, int | float) for layer, norm in norms.items()):
        raise _not_a_vector(path, "what it says of itself is damaged (residual_norms)")


def _gguf_layer(site: str, layer: int) -> int:
    """The number of the block after which a direction is added."""
    if site not in ("resid_pre", "resid_post"):
        raise PatchError(
            f"GGUF control vectors are added to the residual stream between blocks, and this one lives at {site}.",
            "Save it as .safetensors.",
        )
    return layer if site == "resid_post" else layer - 1


def _layer_of(name: str, path: Path) -> int:
    number = name.partition(".")[2]
    if not number.isdigit():
        raise _not_a_vector(path, f"its tensor {name!r} names no layer")
    return int(number)


def _text(reader: Any, key: str) -> str | None:
    field = reader.get_field(key)
    return str(bytes(field.parts[-1]), "utf-8") if field is not None and len(field.parts) else None


def _not_a_vector(path: Path, why: str) -> PatchError:
    return PatchError(f"{path.name} is not a steering vector: {why}.", "SteeringVector.save and repeng's export_gguf write such files.")
