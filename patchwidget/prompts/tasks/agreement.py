"""Subject-verb agreement across a noun that distracts: "The key near the cabinets" -> is (Linzen et al. 2016; Finlayson et al. 2021)."""

from random import Random

from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.pair import PromptPair
from patchwidget.prompts.prompt_set import PromptSet

from .templates import contrast, draw

TEMPLATES = [
    "The {subject} near the {attractor}",
    "The {subject} behind the {attractor}",
    "The {subject} next to the {attractor}",
    "The {subject} that the {attractor} liked",
    "I know that the {subject} beside the {attractor}",
]
REGULAR = "key book student teacher doctor car dog table picture friend author girl boy parent farmer tree"
NOUNS = [*((word, f"{word}s") for word in REGULAR.split()), ("man", "men"), ("woman", "women"), ("child", "children")]
VERBS = [("is", "are"), ("was", "were"), ("has", "have")]


def subject_verb_agreement(model: WrappedModel, n: int = 64, *, seed: int = 0) -> PromptSet:
    """A subject in singular or plural, a noun of the other number behind it, and a verb that has to agree with the subject.

    In the corrupted prompt the subject has the other number, and the other form of the verb is right. Roles: subject, attractor, END.
    """

    def make(random: Random) -> PromptPair:
        subject, attractor = random.sample(NOUNS, 2)
        number, verb = random.randrange(2), random.choice(VERBS)
        words = {"attractor": attractor[1 - number]}
        return contrast(
            random.choice(TEMPLATES),
            {**words, "subject": subject[number]},
            {**words, "subject": subject[1 - number]},
            ("subject", "attractor"),
            f" {verb[number]}",
            f" {verb[1 - number]}",
        )

    return draw(model, n, seed, make, "subject-verb agreement")
