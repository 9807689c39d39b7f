"""Functions and other values as plain data that is equal where they compute the same, in another process too."""

import dataclasses
import dis
import types
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from patchwidget.models.digest import model_digest, tensor_digest

_SIMPLE = (float, complex, bytes, range, slice, torch.dtype, torch.device, np.generic, np.dtype, types.EllipsisType)


def described(value: Any) -> Any:
    """A value as JSON has it, by what it computes.

    A function counts by its bytecode (so under one version of Python), constants, names, defaults, the values it closes over, and what the
    names that it looks up mean; with the functions inside it, and those of its own module that it calls. Tensors, arrays and modules count by
    every number, data classes by their fields, an object of a class of the function's module by attributes and methods; what libraries
    define by its name.
    """
    return _Description().of(value)


class _Description:
    """One description under way."""

    def __init__(self) -> None:
        self._told: list[Any] = []  # functions, classes and objects, each of which is told once: they may hold each other

    def of(self, value: Any, home: str | None = None) -> Any:
        """`home`: the module of the function that holds the value. What other modules define is not looked into."""
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, _SIMPLE):
            return [type(value).__name__, repr(value)]
        if isinstance(value, Tensor | np.ndarray | Mapping | list | tuple | AbstractSet):
            return self._of_many(value, home)
        for number, other in enumerate(self._told):
            if value is other:
                return ["again", number]
        self._told.append(value)
        return self._of_function_or_object(value, home)

    def _of_many(self, value: Any, home: str | None) -> Any:
        if isinstance(value, Tensor):
            return ["tensor", tensor_digest(value)]
        if isinstance(value, np.ndarray):
            return ["array", str(value.dtype), value.shape, self.of(value.tolist()) if value.dtype.hasobject else value.tobytes().hex()]
        if isinstance(value, Mapping):
            return ["mapping", [[self.of(key, home), self.of(item, home)] for key, item in value.items()]]
        if isinstance(value, list | tuple):
            return [type(value).__name__, [self.of(item, home) for item in value]]
        return ["set", sorted(repr(self.of(item, home)) for item in value)]

    def _of_function_or_object(self, value: Any, home: str | None) -> Any:
        if isinstance(value, partial):
            return ["partial", *(self.of(part, home) for part in (value.func, value.args, value.keywords))]
        if isinstance(value, types.MethodType):
            return ["method", self.of(value.__func__, home), self.of(value.__self__, home)]
        if isinstance(value, types.FunctionType):
            return self._of_function(value) if home in (None, value.__module__) else _name(value)
        if isinstance(value, nn.Module):
            return ["module", model_digest(value)]
        if not isinstance(value, type) and hasattr(value, "__wrapped__"):
            return [_name(type(value)), self.of(value.__wrapped__, home)]  # such as a cached function
        return self._of_object(value, home)

    def _of_function(self, function: types.FunctionType) -> Any:
        code, home = function.__code__, function.__module__
        return {
            "code": self._of_code(code, home),
            "defaults": self.of([function.__defaults__, function.__kwdefaults__], home),
            "closure": [self.of(_content(cell), home) for cell in function.__closure__ or ()],
            "globals": {name: self.of(function.__globals__[name], home) for name in _looked_up(code) if name in function.__globals__},
        }

    def _of_code(self, code: types.CodeType, home: str | None) -> Any:
        """Without files and lines, which say nothing of what is computed."""
        constants = [self._of_code(item, home) if isinstance(item, types.CodeType) else self.of(item, home) for item in code.co_consts]
        names = [code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars]
        shape = [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags]
        return [code.co_code.hex(), code.co_exceptiontable.hex(), shape, constants, names]

    def _of_object(self, value: Any, home: str | None) -> Any:
        kind = value if isinstance(value, type) else type(value)
        own = home in (None, kind.__module__)
        methods = self._of_methods(kind) if own and (home or callable(value)) else {}
        if kind is value or isinstance(value, types.ModuleType):
            return [_name(value), methods]
        if dataclasses.is_dataclass(value):
            attributes = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        else:
            attributes = vars(value) if own and hasattr(value, "__dict__") else {}
        return [_name(value if hasattr(value, "__name__") else kind), methods, self.of(attributes, home or kind.__module__)]

    def _of_methods(self, kind: type) -> Any:
        return {name: self.of(item, kind.__module__) for name, item in sorted(vars(kind).items()) if isinstance(item, types.FunctionType)}


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return "not defined yet"


def _looked_up(code: types.CodeType) -> list[str]:
    """The names that a function, and those inside it, look up outside of themselves."""
    inside = [item for item in code.co_consts if isinstance(item, types.CodeType)]
    own = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return sorted(own.union(*map(_looked_up, inside)))


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', getattr(value, '__name__', ''))}"
