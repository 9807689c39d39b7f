"""Errors that a user can cause, each a sentence and what to do about it."""

from patchwidget.public import public


@public
class PatchError(Exception):
    """What is wrong, and in `hint` what to do; `str()` gives both."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


@public
class ModelError(PatchError):
    """The model can't be used as it is."""


@public
class PromptError(PatchError):
    """The prompts or answers can't be used together."""


@public
class SiteError(PatchError):
    """What was asked to be patched does not exist in this model or at this place."""


@public
class MetricError(PatchError):
    """The metric can't be computed, or returns something of the wrong shape."""
