"""What users reach as `pw.NAME` says so itself: its `__module__` is the package, wherever the file lies that defines it."""

from typing import TypeVar

Named = TypeVar("Named", bound=object)


def public(named: Named) -> Named:
    """Decorator of a class or function of `patchwidget.__all__`: errors print by the name that users import, and pickles outlive a move of its file."""
    named.__module__ = "patchwidget"
    return named
