"""Where the peers run: an environment of their own, and the default model as transformers 4 reads it. Made once, in the cache."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from filelock import FileLock

from patchwidget.models.default_model import default_model_folder
from patchwidget.models.file_cache import cache_dir, made_once

REQUIREMENTS = Path(__file__).with_name("requirements.txt")


class PeersMissingError(Exception):
    """The peers can't be run here; the text tells why."""


def peers_python() -> Path:
    """The Python that has the peers, installed now if it is not there yet: some minutes and 1.5 GB.

    Raises PeersMissingError with pip's last words where they can't be installed.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache_dir() / f"benchmark-peers-{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:8]}-{version}"
    python, stamp = folder / "bin" / "python", folder / "installed"
    if stamp.exists():
        return python
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(folder.name + ".lock")):
            if not stamp.exists():
                print(f"Installing the peers into {folder}, this once.", flush=True)
                _install(folder, python)
                stamp.touch()
    except (OSError, subprocess.CalledProcessError) as error:
        raise PeersMissingError(f"{folder} can't be made: {error}") from error
    return python


def peers_model() -> Path:
    """A folder with the default model: same weights and tokenizer, with the configuration's names of transformers 4."""
    source = default_model_folder()
    return made_once(cache_dir() / f"{source.name}-for-peers", lambda folder: _export(source, folder))


def _install(folder: Path, python: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # what a broken install left
    venv.create(folder, with_pip=True)
    # constraints are for patchwidget's own environment
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"))}
    command = [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(REQUIREMENTS)]
    done = subprocess.run(command, env=own, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeersMissingError("pip could not install them: " + " ".join(done.stderr.strip().splitlines()[-2:]))


def _export(source: Path, folder: Path) -> None:
    for file in ["model.safetensors", "tokenizer.json", "generation_config.json"]:
        _link(source / file, folder / file)
    config = json.loads((source / "config.json").read_text())
    if "rope_parameters" in config:  # as transformers 5 writes it
        config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
        config["torch_dtype"] = config.pop("dtype")
    tokenizer = json.loads((source / "tokenizer_config.json").read_text())
    tokenizer["tokenizer_class"] = "PreTrainedTokenizerFast"
    for name, content in {"config.json": config, "tokenizer_config.json": tokenizer}.items():
        (folder / name).write_text(json.dumps(content, indent=2))


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
