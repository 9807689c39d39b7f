"""The next parameter of a docstring, in the order of the function's definition (Heimersheim and Janiak 2023)."""

from random import Random

from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.pair import PromptPair
from patchwidget.prompts.prompt_set import PromptSet

from .templates import contrast, draw, single_tokens

TEMPLATE = '''def {name}(self, {A}, {B}, {C}, {D}):
    """{words1}

    :param {A_doc}: {words2}
    :param {B_doc}: {words3}
    :param'''
PARAMETERS = (
    "load size files last image model value name path count index state user group order level page text item data key line color "
    "width height time date table field type code mode"
)
WORDS = "oil column piece crime population unit dark river garden stone paper window winter music story market table summer bread cloud"


def docstring(model: WrappedModel, n: int = 64, *, seed: int = 0) -> PromptSet:
    """A function of four parameters, of which two are described; the third comes next.

    In the corrupted prompt the definition has another word for the third parameter, which is the distractor ("random answer" in the original).
    Roles: A, B, C, D (in the definition), A_doc, B_doc, END.
    """
    parameters = single_tokens(model, PARAMETERS, "parameter names", 6)
    words = single_tokens(model, WORDS, "words", 3)

    def make(random: Random) -> PromptPair:
        name, a, b, c, d, other = random.sample(parameters, 6)
        text = {f"words{i}": " ".join(random.sample(words, 2 if i > 1 else 3)) for i in (1, 2, 3)}
        clean = {"name": name, "A": a, "B": b, "C": c, "D": d, "A_doc": a, "B_doc": b, **text}
        return contrast(TEMPLATE, clean, {**clean, "C": other}, ("A", "B", "C", "D", "A_doc", "B_doc"), f" {c}", f" {other}")

    return draw(model, n, seed, make, "docstring")
