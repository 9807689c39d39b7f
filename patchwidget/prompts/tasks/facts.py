"""Factual recall: "The Eiffel Tower is in the city of" -> Paris (Meng et al. 2022, arXiv:2202.05262)."""

from itertools import permutations
from random import Random

from patchwidget.errors import PromptError
from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.pair import tokenize_pair
from patchwidget.prompts.prompt_set import PromptSet

from .templates import contrast

# relation: (template, facts)
FACTS = {
    "capital": (
        "The capital of {subject} is the city of",
        "France: Paris, Germany: Berlin, Italy: Rome, Spain: Madrid, Russia: Moscow, Japan: Tokyo, China: Beijing, Egypt: Cairo, Greece: Athens, "
        "Austria: Vienna, Portugal: Lisbon, Poland: Warsaw, Ireland: Dublin, England: London, Cuba: Havana, Iran: Tehran, Iraq: Baghdad, "
        "Norway: Oslo, Sweden: Stockholm, Denmark: Copenhagen, Hungary: Budapest, Kenya: Nairobi, Belgium: Brussels, Turkey: Ankara",
    ),
    "landmark": (
        "{subject} is in the city of",
        "The Eiffel Tower: Paris, The Colosseum: Rome, The Brandenburg Gate: Berlin, The Louvre: Paris, The Kremlin: Moscow, Big Ben: London, "
        "Buckingham Palace: London, The Space Needle: Seattle, The Acropolis: Athens, The Vatican: Rome, The White House: Washington",
    ),
    "language": (
        "The people of {subject} speak the language of",
        "France: French, Germany: German, Italy: Italian, Spain: Spanish, Russia: Russian, Japan: Japanese, China: Chinese, Poland: Polish",
    ),
    "continent": (
        "{subject} is a country on the continent of",
        "France: Europe, Egypt: Africa, Japan: Asia, China: Asia, Kenya: Africa, Germany: Europe, India: Asia, Nigeria: Africa",
    ),
}


def facts_of(relation: str) -> dict[str, str]:
    """Subject -> answer."""
    return dict(fact.split(": ") for fact in FACTS[relation][1].split(", "))


def factual_recall(model: WrappedModel, n: int | None = None, *, seed: int = 0, relation: str | None = None) -> PromptSet:
    """Well-known facts, each against another subject of the same relation with as many tokens and another answer.

    Roles: subject, END. One pair for each fact that has such a counterpart, drawn by the seed.

    Args:
        n: how many pairs; all if None.
        relation: "capital", "landmark", "language" or "continent"; all of them if None.

    Raises:
        PromptError: the relation is not known, or there are not so many pairs.
    """
    if relation is not None and relation not in FACTS:
        raise PromptError(f"There is no relation {relation!r}.", f"There are {', '.join(FACTS)}.")
    random = Random(seed)  # noqa: S311
    pairs = []
    for name in [relation] if relation else FACTS:
        template, facts = FACTS[name][0], facts_of(name)
        order = list(permutations(facts, 2))
        random.shuffle(order)
        matched = set()
        for subject, other in order:
            if subject in matched or facts[subject] == facts[other]:
                continue
            pair = contrast(template, {"subject": subject}, {"subject": other}, ("subject",), f" {facts[subject]}", f" {facts[other]}")
            try:
                tokenize_pair(model, pair)
            except PromptError:
                continue
            matched.add(subject)
            pairs.append(pair)
    wanted = len(pairs) if n is None else n
    if not 1 <= wanted <= len(pairs):
        raise PromptError(f"{wanted} pairs were asked for, and {len(pairs)} fit {model.name}.", "Ask for fewer, or leave n out for all.")
    random.shuffle(pairs)
    return PromptSet(pairs[:wanted], f"factual recall ({relation or 'all relations'})")
