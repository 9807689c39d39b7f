"""Indirect object identification: "When Mary and John went to the store, John gave a drink to" -> Mary (Wang et al. 2022, arXiv:2211.00593)."""

from random import Random

from patchwidget.errors import PromptError
from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.pair import PromptPair
from patchwidget.prompts.prompt_set import PromptSet

from .templates import contrast, draw, single_tokens

TEMPLATES = [
    "When {first} and {second} went to the {place}, {S2} gave a {object} to",
    "Then, {first} and {second} went to the {place}. {S2} gave a {object} to",
    "After {first} and {second} went to the {place}, {S2} gave a {object} to",
    "While {first} and {second} were working at the {place}, {S2} gave a {object} to",
    "Then, {first} and {second} had a long argument at the {place}. Afterwards {S2} handed a {object} to",
    "One day {first} and {second} met at the {place}, and {S2} offered a {object} to",
]
NAMES = (
    "Mary John Tom James Dan Sarah Emma Alice Bob Peter Paul Mark David Anna Laura Kate Jack Henry George Susan Linda Robert "
    "Michael William Richard Charles Daniel Matthew Andrew Steven Kevin Brian Edward Jason Jeff Ryan Jacob Eric Adam Aaron Carl "
    "Arthur Kelly Jessica Amy Rachel Emily Lisa Jane Ruth Claire Alex Sam Ben Luke Simon Scott Frank Maria Elizabeth Victoria "
    "Julia Diana Helen Martin Jennifer"
)
PLACES = "store park school hospital office station restaurant house garden market beach church"
OBJECTS = "drink ring book ball bone kiss computer snack basketball letter ticket bottle"
ORDERS = {"ABBA": ("IO", "S1"), "BABA": ("S1", "IO")}  # who is named first


def ioi(model: WrappedModel, n: int = 64, *, seed: int = 0, corruption: str = "S2", order: str = "mixed") -> PromptSet:
    """Sentences that name two people, and one of them again; the answer is the other one.

    Roles: IO (the indirect object, which is the answer), S1 and S2 (the subject, twice), END.

    Args:
        n: how many pairs.
        corruption: "S2": the second subject is replaced by the indirect object, so that the answer is the subject, the distractor; "ABC": all
            three names are replaced by three others, as in the paper's p_ABC, so that neither name is favoured.
        order: "ABBA" (indirect object first), "BABA" (subject first), or "mixed".

    Raises:
        PromptError: the tokenizer knows too few names as single tokens, or an option is not known.
    """
    if corruption not in ("S2", "ABC") or order not in (*ORDERS, "mixed"):
        message = f"corruption={corruption!r}, order={order!r} is not known."
        raise PromptError(message, "corruption is 'S2' or 'ABC'; order is 'ABBA', 'BABA' or 'mixed'.")
    names = single_tokens(model, NAMES, "names", 5)
    places, objects = single_tokens(model, PLACES, "places", 1), single_tokens(model, OBJECTS, "objects", 1)

    def make(random: Random) -> PromptPair:
        indirect, subject, *others = random.sample(names, 5)
        roles = ORDERS[order if order in ORDERS else random.choice(list(ORDERS))]
        template = random.choice(TEMPLATES).replace("first", roles[0]).replace("second", roles[1])
        clean = {"IO": indirect, "S1": subject, "S2": subject, "place": random.choice(places), "object": random.choice(objects)}
        changed: dict[str, str] = {"S2": indirect} if corruption == "S2" else dict(zip(("IO", "S1", "S2"), others, strict=True))
        return contrast(template, clean, {**clean, **changed}, ("IO", "S1", "S2"), f" {indirect}", f" {subject}")

    return draw(model, n, seed, make, f"ioi ({corruption}, {order})")
