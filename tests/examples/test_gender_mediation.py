"""The notebook on mediation runs from top to bottom, and its prose says what its numbers say."""

import json

import pytest

from tests.examples.executed import executed, text_of

NUMBERS = """
import json

print(json.dumps({
    "ok": all(result.ok for result in measured.effects.values()),
    "total": float(measured.total.mean()),
    "indirect": {name: float(rows[name].sel(effect="indirect")) for name in rows},
    "direct": {name: float(rows[name].sel(effect="direct")) for name in rows},
    "first": int(order[0]), "by_first": float(by_layer.sel(layer=0)), "sum": float(by_layer.sum()),
    "head": float(indirect[layer, head]),
    "neurons": float(one.sum()), "ten": float(one.sel(neuron=strongest.neuron[:10]).sum()),
}))
"""


@pytest.fixture(scope="module")
def notebook(default_model):
    return executed("gender_mediation", NUMBERS)


def test_the_prose_says_what_the_numbers_say(notebook):
    numbers = json.loads(notebook.cells[-1].outputs[-1].text)
    assert numbers["ok"]
    assert numbers["total"] > 1
    assert abs(numbers["indirect"]["head_model"]) < 0.1  # "does not sway the pronoun by changing where heads look"
    assert numbers["indirect"]["neuron_model"] > 0.8  # "the MLPs there make most of it"
    assert abs(numbers["direct"]["neuron_model"]) < 0.2
    assert numbers["first"] == 0  # "layer 0 stands out"
    assert numbers["by_first"] > 0.8
    assert abs(numbers["sum"] - numbers["indirect"]["neuron_model"]) > 0.1  # "effects of parts need not add up"
    assert abs(numbers["head"]) < 0.1
    assert 0 < numbers["ten"] < numbers["neurons"]


def test_what_it_prints(notebook):
    assert "of the total effect; with this held back" in text_of(notebook)
    assert "6 of 6 pairs fit" in text_of(notebook)
