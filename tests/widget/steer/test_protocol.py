"""The messages of a steering panel are those of the examples, which the page's tests read too."""

import json
from pathlib import Path

import pytest

from patchwidget.widget.steer import messages
from patchwidget.widget.transport import protocol

EXAMPLES = json.loads((Path(__file__).parents[2] / "protocol" / "steer_messages.json").read_text())


@pytest.mark.parametrize("name", list(EXAMPLES["from_page"]))
def test_examples_from_the_page_are_understood(name):
    example = EXAMPLES["from_page"][name]
    message = protocol.parse(example, messages.METHODS)
    if isinstance(message, protocol.Request):
        assert example["params"].items() <= message.params.items()


def test_every_method_has_an_example():
    assert {example.get("method") for example in EXAMPLES["from_page"].values()} == {*messages.METHODS, None}


def test_what_the_kernel_says_has_the_fields_of_the_examples(shown):
    _, page = shown
    page.ask("row", row="r2", strength=-0.33)
    told = EXAMPLES["from_kernel"]
    for name in ("panel", "ladder", "text_done"):
        example = told[name]["json"]
        message = next(m for m in reversed(page.messages) if m["type"] == example["type"])
        assert set(message) == set(example)
        inner = {"panel": "panel", "ladder": "ladder"}.get(example["type"])
        assert inner is None or set(message[inner]) == set(example[inner])
    assert set(page.panel["rows"][0]) == set(told["panel"]["json"]["panel"]["rows"][0])


def test_messages_are_numbered_without_a_gap(shown):
    _, page = shown
    page.ask("row", row="r2", strength=-0.33)
    assert [message["seq"] for message in page.messages] == list(range(1, len(page.messages) + 1))
