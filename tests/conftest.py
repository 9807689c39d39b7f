"""What holds in every test: types are checked at run time, and nothing is fetched from a hub."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
from beartype import BeartypeConf
from beartype.claw import beartype_package

# before the first import of the package: it checks the annotations of what it imports from here on
beartype_package("patchwidget", conf=BeartypeConf(is_pep484_tower=True))


@pytest.fixture(scope="session")
def default_model():
    """SmolLM2-135M-Instruct, converted once into the user's cache."""
    import patchwidget as pw

    return pw.load()


@pytest.fixture(scope="session")
def ioi(default_model):
    """Indirect object identification on the default model."""
    import patchwidget as pw

    sentence = "When John and Mary went to the store, {} gave a drink to"
    return pw.Experiment(default_model, pw.PromptPair(sentence.format("John"), sentence.format("Mary"), " Mary", " John"))
