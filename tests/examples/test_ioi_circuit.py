"""The circuit notebook runs from top to bottom, and its prose says what its numbers say."""

import json

import pytest

from tests.examples.executed import executed as run_notebook

NUMBERS = """
import json

def numbers(result):
    return {f"{layer}.{head}": float(result.recovery.sel(layer=layer, head=head)) for layer in range(30) for head in range(9)}

results = {
    "logits": to_logits, "movers": to_movers, "straight": straight, "giver head": to_giver_head, "negative head": to_negative_head,
    "values": to_values
}
failed = [name for name, result in {**results, "chain": chain}.items() if not result.ok]
turns = looks([(23, 3), (23, 0), (23, 1), (23, 2), (23, 7), (20, 0), (19, 2)])
looked = {f"{head} {run} {name}": float(share) for head, row in turns.iterrows() for (run, name), share in row.items()}
induction = [int(x) for x in (row.clean.argmax(), row.corrupted.argmax())]
found = {name: numbers(result) for name, result in results.items()}
print(json.dumps({"found": found, "failed": failed, "looked": looked, "induction": induction, "chain": float(chain.mean().recovery)}))
"""


@pytest.fixture(scope="module")
def executed(default_model):
    return run_notebook("ioi_circuit", NUMBERS)


@pytest.fixture(scope="module")
def numbers(executed):
    return json.loads(executed.cells[-1].outputs[-1].text)


def strongest(effects, n):
    return sorted(effects, key=lambda head: -abs(effects[head]))[:n]


def test_every_result_is_checked_and_nothing_else_is_said(executed, numbers):
    assert numbers["failed"] == []
    outputs = [output for cell in executed.cells[:-1] for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "stream"]
    assert sum("application/vnd.plotly.v1+json" in output.get("data", {}) for output in outputs) == 3


def test_step_1(numbers):
    effects = numbers["found"]["logits"]
    assert set(strongest(effects, 8)) == {"23.3", "29.1", "29.0", "24.4", "23.0", "23.2", "23.1", "23.7"}
    assert effects["23.3"] > 0.5  # "more than half"
    assert all(effects[head] > 0.03 for head in ("23.0", "23.2", "23.1", "23.7", "29.1"))
    assert all(effects[head] < -0.1 for head in ("29.0", "24.4"))


def test_where_they_look(numbers):
    looked = numbers["looked"]
    assert looked["23.3 clean giver"] > 0.6
    assert looked["23.3 corrupted giver"] > 0.6
    for head in ("23.0", "23.1", "23.2", "23.7"):  # the second name does not give in the clean run, the first one in the corrupted run
        assert looked[f"{head} clean 2nd"] > looked[f"{head} clean 1st"]
        assert looked[f"{head} corrupted 1st"] > looked[f"{head} corrupted 2nd"]
    for head in ("20.0", "19.2"):
        assert min(looked[f"{head} clean giver"], looked[f"{head} corrupted giver"]) > 0.4
    assert numbers["induction"] == [2, 4]  # " and", " went"


def test_step_2(numbers):
    movers, straight, against = (numbers["found"][name] for name in ("movers", "straight", "negative head"))
    assert strongest(movers, 2) == strongest(straight, 2) == ["20.0", "19.2"]
    assert movers["20.0"] > 0.1
    assert all(straight[head] > movers[head] > 0 for head in ("20.0", "19.2"))
    assert max(map(abs, numbers["found"]["giver head"].values())) < 0.04
    assert set(strongest(against, 4)) == {"23.3", "23.0", "23.2", "23.1"}
    assert all(against[head] < 0 for head in strongest(against, 4))


def test_step_3(numbers):
    values = numbers["found"]["values"]
    first, second = strongest(values, 2)
    assert first == "17.4"
    assert values[first] > 0.1 > 5 * abs(values[second])
    assert 0.01 < numbers["chain"] < 0.1
