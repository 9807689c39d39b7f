"""The notebook on causal tracing runs from top to bottom, and its prose says what its numbers say."""

import json

import pytest

from tests.examples.executed import executed, text_of

NUMBERS = """
import json

print(json.dumps({
    "clean": trace.clean, "corrupted": trace.corrupted, "ok": [trace.ok, average.ok],
    "facts": int(average.values.sizes["pair"]), "total": total,
    "early": [float(early.sel(role=role)) / total for role in ("last subject token", "last token")],
    "late": [float(late.sel(role=role)) / total for role in ("last subject token", "last token")],
    "mlp": {int(layer): float(effect.sel(kind="mlp", layer=layer).max()) / total for layer in effect.layer},
}))
"""


@pytest.fixture(scope="module")
def notebook(default_model):
    return executed("causal_tracing", NUMBERS)


def test_the_prose_says_what_the_numbers_say(notebook):
    numbers = json.loads(notebook.cells[-1].outputs[-1].text)
    assert all(numbers["ok"])
    assert numbers["clean"] > 0.5
    assert numbers["corrupted"] < 0.1
    assert numbers["facts"] >= 3
    assert numbers["total"] > 0.3
    subject, end = numbers["early"]
    assert subject > 0.8  # "early on the subject alone brings the answer back"
    assert end < 0.1
    subject, end = numbers["late"]
    assert end > 0.7  # "at the end the last token alone does"
    assert subject < 0.1
    first, *others = numbers["mlp"].values()
    assert first > 0.8  # "nearly all of the answer comes back"
    assert all(first > other for other in others)  # "the earliest one"


def test_what_it_prints(notebook):
    assert "P(Paris) is" in text_of(notebook)
    assert "facts are answered as expected; left out:" in text_of(notebook)
