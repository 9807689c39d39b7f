"""The notebook on statistics runs from top to bottom, and its prose says what its numbers say."""

import json

import pytest

from tests.examples.executed import executed, text_of

NUMBERS = """
import json

print(json.dumps({
    "significant": int(found.sum()), "tests": int(found.size), "large": int((abs(share) > 0.1).sum()),
    "strongest": [[int(row.layer), int(row.head), float(row.recovery)] for row in best.head(3).itertuples()],
    "halves": [float(recovery.sel(layer=15, role="S2")), float(recovery.sel(layer=15, role="END")),
               float(recovery.sel(layer=24, role="S2")), float(recovery.sel(layer=24, role="END"))],
    "placebo": [float(abs(placebo.mean().recovery).max()), int(placebo.significant().sum()), int(beyond.sum())],
    "failed": [name for name, r in (("where", where), ("heads", heads), ("placebo", placebo)) if not r.ok],
    "same": bool((again.values == heads.values).all()),
}))
"""


@pytest.fixture(scope="module")
def notebook(default_model):
    return executed("ioi_statistics", NUMBERS)


def test_the_prose_says_what_the_numbers_say(notebook):
    numbers = json.loads(notebook.cells[-1].outputs[-1].text)
    assert numbers["failed"] == []
    before_s2, before_end, after_s2, after_end = numbers["halves"]
    assert before_s2 - before_end > 0.8  # "the answer moves from the second subject ..."
    assert after_end - after_s2 > 0.8  # "... to the end of the sentence"
    assert numbers["tests"] == 270
    assert 10 < numbers["significant"] < 100
    assert numbers["large"] < numbers["significant"] / 2  # "a significant effect is not a large one"
    assert [head[:2] for head in numbers["strongest"]] == [[23, 3], [20, 0], [24, 4]]
    assert numbers["strongest"][2][2] < -0.2  # "one of them has a negative effect"
    largest, significant, beyond = numbers["placebo"]
    assert largest < 0.1  # "it is what these heads say that matters"
    assert significant <= 2
    assert beyond > 10
    assert numbers["same"]


def test_what_it_prints(notebook):
    text = text_of(notebook)
    assert "heads are significant at a false-discovery rate of 5 %" in text
    assert "suffice and are needed" in text
    assert "16 of 16 pairs fit" in text
