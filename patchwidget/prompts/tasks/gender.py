"""Gendered pronouns by profession: "The nurse said that" -> she (Vig et al. 2020, arXiv:2004.12265)."""

from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.prompt_set import PromptSet

from .templates import all_fitting, contrast

TEMPLATES = [
    "The {profession} said that",
    "The {profession} yelled that",
    "The {profession} whispered that",
    "The {profession} wanted that",
    "The {profession} desired that",
    "The {profession} wished that",
    "The {profession} ate because",
    "The {profession} ran because",
    "The {profession} drove because",
    "The {profession} slept because",
    "The {profession} cried because",
    "The {profession} laughed because",
    "The {profession} went home because",
    "The {profession} stayed up because",
    "The {profession} was fired because",
    "The {profession} was promoted because",
    "The {profession} yelled because",
]
# by the pronoun of the stereotype
PROFESSIONS = {
    "she": "nurse teacher secretary dancer librarian receptionist nanny maid housekeeper hairdresser cleaner singer model cashier",
    "he": "doctor engineer pilot lawyer plumber carpenter mechanic soldier farmer driver guard chief boss captain scientist athlete",
}
OPPOSITE = {"she": ("he", "man"), "he": ("she", "woman")}


def gendered_pronouns(model: WrappedModel, n: int | None = None, *, seed: int = 0, templates: list[str] | None = None) -> PromptSet:
    """A profession whose stereotype favours one pronoun, against "man" or "woman", which favours the other.

    As in the paper, the base run x is the profession's, here the corrupted prompt, and x' has the word of the opposite gender, here the clean
    prompt; the answer is the anti-stereotypical pronoun. Roles: profession, END.

    Args:
        n: how many pairs; all that fit if None.
        templates: with a slot {profession}; the paper's seventeen if not given.
    """
    pairs = [
        contrast(
            template, {"profession": OPPOSITE[pronoun][1]}, {"profession": word}, ("profession",), f" {OPPOSITE[pronoun][0]}", f" {pronoun}"
        )
        for template in templates or TEMPLATES
        for pronoun, words in PROFESSIONS.items()
        for word in words.split()
    ]
    return all_fitting(model, n, seed, pairs, "gendered pronouns")
