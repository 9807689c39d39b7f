"""What the page is told about an experiment, beside its views; and about an error."""

import logging
from typing import Any

from patchwidget.errors import PatchError

from . import protocol
from .protocol import Message

logger = logging.getLogger("patchwidget")


def describe_lab(experiment: Any, site: str, waits: str | None) -> Message:
    """What is measured, on what; `waits` is a sentence where the kernel can't answer while a cell runs."""
    return {
        "model": experiment.model.name,
        "site": site,
        "metric": experiment.metric_name,
        "direction": experiment.direction,
        "waits": waits,
    }


def describe_pair(pair: Any) -> Message:
    """Both prompts, token by token."""
    return {
        "clean": list(pair.clean_tokens),
        "corrupted": list(pair.corrupted_tokens),
        "differs": [bool(differs) for differs in pair.differs],
        "answer": pair.answer_text,
        "distractor": pair.distractor_text,
    }


def describe_baselines(baselines: Any) -> Message | None:
    """The metric of both runs and their likeliest next tokens; None before they are known."""
    if baselines is None:
        return None
    return {name: getattr(baselines, name) for name in ("clean", "corrupted", "clean_top", "corrupted_top")}


def describe_error(error: BaseException, request: str | None, view: str | None = None) -> Message:
    """An error as the page shows it; one that the user did not cause is logged with its traceback."""
    if isinstance(error, PatchError):
        return protocol.error(error.message, error.hint, request, view)
    logger.error("The widget met an error", exc_info=error)
    return protocol.error(
        f"Something went wrong inside the kernel: {type(error).__name__}: {error}".rstrip(": "),
        "The traceback is in the log of 'patchwidget': logging.basicConfig() in a cell shows it.",
        request,
        view,
    )
