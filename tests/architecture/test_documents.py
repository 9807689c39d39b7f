"""What README and CONTRIBUTING name is there: files, folders, classes and functions."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ["patchwidget", "js", "tests", "benchmarks", "scripts", "examples", "docs", ".github"]
FILES = [path.relative_to(ROOT) for path in (*ROOT.glob("*"), *(path for name in FOLDERS for path in (ROOT / name).rglob("*")))]
FILES = ["/" + path.as_posix() for path in FILES if not {"node_modules", "__pycache__", "static"} & set(path.parts)]
SOURCES = "\n".join(
    (ROOT / name[1:]).read_text() for name in FILES if name.startswith(("/patchwidget", "/js/src")) and name.endswith((".py", ".ts"))
)

FILE = re.compile(r"(?<![\w<>*/.-])[\w./-]*\w\.(?:py|ts|css|mjs|md|json|toml|ipynb|cff)\b")
FOLDER = re.compile(r"(?<![\w<>*/.-])(?:[\w-]+/)+(?![\w.*<])")
MEMBER = re.compile(r"\b([A-Z][a-z]\w+)\.(_?[a-z]\w+)\b(?!\.)")
CALL = re.compile(r"(?<![.\w])(\w+)\(\)")


def text(name: str) -> str:
    return (ROOT / name).read_text()


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_files_and_folders_are_there(document):
    named = {*FILE.findall(text(document)), *(folder.rstrip("/") for folder in FOLDER.findall(text(document)))}
    assert len(named) > 50
    lost = {name for name in named if not any(file.endswith("/" + name) for file in FILES)}
    assert lost - {"patchwidget/widget/static", "static", "node_modules"} == set()


def test_what_the_walks_call_is_there():
    walks = text("README.md").partition("### Five walks")[2].partition("\n### ")[0]
    members, calls = MEMBER.findall(walks), CALL.findall(walks)
    assert len(members) > 5
    assert len(calls) > 3
    words = set(re.findall(r"\w+", SOURCES))
    assert {word for word in (*calls, *(part for member in members for part in member)) if word not in words} == set()
