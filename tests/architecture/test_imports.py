"""Imports go one way, make no circles, and keep the widgets apart: the contracts in pyproject.toml, and what happens to a tree that breaks them."""

import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
# `lint-imports`, without what it would leave behind
LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"

ONE_WAY, NO_CIRCLES = "Imports go one way", "No circles"
WIRE, DOOR = "The wire and the hosts know no widget", "The lab opens a steering panel by one door"

LATE = "def late():\n    from {} import {}\n"
FOR_TYPES = "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from {} import {}\n"


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LINT], cwd=root, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False
    )


def reach_up(graph: grimp.ImportGraph) -> list[tuple[str, str]]:
    """Imports of a folder by what lies in it: a circle which the contracts, that compare what lies side by side, do not see."""
    edges = [(importer, imported) for importer in graph.modules for imported in graph.find_modules_directly_imported_by(importer)]
    return [(importer, imported) for importer, imported in edges if importer.startswith(f"{imported}.")]


def test_the_package_keeps_its_contracts():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("files", "broken"),
    [
        pytest.param({"models/planted.py": "from patchwidget.engine.sites import SITES\n"}, ONE_WAY, id="upward"),
        pytest.param({"models/planted.py": LATE.format("patchwidget.prompts.pair", "PromptPair")}, ONE_WAY, id="upward, inside a function"),
        pytest.param({"engine/planted.py": FOR_TYPES.format("patchwidget.widget", "PatchLab")}, ONE_WAY, id="upward, for the type checker"),
        pytest.param({"planted/__init__.py": ""}, ONE_WAY, id="a folder without a place"),
        pytest.param(
            {"engine/planted.py": "from . import other\n", "engine/other.py": LATE.format(".planted", "late")}, NO_CIRCLES, id="circle"
        ),
        pytest.param(
            {"engine/one/__init__.py": "", "engine/one/a.py": "from patchwidget.engine.two import b\n", "engine/one/c.py": ""}
            | {"engine/two/__init__.py": "", "engine/two/b.py": "", "engine/two/d.py": "from patchwidget.engine.one import c\n"},
            NO_CIRCLES,
            id="circle of folders",
        ),
        pytest.param({"widget/transport/planted.py": "from patchwidget.widget.lab import views\n"}, WIRE, id="the wire knows a widget"),
        pytest.param({"widget/hosts/planted.py": "from patchwidget.widget.steer import rows\n"}, WIRE, id="a host knows a widget"),
        pytest.param({"widget/steer/planted.py": "from patchwidget.widget.lab import views\n"}, WIRE, id="steer knows lab"),
        pytest.param({"widget/lab/planted.py": "from patchwidget.widget.steer import rows\n"}, DOOR, id="lab knows steer beside the door"),
        pytest.param({"widget/circuit/__init__.py": ""}, WIRE, id="a widget without a place"),
    ],
)
def test_a_tree_that_breaks_a_contract_fails(tmp_path, files, broken):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "patchwidget", tmp_path / "patchwidget", ignore=shutil.ignore_patterns("__pycache__", "static"))
    for name, text in files.items():
        path = tmp_path / "patchwidget" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    done = lint(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{broken} BROKEN" in done.stdout


def test_nothing_imports_the_folder_that_it_lies_in():
    graph = grimp.build_graph("patchwidget", cache_dir=None)
    assert reach_up(graph) == []
    graph.add_import(importer="patchwidget.engine.sites", imported="patchwidget.engine")
    assert reach_up(graph) == [("patchwidget.engine.sites", "patchwidget.engine")]
