"""Induction on repeated random tokens: ... A B ... A -> B (Olsson et al. 2022, arXiv:2209.11895)."""

from random import Random

from patchwidget.errors import PromptError
from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.pair import PromptPair
from patchwidget.prompts.prompt_set import PromptSet

from .templates import draw


def induction(model: WrappedModel, n: int = 64, *, seed: int = 0, length: int = 10) -> PromptSet:
    """Random tokens, twice over; the second time stops one token before the end, which the first time has told.

    In the corrupted prompt the first time ends in another token, which is then the answer. The tokens are drawn from the whole vocabulary
    without special tokens, all different, so a model without a tokenizer will do. Roles: A1 (the token before the answer, the first time),
    B1 (the answer, the first time), END (the same token as A1, the second time).

    Args:
        length: how many tokens are repeated; the prompts have 2 length - 1 (and a BOS token where the tokenizer adds one).

    Raises:
        PromptError: the vocabulary or the model's context is too small for it.
    """
    special = set(getattr(model.tokenizer, "all_special_ids", ()))
    tokens = [token for token in range(model.vocab_size) if token not in special]
    if length < 2 or len(tokens) < length + 1:
        raise PromptError(f"length={length} random tokens can't be repeated.", f"Choose 2 to {len(tokens) - 1}.")
    start = model.encode("") if model.tokenizer is not None else []

    def make(random: Random) -> PromptPair:
        *rest, answer, distractor = random.sample(tokens, length + 1)
        clean, corrupted = ([*start, *rest, last, *rest] for last in (answer, distractor))
        end_of_first = len(start) + length - 1
        return PromptPair(clean, corrupted, answer, distractor, {"A1": end_of_first - 1, "B1": end_of_first, "END": -1})

    return draw(model, n, seed, make, "induction")
