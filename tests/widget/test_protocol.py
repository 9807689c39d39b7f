"""What goes over the wire is what `tests/protocol/messages.json` says; the page's tests read the same file."""

import json
from pathlib import Path

import numpy as np
import pytest

from patchwidget.errors import PatchError
from patchwidget.widget import protocol
from patchwidget.widget.protocol import Cancel, Hello, ProtocolError, Request
from patchwidget.widget.session import Session
from tests.widget.fakes import FakeExperiment

EXAMPLES = json.loads((Path(__file__).parents[1] / "protocol" / "messages.json").read_text())


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("hello", Hello("p7f3a")),
        ("sweep", Request("p7f3a-1", "sweep", {})),
        ("heads", Request("p7f3a-2", "heads", {"layer": 1, "pos": 2})),
        ("attention", Request("p7f3a-3", "attention", {"layer": 1, "head": 0, "pos": 2})),
        ("cancel", Cancel("p7f3a-2")),
    ],
)
def test_examples_from_the_page_are_understood(name, parsed):
    assert protocol.parse(EXAMPLES["from_page"][name]) == parsed


def test_every_example_from_the_page_is_tested():
    assert set(EXAMPLES["from_page"]) == {"hello", "sweep", "heads", "attention", "cancel"}


def test_unknown_fields_are_ignored():
    assert protocol.parse({"v": 1, "type": "hello", "page": "p", "colour": "blue"}) == Hello("p")


@pytest.mark.parametrize(
    ("content", "words", "request_id"),
    [
        ("hello", "JSON object", None),
        ({"v": 2, "type": "hello"}, "version 2", None),
        ({"v": 2, "type": "cancel", "id": "p-1"}, "version 2", "p-1"),
        ({"v": 1, "type": "dance"}, "'dance'", None),
        ({"v": 1, "type": "cancel"}, "`id`", None),
        ({"v": 1, "type": "cancel", "id": 7}, "`id`", None),
        ({"v": 1, "type": "request", "method": "sweep"}, "`id`", None),
        ({"v": 1, "type": "request", "id": "p-1", "method": "explode"}, "sweep, heads, attention", "p-1"),
        ({"v": 1, "type": "request", "id": "p-1", "method": ["sweep"]}, "sweep, heads, attention", "p-1"),
        ({"v": 1, "type": "request", "id": "p-1", "method": "heads", "params": [1, 2]}, "JSON object", "p-1"),
        ({"v": 1, "type": "request", "id": "p-1", "method": "heads", "params": {"layer": 1}}, "'pos'", "p-1"),
        ({"v": 1, "type": "request", "id": "p-1", "method": "heads", "params": {"layer": 1, "pos": "2"}}, "'2'", "p-1"),
        ({"v": 1, "type": "request", "id": "p-1", "method": "heads", "params": {"layer": True, "pos": 2}}, "True", "p-1"),
    ],
)
def test_what_is_no_message_is_refused_in_a_sentence(content, words, request_id):
    with pytest.raises(ProtocolError) as refused:
        protocol.parse(content)
    assert words in refused.value.message
    assert refused.value.message.endswith(".")
    assert protocol.request_of(content) == request_id


def grid(name):
    """The values of a finished grid among the examples."""
    example = EXAMPLES["from_kernel"][name]
    return np.array(example["buffers"][0]["data"], np.float32)


@pytest.fixture
def told():
    """The messages of a lab that does what the examples tell, packed, by the examples' names."""
    experiment = FakeExperiment(grids={"resid_pre": grid("result").reshape(2, 3)})
    experiment.attention(1, 0, 2)
    messages = []
    session = Session(experiment, "resid_pre", None, messages.append)
    main, sweep = session.main, experiment.start("resid_pre")
    session.know_baselines(experiment.baselines)
    known = list(sweep)
    sweep._state[:] = [1, 0, 0, 1, 0, 0]
    session.advance(main, sweep, np.array([0, 3]), 0.4)
    session.post_snapshot()
    hello = messages[-1]
    sweep._state[:] = [1, 1, 1, 1, 0, 0]
    session.advance(main, sweep, np.array([1, 2]), 0.2)
    cells = messages[-1]
    sweep._state[:] = 1
    session.complete(main, sweep.result)
    result = messages[-1]
    session.open_heads("p7f3a-2", layer=1, pos=2)
    opened = messages[-1]
    row = session.open_attention("p7f3a-3", layer=1, head=0, pos=2)
    example = EXAMPLES["from_kernel"]["result_attention"]["buffers"]
    found = experiment.attention(1, 0, 2)
    found.clean, found.corrupted = (np.array(buffer["data"], np.float32) for buffer in example)
    session.complete(row, found)
    attention = messages[-1]
    with pytest.raises(PatchError) as refused:
        session.open_heads("p7f3a-2", layer=99, pos=2)
    error = protocol.error(refused.value.message, refused.value.hint, "p7f3a-2", "v2")
    assert len(known) == 6
    return {
        "hello": hello,
        "progress_cells": cells,
        "result": result,
        "progress_open": opened,
        "result_attention": attention,
        "error": error,
    }


@pytest.mark.parametrize("name", list(EXAMPLES["from_kernel"]))
def test_messages_to_the_page_are_the_examples(told, name):
    example = EXAMPLES["from_kernel"][name]
    content, buffers = protocol.pack(told[name])
    expected = {key: value for key, value in example["json"].items() if key != "seq"}
    if name == "progress_open":  # how exact the numbers are is known with the first of them
        expected["open"]["status"], expected["open"]["noise_floor"] = "queued", None
    assert json.loads(json.dumps(content)) == expected
    assert len(buffers) == len(example["buffers"])
    for buffer, wanted in zip(buffers, example["buffers"], strict=True):
        array = np.frombuffer(buffer, np.dtype(wanted["dtype"]).newbyteorder("<"))
        np.testing.assert_allclose(array, np.array(wanted["data"], float), rtol=1e-6)


def test_numbers_that_are_not_finite_travel_as_null_and_arrays_keep_their_nan():
    content, buffers = protocol.pack({"a": float("nan"), "b": [np.float32(2), float("inf")], "c": np.array([np.nan, 1])})
    assert content == {"a": None, "b": [2.0, None], "c": 0}
    np.testing.assert_array_equal(np.frombuffer(buffers[0], "<f4"), np.array([np.nan, 1], np.float32))


def test_arrays_of_other_types_are_refused():
    with pytest.raises(TypeError, match="int64"):
        protocol.pack({"a": np.arange(3)})


def cells(*index):
    return {"index": np.array(index, np.uint32), "values": np.array(index, np.float32)}


def test_joined_progress_says_what_both_said():
    opened = protocol.progress("r", "v2", 0, 4, None, opened={"id": "v2"})
    first = protocol.progress("r", "v2", 2, 4, 0.3, cells=cells(0, 1))
    second = protocol.progress("r", "v2", 3, 4, 0.1, cells=cells(2))
    joined = protocol.join(protocol.join(opened, first), second)
    assert joined["open"] == {"id": "v2"}
    assert (joined["done"], joined["seconds_left"]) == (3, 0.1)
    assert joined["cells"]["index"].tolist() == [0, 1, 2]
    assert first["cells"]["index"].tolist() == [0, 1]


def test_a_view_that_is_opened_again_forgets_what_was_known():
    first = protocol.progress("r", "v1", 2, 4, 0.3, cells=cells(0, 1))
    again = protocol.progress("s", "v1", 0, 4, None, opened={"id": "v1"})
    assert protocol.join(first, again) == again
