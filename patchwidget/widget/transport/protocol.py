"""The messages between page and kernel, as `protocol.md` defines them: what comes is checked, what goes is packed.

Nothing here knows of Jupyter or torch. A message to the page is a dictionary in which arrays stand where they belong; `pack` moves
them to the list of buffers just before it leaves.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from patchwidget.errors import PatchError

from .presence import Standing

VERSION = 2

Message = dict[str, Any]
Methods = dict[str, dict[str, str]]

_NUMBER, _REAL, _TEXT, _ANSWER, _PLACE, _FLAG, _CELL, _WAY, _PATCHES = (
    "a whole number",
    "a number",
    "a text",
    "a text or a whole number",
    "a position or the name of a role",
    "true or false",
    "a cell, or the way to one",
    "a way",
    "a list of patches",
)

# method -> its parameters and what each must be; those with a question mark may be left out or null
METHODS: Methods = {
    "set": {"pair?": _NUMBER, "site?": _TEXT, "metric?": _TEXT, "direction?": _TEXT},
    "set_pair": {"clean": _TEXT, "corrupted": _TEXT, "answer?": _ANSWER, "distractor?": _ANSWER},
    "preview": {"clean": _TEXT, "corrupted": _TEXT, "answer?": _ANSWER, "distractor?": _ANSWER},
    "sweep": {"view?": _TEXT},
    "show": {"view": _TEXT, "way?": _WAY},
    "fetch": {"view": _TEXT},
    "heads": {"site": _TEXT, "pos?": _PLACE, "parent?": _CELL},
    "positions": {"site": _TEXT, "layer": _NUMBER, "parent?": _CELL},
    "parts": {"layer": _NUMBER, "head": _NUMBER, "parent?": _CELL},
    "entries": {"layer": _NUMBER, "head": _NUMBER, "parent?": _CELL},
    "neurons": {"layer": _NUMBER, "pos?": _PLACE, "parent?": _CELL},
    "paths": {"layer": _NUMBER, "head": _NUMBER, "site": _TEXT, "parent?": _CELL},
    "attention": {"layer": _NUMBER, "head": _NUMBER, "pos?": _NUMBER, "parent?": _CELL},
    "again": {"view": _TEXT, "pair?": _NUMBER, "metric?": _TEXT, "direction?": _TEXT},
    "select": {"cells": _PATCHES},
    "pin": {"view?": _TEXT},
    "teach": {"on": _FLAG},
    "stop": {"lab": _TEXT},
}

_WIRE_TYPES = {"f": np.dtype("<f4"), "u1": np.dtype("u1"), "u4": np.dtype("<u4")}


class ProtocolError(PatchError):
    """A message from the page that can't be understood."""


# ------------------------------------------------------------------------------------------------------ page to kernel


@dataclass(frozen=True)
class Hello:
    """The page has started or has missed a message: it wants everything; or it has every message up to the number `known`."""

    page: str
    known: int | None = None
    state: Standing | None = None


@dataclass(frozen=True)
class Page:
    """The page says how it stands, and wants nothing."""

    page: str
    state: Standing


@dataclass(frozen=True)
class Request:
    """The page wants something done."""

    id: str
    method: str
    params: dict[str, Any]


@dataclass(frozen=True)
class Cancel:
    """The page wants a request (or a view, by its id) stopped."""

    id: str


FromPage = Hello | Page | Request | Cancel


def request_of(content: Any) -> str | None:
    """The id that a message from the page names, understood or not, so that it can be answered."""
    name = content.get("id") if isinstance(content, dict) else None
    return name if isinstance(name, str) else None


def parse(content: Any, methods: Methods = METHODS) -> FromPage:
    """The message in `content`; ProtocolError, in a sentence, where it is none."""
    if not isinstance(content, dict):
        raise ProtocolError(f"A message is a JSON object, but this came: {content!r}.")
    if content.get("v") != VERSION:
        raise ProtocolError(
            f"The page speaks version {content.get('v')!r} of the protocol, the kernel version {VERSION}.",
            "Restart the kernel and reload the page, so that both come from the same installation of patchwidget.",
        )
    match content.get("type"):
        case "hello":
            known = content.get("known")
            return Hello(str(content.get("page", "")), known if isinstance(known, int) else None, _state(content))
        case "page" if (state := _state(content)) is not None:
            return Page(str(content.get("page", "")), state)
        case "cancel":
            return Cancel(_id(content))
        case "request":
            return _parse_request(content, methods)
        case other:
            raise ProtocolError(f"A message has type hello, page (with a state), request or cancel, not {other!r}.")


def _state(content: Message) -> Standing | None:
    state = content.get("state")
    return Standing(state) if state in list(Standing) else None


def _id(content: Message) -> str:
    name = request_of(content)
    if name is None:
        raise ProtocolError("A request and a cancel name their `id`, a text; this one has none.")
    return name


