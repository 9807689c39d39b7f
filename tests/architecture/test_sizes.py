"""Files that are read in one sitting, folders that are seen at a glance, and names that tell files apart."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ("patchwidget", "js/src")
WRITTEN = (*SOURCE, "js/dev", "js/test", "tests", "benchmarks", "scripts")
LINES = {".py": 300, ".ts": 300, ".css": 500}
FILES = 30


def files(*folders: str) -> list[Path]:
    """What is written by hand, relative to the root."""
    found = (path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*"))
    return sorted(path for path in found if path.suffix in LINES and not {"static", "built", "__pycache__"} & set(path.parts))


def modules(paths: Iterable[Path]) -> list[Path]:
    return [path for path in paths if path.suffix != ".css" and path.stem != "__init__"]


def too_long(lengths: dict[Path, int]) -> dict[Path, int]:
    return {path: n for path, n in lengths.items() if n > LINES[path.suffix]}


def too_full(paths: Iterable[Path]) -> list[Path]:
    return [folder for folder, n in Counter(path.parent for path in modules(paths)).items() if n > FILES]


def alike(paths: Iterable[Path]) -> list[str]:
    """The names that several modules have in folders of one name; a `view` is named by the folder that it is of."""
    told = Counter("/".join(path.parts[-3 if path.parent.name == "view" else -2 :]) for path in modules(paths))
    return [name for name, n in told.items() if n > 1]


def test_no_file_is_too_long():
    assert too_long({path: len((ROOT / path).read_text().splitlines()) for path in files(*WRITTEN)}) == {}


def test_no_folder_is_too_full():
    assert too_full(files(*SOURCE)) == []


def test_modules_of_one_name_are_told_apart_by_their_folders():
    assert [alike(files(folder)) for folder in SOURCE] == [[], []]


def test_what_is_too_long_too_full_or_alike_is_found():
    assert list(too_long({Path("a.py"): 301, Path("b.ts"): 300, Path("c.css"): 501})) == [Path("a.py"), Path("c.css")]
    assert too_full(Path(f"p/m{i}.py") for i in range(31)) == [Path("p")]
    assert too_full([*(Path(f"p/m{i}.py") for i in range(30)), Path("p/__init__.py"), Path("p/a.css")]) == []
    assert alike([Path("p/paths/checks.py"), Path("q/paths/checks.py"), Path("p/checks.py")]) == ["paths/checks.py"]
    assert alike([Path("lab/view/app.ts"), Path("steer/view/app.ts")]) == []
    assert alike([Path("s/lab/view/app.ts"), Path("s/lab/app.ts"), Path("t/lab/view/app.ts")]) == ["lab/view/app.ts"]
