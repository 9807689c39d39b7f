"""Errors that a user can cause, each a sentence and what to do about it."""


class PatchError(Exception):
    """What is wrong, and in `hint` what to do; `str()` gives both."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()
