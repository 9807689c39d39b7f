"""Many prompt pairs: read from lists, tables and files, and looked through on a model before anything is measured."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, overload

from patchwidget.errors import PromptError
from patchwidget.models.model import Model

from .alignment import Align
from .prompts import PromptPair
from .setcheck import SetCheck, check_set, split_fitting

_COLUMNS = tuple(field.name for field in fields(PromptPair))
_LISTS = ("answer", "distractor", "roles", "align")  # in a table of texts these may be written as JSON


class PromptSet(Sequence[PromptPair]):
    """Prompt pairs for one experiment: `pw.Experiment(model, prompt_set)`.

    Args:
        pairs: `PromptPair`s; mappings with its fields (clean, corrupted, answer, distractor, and perhaps roles and align); or a pandas or
            Polars frame with these columns. Other columns are refused, for they may be misspelt.
        name: what it is called.
        align: which positions correspond where prompts are of unequal length (see `PromptPair`), for pairs that do not say it themselves.

    Raises:
        PromptError: a row lacks a field or has one too many.
    """

    def __init__(self, pairs: Iterable[PromptPair | Mapping[str, Any]] | Any, name: str = "", align: Align | None = None) -> None:
        made = tuple(_pair(row, number) for number, row in enumerate(_rows(pairs)))
        self.pairs = tuple(replace(pair, align=pair.align or align) for pair in made)
        self.name = name

    @classmethod
    def from_csv(cls, path: str | Path, align: Align | None = None) -> "PromptSet":
        """A table with a header line. Several answers, roles and spans are written as JSON: ["Mary", "Jane"], {"subject": "Paris"}."""
        with _opened(path) as file:
            rows = list(csv.DictReader(file, restkey="(too many)", strict=True))
        return cls([_from_texts(row) for row in rows], Path(path).stem, align)

    @classmethod
    def from_jsonl(cls, path: str | Path, align: Align | None = None) -> "PromptSet":
        """One JSON object a line."""
        with _opened(path) as file:
            lines = [(number, line) for number, line in enumerate(file, 1) if line.strip()]
        return cls([_parsed(line, number, path) for number, line in lines], Path(path).stem, align)

    @overload
    def __getitem__(self, index: int) -> PromptPair: ...

    @overload
    def __getitem__(self, index: slice) -> "PromptSet": ...

    def __getitem__(self, index: int | slice) -> "PromptPair | PromptSet":
        return PromptSet(self.pairs[index], self.name) if isinstance(index, slice) else self.pairs[index]

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        name = f"{self.name!r}, " if self.name else ""
        return f"PromptSet({name}{len(self)} pairs)"

    def check(self, model: Model) -> SetCheck:
        """Look through every pair on a model: what fits its tokenizer, how well it does the task, and whether the pairs are minimal.

        `.fitting` of what comes back is the set without the pairs that do not fit.
        """
        found = check_set(model, self)
        return replace(found, fitting=PromptSet(found.fitting, self.name))

    def check_fit(self, model: Model) -> "PromptSet":
        """The pairs that fit the model's tokenizer, without running the model; PromptError if none does."""
        return PromptSet([prompt for _, _, prompt in split_fitting(model, self)[0]], self.name)


def _rows(pairs: Any) -> list[Any]:
    """The rows of a list, or of a pandas or Polars frame (told by what they can do, so that neither has to be there)."""
    if hasattr(pairs, "to_dicts"):
        return pairs.to_dicts()
    if hasattr(pairs, "to_dict") and hasattr(pairs, "columns"):
        return pairs.to_dict("records")
    if isinstance(pairs, str | Mapping | PromptPair) or not isinstance(pairs, Iterable):
        hint = "Give a list of pw.PromptPair or of dictionaries, or a data frame; PromptSet.from_csv and from_jsonl read files."
        raise PromptError(f"A {type(pairs).__name__} is no list of pairs.", hint)
    return list(pairs)


def _pair(row: Any, number: int) -> PromptPair:
    if isinstance(row, PromptPair):
        return row
    if not isinstance(row, Mapping):
        raise PromptError(f"Item {number} is a {type(row).__name__}.", "Give pw.PromptPair, or a dictionary of its fields.")
    known = {name: value for name, value in row.items() if not _is_missing(value)}
    strange = [str(name) for name in row if name not in _COLUMNS]
    if strange:
        raise PromptError(f"Row {number} has a column {strange[0]!r}.", f"The columns are {', '.join(_COLUMNS)}; leave out any other.")
    if "clean" not in known:
        raise PromptError(f"Row {number} has no clean prompt.", "Give at least clean, corrupted, answer and distractor.")
    return PromptPair(**{name: _plain(value) for name, value in known.items()})


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)  # noqa: PLR0124 - NaN, as data frames have it


def _plain(value: Any) -> Any:
    """What a data frame holds, as Python has it."""
    return value.tolist() if hasattr(value, "tolist") and not hasattr(value, "requires_grad") else value


def _from_texts(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _json_or_text(value) if name in _LISTS else value for name, value in row.items() if value not in (None, "")}


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value) if value[:1] in "[{" else value
    except json.JSONDecodeError:
        return value  # a word that begins with a bracket


def _parsed(line: str, number: int, path: str | Path) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise PromptError(
            f"Line {number} of {path} is no JSON: {error.msg}.", "Write one object a line, or read a table by from_csv."
        ) from error


def _opened(path: str | Path) -> Any:
    try:
        return Path(path).open(encoding="utf-8", newline="")
    except OSError as error:
        raise PromptError(f"{path} can't be read: {error.strerror}.", "Check the path.") from error
