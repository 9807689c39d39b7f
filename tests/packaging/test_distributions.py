"""What is shipped: built without Node, installed without Node, with all that the widget needs inside."""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from patchwidget._version import __version__
from patchwidget.models.default_model import INSTALL

ROOT = Path(__file__).parents[2]
STATIC = "patchwidget/widget/static"
LIMIT = 115_000  # bytes: the bundle is copied into every saved notebook

USE = """
import sys
from pathlib import Path
import torch, transformers
import patchwidget as pw
from patchwidget.cli import examples_folder

assert Path(pw.__file__).is_relative_to(sys.prefix), pw.__file__
assert (examples_folder() / "quickstart.ipynb").is_relative_to(sys.prefix)
torch.manual_seed(0)
config = transformers.GPT2Config(n_layer=2, n_head=2, n_embd=8, vocab_size=20, n_positions=16)
model = pw.wrap(transformers.GPT2LMHeadModel(config).eval())
lab = pw.PatchLab(model, pw.PromptPair([1, 2, 3], [1, 4, 3], answer=5, distractor=6))
assert len(lab._esm) > 1000
assert ".pw" in lab._css
print(type(lab).__name__, pw.__version__)
"""


def without_node(folder: Path) -> dict[str, str]:
    """An environment with nothing on PATH but one folder."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PATH": str(folder)}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with both distributions; the wheel is built from the source distribution, with no Node on PATH."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT], check=True, env=without_node(Path(sys.prefix) / "bin")
    )
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    return built / f"patchwidget-{__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """A Python in which only the wheel is installed; what it depends on is lent from the environment of the tests."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--quiet", wheel], check=True)
    (site_packages,) = home.glob("lib/python*/site-packages")
    (site_packages / "lent.pth").write_text(sysconfig.get_path("purelib"))
    return python


def test_wheel_holds_the_front_end_and_the_examples(wheel):
    with zipfile.ZipFile(wheel) as archive:
        sizes = {file.filename: file.file_size for file in archive.infolist()}
    for widget in ("widget", "steer"):
        script, style = sizes[f"{STATIC}/{widget}.js"], sizes[f"{STATIC}/{widget}.css"]
        assert min(script, style) > 0
        assert script + style < LIMIT, widget
    assert "patchwidget/examples/quickstart.ipynb" in sizes
    assert "patchwidget/py.typed" in sizes
    assert not [name for name in sizes if name.startswith(("tests", "js", "benchmarks"))]


def test_source_distribution_holds_the_bundle_and_its_sources(built):
    with tarfile.open(built / f"patchwidget-{__version__}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        f"{STATIC}/widget.js",
        f"{STATIC}/steer.js",
        "js/src/lab/index.ts",
        "js/package-lock.json",
        "constraints.txt",
        "LICENSE",
    } <= names
    assert not [name for name in names if "node_modules" in name or "screenshots" in name]


def test_installed_wheel_works_without_node(python, tmp_path):
    done = subprocess.run([python, "-c", USE], cwd=tmp_path, env=without_node(python.parent), capture_output=True, text=True, check=False)
    assert done.stdout == f"PatchLab {__version__}\n", done.stderr


def test_installed_command(python, tmp_path):
    done = subprocess.run([python.parent / "patchwidget", "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"patchwidget {__version__}\n"


def test_the_model_is_named_the_same_everywhere():
    requirement = INSTALL.split()[-1]
    assert f"MODEL  := {requirement}\n" in (ROOT / "Makefile").read_text()


def test_constraints_pin_every_dependency_for_any_machine():
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split("\n") if "==" in line)
    assert pinned["torch"] == "2.13.0"
    assert not [name for name in pinned if name.startswith(("nvidia", "cuda"))]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = project["optional-dependencies"]
    for requirement in {*project["dependencies"], *(one for group in groups.values() for one in group)}:
        name = re.match(r"[\w.-]+", requirement)[0]
        assert name in pinned or name == "patchwidget", name
