"""The model and the vector that tests of steering share."""

import pytest

import patchwidget as pw
from patchwidget import SteeringVector
from tests.steering.test_vector import NEGATIVE, POSITIVE
from tests.zoo import tiny_model


@pytest.fixture(scope="module")
def model() -> pw.Model:
    return tiny_model("llama")


@pytest.fixture(scope="module")
def vector(model) -> SteeringVector:
    return SteeringVector.from_pairs(model, POSITIVE, NEGATIVE, 1)