def _parse_request(content: Message, methods: Methods) -> Request:
    name, method, params = _id(content), content.get("method"), content.get("params", {})
    if not isinstance(method, str) or method not in methods:
        raise ProtocolError(f"There is no method {method!r}; there are {', '.join(methods)}.")
    if not isinstance(params, dict):
        raise ProtocolError(f"The parameters of {method} are a JSON object, not {params!r}.")
    return Request(name, method, dict(_parse_params(method, params, methods[method])))


def _parse_params(method: str, params: Message, wants: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """The parameters that a method has, checked; those that may be missing are None then."""
    for param, wanted in wants.items():
        name, optional = param.removesuffix("?"), param.endswith("?")
        value = params.get(name)
        if not (_FITS[wanted](value) or (optional and value is None)):
            raise ProtocolError(f"{method} needs {name!r}, {wanted}; it got {value!r}.")
        yield name, value


def _is_number(value: Any) -> bool:
    return type(value) is int  # a bool is an int to isinstance


def _is_cell(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("view"), str)
        and all(value.get(k) is None or _is_number(value[k]) for k in ("row", "col"))
    )


def _is_way(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_cell, value))


_FITS: dict[str, Callable[[Any], bool]] = {
    _NUMBER: _is_number,
    _REAL: lambda value: isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value),
    _TEXT: lambda value: isinstance(value, str),
    _ANSWER: lambda value: isinstance(value, str) or _is_number(value),
    _PLACE: lambda value: isinstance(value, str) or _is_number(value),
    _FLAG: lambda value: isinstance(value, bool),
    _CELL: lambda value: _is_cell(value) or _is_way(value),
    _WAY: _is_way,
    _PATCHES: lambda value: isinstance(value, list) and all(isinstance(item, dict) for item in value),
}


# ------------------------------------------------------------------------------------------------------ kernel to page


def hello(about: Message, views: list[Message]) -> Message:
    """Everything there is; it replaces all that the page knows. `about` has lab, pair, baselines and selection."""
    return {"v": VERSION, "type": "hello", **about, "views": views}


def lab(about: Message, request: str | None = None) -> Message:
    """Something of what `about` says has changed: lab, pair, baselines or selection."""
    return {"v": VERSION, "type": "lab", "id": request, **about}


def selection(request: str | None, selected: Message) -> Message:
    """What is selected, and what is known of its joint effect."""
    return {"v": VERSION, "type": "selection", "id": request, "selection": selected}


def queue(ahead: Message | None, request: str | None = None) -> Message:
    """What is being measured waits for what another widget measures, or (None) for nothing."""
    return {"v": VERSION, "type": "queue", "id": request, "ahead": ahead}


def preview(request: str, prompts: Message) -> Message:
    """What typed prompts would be."""
    return {"v": VERSION, "type": "preview", "id": request, **prompts}


def progress(
    request: str | None,
    view: str,
    done: int,
    total: int,
    seconds_left: float | None,
    *,
    opened: Message | None = None,
    cells: Message | None = None,
    recorded: int | None = None,
) -> Message:
    """A view has been opened (`opened`: its descriptor), or some of its cells are known (`cells`: index, values, recovery, state), or both runs
    of so many of its pairs are `recorded`.
    """
    message = {"v": VERSION, "type": "progress", "id": request, "view": view, "done": done, "total": total, "seconds_left": seconds_left}
    more = {"open": opened, "cells": cells, "recorded": recorded}
    return message | {name: value for name, value in more.items() if value is not None}


def result(request: str | None, view: str, status: str, descriptor: Message | None) -> Message:
    """A request is over; `descriptor` is the whole view, None where it is dropped."""
    return {"v": VERSION, "type": "result", "id": request, "view": view, "status": status, "open": descriptor}


def error(message: str, hint: str = "", request: str | None = None, view: str | None = None, field: str | None = None) -> Message:
    """A request has failed: a sentence, and what to do; `field` is the prompt field that it belongs under."""
    told = {"v": VERSION, "type": "error", "id": request, "view": view, "message": message, "hint": hint}
    return told | ({"field": field} if field is not None else {})


def join(earlier: Message, later: Message) -> Message:
    """One progress message that says what these two say, both of cells of one view."""
    cells = {name: np.concatenate([earlier["cells"][name], later["cells"][name]]) for name in later["cells"]}
    return later | {"cells": cells}


def pack(message: Message) -> tuple[Message, list[bytes]]:
    """The message as JSON, and its arrays as little-endian buffers that the JSON names by their number.

    A number that is not finite becomes null: JSON has no NaN.
    """
    buffers: list[bytes] = []

    def walk(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            buffers.append(_wire_bytes(value))
            return len(buffers) - 1
        if isinstance(value, dict):
            return {key: walk(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [walk(item) for item in value]
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, float) and not math.isfinite(value):
            return None
        return value

    return walk(message), buffers


def _wire_bytes(array: np.ndarray) -> bytes:
    wire = _WIRE_TYPES.get("f" if array.dtype.kind == "f" else array.dtype.str[1:])
    if wire is None:
        raise TypeError(f"The protocol carries float32, uint32 and uint8 arrays, not {array.dtype}.")
    return np.ascontiguousarray(array, dtype=wire).tobytes()
