"""Rows of prompt pairs in files: tables (CSV) and JSON lines, with what is wrong in which line."""

import csv
import json
from io import StringIO
from pathlib import Path
from typing import Any

from patchwidget.errors import PromptError

_LISTS = ("answer", "distractor", "roles", "align")  # in a table of texts these may be written as JSON
_DELIMITERS = ",;\t"


def read_csv(path: str | Path, encoding: str) -> list[dict[str, Any]]:
    """The rows of a table with a header line, separated by commas, semicolons or tabs.

    Raises:
        PromptError: it can't be read, or is no table; with the line.
    """
    text = _text(path, encoding)
    header = text.partition("\n")[0]
    if not header.strip():
        raise PromptError(f"{path} does not begin with the names of its columns.", "Write them into the first line.")
    reader = csv.DictReader(StringIO(text, newline=""), delimiter=_delimiter(header), strict=True)
    rows, begun = [], 1
    try:
        _ = reader.fieldnames  # reads the header
        begun = reader.line_num + 1
        for row in reader:
            if None in row:
                message = f"The row of {path} that begins in line {begun} has {len(row[None])} fields more than there are columns."
                raise PromptError(message, "Put texts with commas in them into quotes.")
            rows.append(_from_texts(row))
            begun = reader.line_num + 1
    except csv.Error as error:
        hint = "Look for a quote that is not closed, or not doubled."
        raise PromptError(f"The row of {path} that begins in line {begun} can't be read: {error}.", hint) from error
    return rows


def read_jsonl(path: str | Path, encoding: str) -> list[Any]:
    """One JSON value a line; PromptError with the line where one is none."""
    return [_parsed(line, number, path) for number, line in enumerate(_text(path, encoding).split("\n"), 1) if line.strip()]


def _text(path: str | Path, encoding: str) -> str:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise PromptError(f"{path} can't be read: {error.strerror}.", "Check the path.") from error
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        hint = "Save it as UTF-8, or say how it was saved: encoding='latin-1', for example."
        raise PromptError(f"Line {line} of {path} is not written in {error.encoding}.", hint) from error
    except LookupError as error:
        raise PromptError(f"encoding={encoding!r} is not known.", "Use 'utf-8', 'latin-1' or 'utf-16', for example.") from error


def _delimiter(header: str) -> str:
    """What separates the columns: what separates one named `clean` from the others."""
    named = {mark: next(csv.reader([header], delimiter=mark), []) for mark in _DELIMITERS}
    return max(_DELIMITERS, key=lambda mark: ("clean" in named[mark], len(named[mark])))


def _from_texts(row: dict[str, Any]) -> dict[str, Any]:
    """A row without its empty fields, and what is written as JSON read."""
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
