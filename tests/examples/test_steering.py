"""The steering notebook runs from top to bottom, and its prose says what its numbers say."""

import json

import pytest

from tests.examples.executed import executed as run_notebook

NUMBERS = """
import json

right_way = [[int((np.sign(s) * (row - row[2]) > 0)[i]) for row in log_odds] for i, s in enumerate(strengths)]
print(json.dumps({
    "relative norm": vector.relative_norm(),
    "rows": len(held_out),
    "strengths": strengths,
    "odds": log_odds.mean(0).tolist(),
    "right way": [sum(column) for column in right_way],
    "scores": scores.mean(0).tolist(),
    "kl": kl.mean(0).tolist(),
    "curve": ladder.probabilities.sel(token=" wonderful").to_numpy().tolist(),
    "curve kl": ladder.kl.tolist(),
    "table": [len(table), list(table.columns)],
    "hooks": sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.hf.modules()),
}))
"""


@pytest.fixture(scope="module")
def executed(default_model):
    return run_notebook("steering", NUMBERS)


@pytest.fixture(scope="module")
def numbers(executed):
    return json.loads(executed.cells[-1].outputs[-1].text)


def test_it_shows_its_table_and_its_figure(executed, numbers):
    outputs = [output for cell in executed.cells[:-1] for output in cell.get("outputs", [])]
    assert sum("application/vnd.plotly.v1+json" in output.get("data", {}) for output in outputs) == 1
    assert sum("text/html" in output.get("data", {}) for output in outputs) >= 2
    assert numbers["table"][0] == 5
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert numbers["hooks"] == 0


def test_the_vector(numbers):
    assert numbers["relative norm"] == pytest.approx(0.1, abs=0.02)  # "about a tenth"


def test_it_steers(numbers):
    assert numbers["rows"] == 24
    odds = numbers["odds"]
    assert odds == sorted(odds)  # "rise with every step"
    assert min(numbers["right way"][i] for i in (0, 1, 3, 4)) >= 22  # "nearly every prompt"
    assert odds[0] < 0 < odds[2]  # "takes that away"
    assert odds[4] / odds[2] == pytest.approx(2, abs=0.3)  # "doubles it"


def test_the_texts_follow_up_to_a_point(numbers):
    lowest, low, none, high, highest = numbers["scores"]
    assert max(lowest, low) < 0 < none < high
    assert highest <= high  # "no kinder"


def test_the_price(numbers):
    kl = numbers["kl"]
    assert kl[2] < 1e-5
    assert kl[0] > 3 * kl[1]
    assert kl[4] > 3 * kl[3]


def test_dose_and_response(numbers):
    curve, kl = numbers["curve"], numbers["curve kl"]
    best = curve.index(max(curve))
    assert 0.3 < -1 + best / 16 < 0.7  # "about a half"
    assert curve[-1] < curve[16]  # "lost again"
    assert kl[16:] == sorted(kl[16:])
