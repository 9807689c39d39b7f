"""Kernels that run other versions of ipykernel than the environment's, in the same environment otherwise."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

VERSIONS = ("6.31.0", "7.3.0")
"""Beside the environment's own, 7.4. The first has no subshells, the second obeys the page about them, the third has its own mind."""

# what 6.31 needs and the environment's own does not
_ALSO = {"6.31.0": ("nest-asyncio",)}


def write_kernels(folder: Path) -> None:
    """Kernel specifications named `ipykernel-<version>`; each is fetched when its kernel is first started."""
    for version in VERSIONS:
        spec = folder / f"ipykernel-{version}"
        spec.mkdir(parents=True)
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        content = {"argv": command, "display_name": version, "language": "python", "env": {"PYTHONPATH": str(_folder_of(version))}}
        (spec / "kernel.json").write_text(json.dumps(content))


@cache
def fetch(version: str) -> None:
    """Install a version beside the environment, once; `make clean` removes it with the environment."""
    folder = _folder_of(version)
    if folder.exists():
        return
    packages = [f"ipykernel=={version}", *_ALSO.get(version, ())]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, *packages],
        env=os.environ | {"PIP_CONSTRAINT": ""},  # ours names the environment's own version
        check=True,
    )


def _folder_of(version: str) -> Path:
    return Path(sys.prefix) / "test-kernels" / f"ipykernel-{version}"
