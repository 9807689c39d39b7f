"""Greater-than: "The war lasted from the year 1732 to the year 17" -> a number above 32 (Hanna et al. 2023, arXiv:2305.00586)."""

from random import Random

from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.pair import PromptPair
from patchwidget.prompts.prompt_set import PromptSet

from .templates import draw, single_tokens

TEMPLATE = "The {noun} lasted from the year {century}{year:02d} to the year {century}"
NOUNS = (
    "war trip project journey conflict campaign expedition program partnership investigation pilgrimage voyage operation siege "
    "tour reign dynasty rebellion strike crisis"
)
CENTURIES = range(11, 18)
YEARS = range(2, 99)


def greater_than(model: WrappedModel, n: int = 64, *, seed: int = 0) -> PromptSet:
    """Years that must end later than they began; in the corrupted prompt they began in 01, after which nearly every year is later.

    The answers are the next tokens of all later years, the distractors those of the earlier ones: two digits where the tokenizer has such
    tokens, else the tens digit, without the one that both share. The paper measures the difference of summed probabilities; `prob_diff`
    is that of mean ones. Roles: year (its two last digits), END.

    Raises:
        PromptError: the tokenizer has no such tokens.
    """
    nouns = single_tokens(model, NOUNS, "nouns", 1)

    def make(random: Random) -> PromptPair:
        words = {"noun": random.choice(nouns), "century": random.choice(CENTURIES)}
        year = random.choice(YEARS)
        clean, corrupted = (TEMPLATE.format(**words, year=y) for y in (year, 1))
        next_tokens = [_next_token(model, clean, f"{y:02d}") for y in range(100)]
        later, earlier = ({token for token in some if token is not None} for some in (next_tokens[year + 1 :], next_tokens[: year + 1]))
        answers, distractors = sorted(later - earlier), sorted(earlier - later)
        changed = [i for i, (a, b) in enumerate(zip(model.encode(clean), model.encode(corrupted), strict=False)) if a != b]
        if not (answers and distractors and changed):
            return PromptPair(clean, corrupted, "", "")  # 99 in tens: nothing is later, and the pair will not fit
        return PromptPair(clean, corrupted, answers, distractors, {"year": changed, "END": -1})

    return draw(model, n, seed, make, "greater-than")


def _next_token(model: WrappedModel, prompt: str, continuation: str) -> int | None:
    """The token after the prompt if the text goes on like this; None where the tokenizer cuts the prompt differently then."""
    tokens, whole = model.encode(prompt), model.encode(prompt + continuation)
    return whole[len(tokens)] if whole[: len(tokens)] == tokens and len(whole) > len(tokens) else None
