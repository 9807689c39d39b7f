"""Errors as the page shows them."""

import logging

from patchwidget.errors import PatchError

from . import protocol
from .protocol import Message

logger = logging.getLogger("patchwidget")


class FieldError(PatchError):
    """What is wrong with one of the fields of a pair: clean, corrupted, answer or distractor."""

    def __init__(self, field: str, error: PatchError) -> None:
        super().__init__(error.message, error.hint)
        self.field = field


def describe_error(error: BaseException, request: str | None, view: str | None = None) -> Message:
    """An error as the page shows it; one that the user did not cause is logged with its traceback."""
    if isinstance(error, PatchError):
        return protocol.error(error.message, error.hint, request, view, getattr(error, "field", None))
    logger.error("The widget met an error", exc_info=error)
    return protocol.error(
        f"Something went wrong inside the kernel: {type(error).__name__}: {error}".rstrip(": "),
        "The traceback is in the log of 'patchwidget': logging.basicConfig() in a cell shows it.",
        request,
        view,
    )
