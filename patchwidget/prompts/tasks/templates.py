"""What the generators share: templates with named words, words of one token, and drawing pairs until enough of them fit."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from string import Formatter

from patchwidget.errors import PromptError
from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.alignment import Spans
from patchwidget.prompts.pair import PromptPair, tokenize_pair
from patchwidget.prompts.prompt_set import PromptSet

TRIES = 40  # draws for each pair that is wanted, before giving up


def fill(template: str, words: dict[str, str], roles: Sequence[str]) -> tuple[str, dict[str, tuple[str, int]]]:
    """A template with its words in place, and where the words of these roles are: (word, its which occurrence)."""
    text, found = "", {}
    for literal, slot, *_ in Formatter().parse(template):
        text += literal
        if slot:
            if slot in roles:
                found[slot] = words[slot], len(re.findall(rf"(?<!\w){re.escape(words[slot])}(?!\w)", text))
            text += words[slot]
    return text, found


def contrast(
    template: str, clean: dict[str, str], corrupted: dict[str, str], roles: Sequence[str], answer: str, distractor: str
) -> PromptPair:
    """A pair from one template: its roles, and besides them END, the last token."""
    one, here = fill(template, clean, roles)
    other, there = fill(template, corrupted, roles)
    spans: dict[str, Spans] = {role: (here[role], there[role]) for role in here}
    return PromptPair(one, other, answer, distractor, {**spans, "END": -1})


def single_tokens(model: WrappedModel, words: str, what: str, least: int = 2) -> list[str]:
    """Those of the words (a text with spaces between them) that are one token with a space before them.

    Raises:
        PromptError: fewer than `least` of them are.
    """
    given = words.split()
    found = [word for word in given if len(model.encode(f" {word}", special=False)) == 1]
    if len(found) < least:
        message = f"Of {len(given)} {what}, the tokenizer of {model.name} knows {len(found)} as single tokens, and {least} are needed."
        raise PromptError(message, "Make your own pairs with pw.PromptSet.")
    return found


def draw(model: WrappedModel, n: int, seed: int, make: Callable[[Random], PromptPair], name: str) -> PromptSet:
    """n different pairs that fit the model, the same ones for the same seed.

    Raises:
        PromptError: there are not so many, with what kept most of the others from fitting.
    """
    if n < 1:
        raise PromptError(f"n={n} pairs were asked for.", "Ask for at least one.")
    random = Random(seed)  # noqa: S311 - for drawing words, not for secrets
    found, seen, reasons = [], set(), Counter()
    for _ in range(TRIES * n + 200):
        pair = make(random)
        key = (str(pair.clean), str(pair.corrupted))
        if key in seen:
            continue
        seen.add(key)
        try:
            tokenize_pair(model, pair)
        except PromptError as error:
            reasons[error.message.split("\n")[0]] += 1
            continue
        found.append(pair)
        if len(found) == n:
            return PromptSet(found, name)
    most = f" What most others lack: {reasons.most_common(1)[0][0]}" if reasons else ""
    raise PromptError(f"{n} pairs of {name} were asked for, and {len(found)} different ones fit {model.name}.{most}", "Ask for fewer.")


def all_fitting(model: WrappedModel, n: int | None, seed: int, pairs: Sequence[PromptPair], name: str) -> PromptSet:
    """Of a list, in an order that the seed gives, the n first that fit the model; all of them if n is None.

    Raises:
        PromptError: there are not so many.
    """
    if n is None:
        return PromptSet(pairs, name).check_fit(model)
    order = list(pairs)
    Random(seed).shuffle(order)  # noqa: S311
    fitting = PromptSet(order, name).check_fit(model)
    if not 1 <= n <= len(fitting):
        raise PromptError(
            f"{n} pairs of {name} were asked for, and {len(fitting)} fit {model.name}.", "Ask for as many, or leave n out for all."
        )
    return fitting[:n]
