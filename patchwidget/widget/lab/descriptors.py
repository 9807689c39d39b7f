"""What the page is told about an experiment, beside its views."""

from typing import Any

from patchwidget.widget.transport.protocol import Message
from patchwidget.widget.transport.text import one_line

from .experiment_pool import EVERY, Bench, Setting
from .explanations import over_pairs
from .menus import DIRECTIONS, describe_metrics


def describe_lab(bench: Bench, setting: Setting) -> Message:
    """What is measured, and what could be."""
    model = bench.model
    return {
        "model": model.name,
        "pair": setting.pair,
        "site": setting.site,
        "metric": setting.metric,
        "direction": setting.direction,
        "pairs": [describe_prompts(model, pair) for pair in bench.prompts],
        "every": describe_every(bench),
        "edit": None if model.tokenizer is not None else f"{model.name} has no tokenizer, so prompts can't be typed.",
        "metrics": describe_metrics(bench, setting.pair),
        "directions": DIRECTIONS,
    }


def describe_prompts(model: Any, prompts: Any) -> Message:
    """A pair as it was given, for the menu and to be edited: texts, or None where it was given otherwise."""

    def text(answer: Any) -> str | None:
        return model.token_text(answer) if isinstance(answer, int) else answer if isinstance(answer, str) else None

    both_texts = isinstance(prompts.clean, str) and isinstance(prompts.corrupted, str)
    clean = prompts.clean if both_texts else None
    return {
        "label": one_line(clean) if clean else "a pair given as tokens",
        "clean": clean,
        "corrupted": prompts.corrupted if both_texts else None,
        "answer": text(prompts.answer),
        "distractor": text(prompts.distractor),
    }


def label_of(bench: Bench, pair: int) -> str:
    """What a pair, or EVERY, is called."""
    return over_pairs(bench.together) if pair == EVERY else describe_prompts(bench.model, bench.prompts[pair])["label"]


def describe_every(bench: Bench) -> Message | None:
    """All pairs together, for the menu; None where there is one pair to choose from."""
    if bench.together < 2 and bench.first != EVERY:
        return None
    label = over_pairs(bench.together)
    return {"name": label, "label": label, "text": "What holds over all the pairs.", "reason": bench.why_not_together}


def note_on_pairs(bench: Bench, setting: Setting) -> str:
    """What is to be said beside the prompts: of several pairs the first is shown."""
    if setting.pair != EVERY:
        return ""
    return f"The first of {bench.together} pairs is shown; the grids are the mean of all. {bench.left_out}".strip()


def describe_pair(pair: Any) -> Message:
    """Both prompts of a `TokenPair`, token by token and side by side."""
    columns = side_by_side(pair)
    return {
        "clean": list(pair.clean_tokens),
        "corrupted": list(pair.corrupted_tokens),
        "columns": columns,
        "differs": [i is None or j is None or pair.differs[i] for i, j in columns],
        "answer": pair.answer_text,
        "distractor": pair.distractor_text,
    }


def side_by_side(pair: Any) -> list[list[int | None]]:
    """Which position of the clean prompt stands over which of the corrupted one; None for a gap."""
    partner = dict(zip(*pair.correspondence, strict=True))
    matched = set(partner.values())
    columns: list[list[int | None]] = []
    shown = 0
    for i in range(len(pair.clean_tokens)):
        if i in partner:
            columns += [[None, j] for j in range(shown, partner[i]) if j not in matched]
            shown = max(shown, partner[i] + 1)
        columns.append([i, partner.get(i)])
    return columns + [[None, j] for j in range(shown, len(pair.corrupted_tokens)) if j not in matched]


def describe_baselines(baselines: Any) -> Message | None:
    """The metric of both runs and their likeliest next tokens; None before they are known."""
    if baselines is None:
        return None
    return {name: getattr(baselines, name) for name in ("clean", "corrupted", "clean_top", "corrupted_top")}
