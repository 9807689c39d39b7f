"""Pairs of prompts for labs of several, and labs on real models, each with its page."""

from itertools import permutations

import pytest
import torch

import patchwidget as pw
from tests.widget.conftest import BareLab
from tests.widget.page import Page

NAMES = [" John", " Mary", " Tom", " Ann"]


def named(first, other, distractor, words="When{} and{} went to the store", **more):
    return pw.PromptPair(words.format(first, other), words.format(distractor, other), answer=other, distractor=first, **more)


def telling(model, prompts):
    """Pairs of these prompts with the answers that the model tells apart best in the worst of them, so that what matters does so in all."""
    with torch.no_grad():
        logits = [[model.hf(model.inputs(model.encode(text))).logits[0, -1] for text in both] for both in prompts]
    gaps = torch.stack([clean - corrupted for clean, corrupted in logits])
    answer, distractor = int(gaps.amin(0).argmax()), int(gaps.amax(0).argmin())
    return pw.PromptSet([pw.PromptPair(*both, answer, distractor) for both in prompts])


@pytest.fixture(scope="module")
def pairs(small):
    words = "When{} and{} went to the{}"
    rest = [(other, place) for other in (" Mary", " Ann", " old") for place in (" store", " man", " drink", " old")]
    return telling(small[0], [tuple(words.format(name, *more) for name in (" John", " Tom")) for more in rest])


@pytest.fixture(scope="module")
def unequal():
    """Prompts of 8 and of 9 tokens that have roles in common."""
    words = ["When{} and{} went to the store", "When{} and old{} went to the store"]
    names = list(permutations(NAMES, 3))[:8]
    found = []
    for i, (first, other, third) in enumerate(names):
        roles = {"first": ((first, 0), (third, 0)), "end": -1}
        found.append(named(first, other, third, words[i % 2], roles=roles))
    return found


@pytest.fixture
def open_set(open_lab):
    """Makes labs on real models, each with its page; measured, unless told otherwise."""
    labs = []

    def make(*given, wait=True, **options):
        labs.append(BareLab(*given, **options))
        page = Page(labs[-1])
        page.hello()
        if wait:
            assert labs[-1].wait(timeout=60.0)
        return labs[-1], page

    yield make
    for lab in labs:
        lab.close()


@pytest.fixture(scope="module")
def long_pairs():
    """More cells than share a pass: some pairs are in before others begin."""
    long = "When{} and{} went to the store and the old man" + " gave a drink to the store" * 3
    return pw.PromptSet([named(*names, long) for names in list(permutations(NAMES, 3))[:12]])
