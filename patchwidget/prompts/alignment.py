"""Which position of one prompt corresponds to which of the other: one by one, by token difference, by spans given by hand, or by roles."""

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from patchwidget.errors import PromptError
from patchwidget.given import Array, Index
from patchwidget.models.wrapped import WrappedModel

from .words import find_words

# A stretch of one prompt: a text, (text, n) for its n-th occurrence from 0 on, a position (negative ones count from the end), or several.
Span = str | Index | Sequence[str | Index] | Array
# The same for both prompts, or one for each: (clean, corrupted).
Spans = Span | Sequence[Span]
Align = str | Sequence[Sequence[Span]] | Mapping[str, Spans]
Positions = tuple[int, ...]
Both = tuple[Positions, Positions]


def both_spans(value: Any) -> tuple[Any, Any]:
    """The span in the clean and in the corrupted prompt: a pair of them as it is, a single one for both."""
    if isinstance(value, str | int) or _is_occurrence(value) or all(isinstance(item, int) for item in value):
        return value, value
    if len(value) != 2:
        raise PromptError(
            f"{value!r} is no span.", "Give a text, (text, occurrence), a position, a list of positions, or (clean, corrupted)."
        )
    return value[0], value[1]


def find_span(model: WrappedModel, tokens: Sequence[int], prompt: Any, span: Any, what: str) -> Positions:
    """The positions of a span in a prompt, ascending.

    Args:
        tokens: the prompt's token ids.
        prompt: the prompt as it was given; texts are looked up in it as whole words.
        what: what errors call the span.

    Raises:
        PromptError: the text does not occur, or a position does not exist.
    """
    if isinstance(span, str) or _is_occurrence(span):
        text, n = (span, 0) if isinstance(span, str) else span
        return _positions_of_text(model, prompt, str(text), int(n), what)
    positions = [span] if isinstance(span, int) else list(span)
    for position in positions:
        if not isinstance(position, int) or not -len(tokens) <= position < len(tokens):
            raise PromptError(
                f"{what} names position {position!r}, and the prompt has positions 0 to {len(tokens) - 1}.", "Choose one of these."
            )
    if not positions:
        raise PromptError(f"{what} is empty.", "Name at least one token.")
    return tuple(sorted({int(position) % len(tokens) for position in positions}))


def one_to_one(length: int) -> Both:
    """Prompts of equal length: each position belongs to itself."""
    return tuple(range(length)), tuple(range(length))


def align_tokens(clean: Sequence[Any], corrupted: Sequence[Any], spans: Sequence[Both] = ()) -> Both:
    """Positions that correspond: those of the given spans, and of the remaining tokens those that the difference of the prompts pairs up.

    The difference pairs equal tokens, and stretches of equal length that replace each other. A span of n tokens and one of m correspond by
    their last min(n, m) tokens, since a causal model has read the whole of a word only at its last token. What else there is corresponds to
    nothing.

    Returns:
        (clean positions, corrupted positions), equally many; ascending in the clean prompt.

    Raises:
        PromptError: two spans overlap.
    """
    pairs = [pair for one, other in spans for pair in _from_the_end(one, other)]
    taken = [{position for span in spans for position in span[side]} for side in (0, 1)]
    for side, name in enumerate(("clean", "corrupted")):
        if len(taken[side]) < sum(len(span[side]) for span in spans):
            raise PromptError(f"Two of the spans to be aligned overlap in the {name} prompt.", "Give spans that have no token in common.")
    rest = [[p for p in range(len(tokens)) if p not in taken[side]] for side, tokens in enumerate((clean, corrupted))]
    pairs += [(rest[0][i], rest[1][j]) for i, j in _difference([clean[p] for p in rest[0]], [corrupted[p] for p in rest[1]])]
    pairs.sort()
    return tuple(p for p, _ in pairs), tuple(p for _, p in pairs)


def _difference(one: Sequence[Any], other: Sequence[Any]) -> list[tuple[int, int]]:
    """Pairs of places that correspond: the common beginning and end, and between them what a difference of the two pairs up."""
    shorter = min(len(one), len(other))
    start = next((i for i in range(shorter) if one[i] != other[i]), shorter)
    end = next((i for i in range(shorter - start) if one[-1 - i] != other[-1 - i]), shorter - start)
    pairs = [(i, i) for i in range(start)] + [(len(one) - 1 - i, len(other) - 1 - i) for i in range(end)]
    matcher = SequenceMatcher(None, one[start : len(one) - end], other[start : len(other) - end], autojunk=False)
    for tag, i, i_end, j, j_end in matcher.get_opcodes():
        if tag in ("equal", "replace") and i_end - i == j_end - j:
            pairs += [(start + i + k, start + j + k) for k in range(i_end - i)]
    return pairs


def _from_the_end(one: Positions, other: Positions) -> list[tuple[int, int]]:
    n = min(len(one), len(other))
    return list(zip(one[-n:], other[-n:], strict=True))


def _is_occurrence(value: Any) -> bool:
    return not isinstance(value, str | int) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)


def _positions_of_text(model: WrappedModel, prompt: Any, text: str, n: int, what: str) -> Positions:
    if not isinstance(prompt, str):
        raise PromptError(f"{what} is the text {text!r}, and the prompt is given as token ids.", "Name positions instead.")
    found = find_words(text, prompt)
    if len(found) <= n:
        inside = ", but for inside other words" if text.strip() and text.strip() in prompt else ""
        times = f"occurs {len(found)} times" if found else f"does not occur{inside}"
        raise PromptError(
            f"{what} is occurrence {n} of {text!r}, which {times} in {prompt!r}.",
            "Occurrences are counted from 0, by words; parts of words are named by positions.",
        )
    start, stop = found[n]
    return tuple(i for i, (first, end) in enumerate(_offsets(model, prompt)) if first < stop and end > start)


def _offsets(model: WrappedModel, prompt: str) -> list[tuple[int, int]]:
    """Which characters each token stands for, (first, end)."""
    if not getattr(model.tokenizer, "is_fast", False):
        raise PromptError(f"The tokenizer of {model.name} does not tell which characters a token stands for.", "Name positions instead.")
    return list(model.tokenizer(prompt, return_offsets_mapping=True)["offset_mapping"])
