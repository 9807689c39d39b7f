"""Many prompt pairs: read from lists, tables and files, and looked through on a model before anything is measured."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, overload

import pandas as pd

from patchwidget.errors import PromptError
from patchwidget.given import plain
from patchwidget.models.wrapped import WrappedModel
from patchwidget.public import public

from .alignment import Align
from .answers import check_answer
from .pair import PromptPair
from .set_check import SetCheck, check_set, split_fitting
from .tables import read_csv, read_jsonl

_COLUMNS = tuple(field.name for field in fields(PromptPair) if field.name != "meta")


@public
class PromptSet(Sequence[PromptPair]):
    """Prompt pairs for one experiment: `pw.Experiment(model, prompt_set)`.

    Args:
        pairs: `PromptPair`s; mappings with its fields (clean, corrupted, answer, distractor, and perhaps roles and align); or a pandas or
            Polars frame with these columns. Other columns are kept: each pair has its own in `pair.meta`, and `to_frame()` of results shows them.
        name: what it is called.
        align: which positions correspond where prompts are of unequal length (see `PromptPair`), for pairs that do not say it themselves.

    Raises:
        PromptError: a row has no clean prompt, an answer that is none, or a column whose name looks like a misspelt one.
    """

    def __init__(self, pairs: Iterable[PromptPair | Mapping[str, Any]] | Any, name: str = "", align: Align | None = None) -> None:
        made = tuple(_pair(row, number) for number, row in enumerate(_rows(pairs)))
        self.pairs = tuple(replace(pair, align=pair.align or align) for pair in made)
        self.name = name

    @classmethod
    def from_csv(cls, path: str | Path, align: Align | None = None, encoding: str = "utf-8-sig") -> "PromptSet":
        """A table with a header line, its columns separated by commas, semicolons or tabs.

        Several answers, roles and spans are written as JSON: ["Mary", "Jane"], {"subject": "Paris"}. A number is a text; as a token id it stands in
        brackets: [5].

        Raises:
            PromptError: it can't be read, is no table, is not in this encoding, or a row is no pair; with the line or the row.
        """
        return cls(read_csv(path, encoding), Path(path).stem, align)

    @classmethod
    def from_jsonl(cls, path: str | Path, align: Align | None = None, encoding: str = "utf-8-sig") -> "PromptSet":
        """One JSON object a line. Errors as `from_csv`."""
        return cls(read_jsonl(path, encoding), Path(path).stem, align)

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

    def check(self, model: WrappedModel) -> SetCheck:
        """Look through every pair on a model: what fits its tokenizer, how well it does the task, and whether the pairs are minimal.

        `.fitting` of what comes back is the set without the pairs that do not fit.
        """
        found = check_set(model, self)
        return replace(found, fitting=PromptSet(found.fitting, self.name))

    def check_fit(self, model: WrappedModel) -> "PromptSet":
        """The pairs that fit the model's tokenizer, without running the model; PromptError if none does."""
        return PromptSet([prompt for _, _, prompt in split_fitting(model, self)[0]], self.name)


def read_pairs(pairs: Any) -> tuple[list[PromptPair], bool]:
    """What an experiment is given, as pairs, and whether it is of several: a pair, or what `PromptSet` takes.

    Raises:
        PromptError: it is neither.
    """
    if isinstance(pairs, PromptPair):
        return [pairs], False
    if isinstance(pairs, Mapping):
        return [_pair(pairs, 0)], False
    return list(PromptSet(pairs)), True


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
        hint = "Give pw.PromptPair(clean, corrupted, answer=..., distractor=...), or a dictionary of its fields."
        raise PromptError(f"Item {number} is a {type(row).__name__}: {str(row)[:60]!r}.", hint)
    given = {str(name): plain(value) for name, value in row.items()}
    _check_names(given, number)
    known = {name: value for name, value in given.items() if name in _COLUMNS and not _is_missing(value)}
    if "clean" not in known:
        raise PromptError(
            f"Row {number} has no clean prompt: its columns are {', '.join(given)}.",
            "Give at least clean, corrupted, answer and distractor.",
        )
    known |= {name: _token_id(known[name]) for name in ("answer", "distractor") if name in known}
    further = {name: value for name, value in given.items() if name not in _COLUMNS}
    try:
        for name in ("answer", "distractor"):
            check_answer(known.get(name), name)
    except PromptError as error:
        raise PromptError(f"Row {number}: {error.message}", error.hint) from error
    return PromptPair(**known, meta=further or None)


def _check_names(row: Mapping[str, Any], number: int) -> None:
    """Raise PromptError for a column that is probably one of the known ones, misspelt."""
    missing = [name for name in _COLUMNS if name not in row]
    for name in row:
        near = [] if name in _COLUMNS else difflib.get_close_matches(name.strip().lower(), missing, n=1, cutoff=0.8)
        if near:
            raise PromptError(f"Row {number} has a column {name!r}. Did you mean {near[0]!r}?", "Rename it, or leave it out.")


def _is_missing(value: Any) -> bool:
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def _token_id(value: Any) -> Any:
    """A whole number as an int: data frames make floats of a column of numbers that has a gap."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
