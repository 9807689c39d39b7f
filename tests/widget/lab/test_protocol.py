"""What goes over the wire is what `tests/protocol/messages.json` says; the page's tests read the same file."""

import json
from pathlib import Path

import numpy as np
import pytest

import patchwidget as pw
from patchwidget.widget.lab import jobs
from patchwidget.widget.lab.descriptors import label_of
from patchwidget.widget.lab.experiment_pool import EVERY, Bench, Setting
from patchwidget.widget.lab.prompt_editor import TypedPair
from patchwidget.widget.lab.session import Session
from patchwidget.widget.transport import protocol
from patchwidget.widget.transport.errors import FieldError, describe_error
from patchwidget.widget.transport.protocol import METHODS, Cancel, Hello, Page, ProtocolError, Request


def request(method, params=None):
    return {"v": 2, "type": "request", "id": "p-1", "method": method, "params": params or {}}


EXAMPLES = json.loads((Path(__file__).parents[2] / "protocol" / "messages.json").read_text())


@pytest.mark.parametrize("name", list(EXAMPLES["from_page"]))
def test_examples_from_the_page_are_understood(name):
    example = EXAMPLES["from_page"][name]
    match protocol.parse(example):
        case Hello(page, known, state):
            assert (page, known, state) == (example["page"], example.get("known"), example.get("state"))
        case Page(page, state):
            assert (page, state) == (example["page"], example["state"])
        case Cancel(request):
            assert request == example["id"]
        case Request(request, method, params):
            assert (request, method) == (example["id"], example["method"])
            left_out = {param.removesuffix("?") for param in METHODS[method]} - example["params"].keys()
            assert params == example["params"] | dict.fromkeys(left_out)


def test_every_method_has_an_example():
    assert {example.get("method") for example in EXAMPLES["from_page"].values()} == {*METHODS, None}


def test_unknown_fields_are_ignored():
    assert protocol.parse({"v": 2, "type": "hello", "page": "p", "colour": "blue"}) == Hello("p")


@pytest.mark.parametrize(
    ("content", "words", "request_id"),
    [
        ("hello", "JSON object", None),
        ({"v": 1, "type": "hello"}, "version 1", None),
        ({"v": 1, "type": "cancel", "id": "p-1"}, "version 1", "p-1"),
        ({"v": 2, "type": "dance"}, "'dance'", None),
        ({"v": 2, "type": "page", "page": "p", "state": "asleep"}, "page (with a state)", None),
        ({"v": 2, "type": "cancel"}, "`id`", None),
        ({"v": 2, "type": "cancel", "id": 7}, "`id`", None),
        ({"v": 2, "type": "request", "method": "sweep"}, "`id`", None),
        (request("explode"), "set, set_pair, preview, sweep", "p-1"),
        (request(["sweep"]), "set, set_pair, preview, sweep", "p-1"),
        (request("heads", [1, 2]), "JSON object", "p-1"),
        (request("heads", {"pos": 1}), "'site'", "p-1"),
        (request("heads", {"site": "z", "pos": 2.5}), "2.5", "p-1"),
        (request("positions", {"site": "z", "layer": True}), "True", "p-1"),
        (request("positions", {"site": "z", "layer": None}), "'layer', a whole number", "p-1"),
        (request("heads", {"site": "z", "parent": "v1"}), "'parent', a cell", "p-1"),
        (request("heads", {"site": "z", "parent": {"view": "v1", "row": "2", "col": 1}}), "'parent', a cell", "p-1"),
        (request("preview", {"clean": "A", "corrupted": 7}), "'corrupted', a text", "p-1"),
        (request("set_pair", {"clean": "A", "corrupted": "B", "answer": [1]}), "'answer', a text or a whole number", "p-1"),
        (request("select", {"cells": {}}), "'cells', a list of patches", "p-1"),
        (request("select", {"cells": [1]}), "'cells', a list of patches", "p-1"),
        (request("teach", {"on": 1}), "'on', true or false", "p-1"),
        (request("show", {}), "'view', a text", "p-1"),
    ],
)
def test_what_is_no_message_is_refused_in_a_sentence(content, words, request_id):
    with pytest.raises(ProtocolError) as refused:
        protocol.parse(content)
    assert words in refused.value.message
    assert refused.value.message.endswith(".")
    assert protocol.request_of(content) == request_id


@pytest.fixture(scope="module")
def told(small):
    """Messages of every type from a lab on a small model, packed, by type; of views, by kind and question."""
    told: dict[str, list] = {}

    def keep(message):
        content, buffers = protocol.pack(message | {"seq": 1})
        told.setdefault(content["type"], []).append((content, buffers))
        for view in [*content.get("views", []), *([content["open"]] if content.get("open") else [])]:
            told.setdefault(f"{view['kind']} {view['question']['method']}", []).append((view, buffers))

    model, pair = small
    other = pw.PromptPair("When Ann and Mary went to the store", "When Tom and Mary went to the store", " Mary", " Ann")
    bench, metric, direction = Bench.of(model, [pair, other], "logit_diff", "denoise")
    session = Session(bench, Setting(0, "resid_pre", metric, direction), None, keep, "1f0c")

    def fill(view):
        for _ in jobs.fill(session, view)[1]:
            pass

    fill(session.begin())
    fill(session.set("p-0", pair=EVERY))
    fill(session.ask("p-0", "heads", {"site": "z", "pos": 2}))
    session.show(None, "v1")
    session.post_snapshot()
    parent = {"view": "v1", "row": 1, "col": 2}
    for method, params in {
        "heads": {"site": "z", "pos": 2},
        "parts": {"layer": 1, "head": 0},
        "neurons": {"layer": 1, "pos": 2},
        "attention": {"layer": 1, "head": 0, "pos": 2},
    }.items():
        fill(session.ask("p-1", method, params, parent))
    session.post_snapshot()
    for _ in jobs.measure_selection(
        session, session.select("p-2", [{"site": "z", "layer": 1, "head": 0}, {"site": "mlp_out", "layer": 0}])
    ):
        pass
    fields = {"clean": "When John went", "corrupted": "When Tom went to", "answer": " Mariam", "distractor": " John"}
    for _ in jobs.preview_pair(session, "p-3", fields):
        pass
    with pytest.raises(FieldError) as refused:
        TypedPair(bench.model, **fields).check(lambda pair: None)
    keep(describe_error(refused.value, "p-4"))
    keep(protocol.queue({"lab": "2e1d", "name": label_of(bench, 0), "percent": 37}))
    return told


def same_shape(one, other, where=""):
    """The same names everywhere, and the same kinds of values; null may stand for any of them."""
    if one is None or other is None or where.endswith((".open", ".views")):  # views are looked at by themselves
        return
    if isinstance(other, dict):
        free = "params" in where or "patch" in where or "takes" in where or "only" in where or where.endswith("cells[]")
        assert free or one.keys() == other.keys(), where
        for name in one.keys() & other.keys():
            same_shape(one[name], other[name], f"{where}.{name}")
    elif isinstance(other, list):
        assert isinstance(one, list), where
        examples = other[:1] * len(one) if other and isinstance(other[0], dict | list) else other
        for item, example in zip(one, examples, strict=False):
            same_shape(item, example, f"{where}[]")
    else:
        assert isinstance(one, type(other)) or {type(one), type(other)} <= {int, float} or "distractor" in where, where


VIEWS = ["grid set", "grid heads", "grid parts", "grid neurons", "attention attention"]


@pytest.mark.parametrize("kind", ["hello", "lab", "progress", "result", "preview", "selection", "queue", "error", *VIEWS])
def test_messages_to_the_page_are_like_the_examples(told, kind):
    examples = [example["json"] for example in EXAMPLES["from_kernel"].values()]
    if kind in VIEWS:
        views = [view for example in examples for view in [*example.get("views", []), example.get("open")] if view]
        examples = [view for view in views if f"{view['kind']} {view['question']['method']}" == kind]
    else:
        examples = [example for example in examples if example["type"] == kind]
    assert examples
    assert told[kind]
    for content, _ in told[kind]:
        fitting = [example for example in examples if content.keys() == example.keys()]
        assert fitting, (content.keys(), [example.keys() for example in examples])
        same_shape(json.loads(json.dumps(content)), fitting[0], kind)


def test_the_examples_name_their_buffers_as_the_kernel_does(told):
    for example in [*EXAMPLES["from_kernel"].values(), {"json": EXAMPLES["stored"]["content"], "buffers": EXAMPLES["stored"]["buffers"]}]:
        numbers = buffer_numbers(example["json"])
        assert sorted(set(numbers)) == list(range(len(example["buffers"])))
    for messages in (told["hello"], told["progress"], told["result"]):
        for content, buffers in messages:
            assert sorted(buffer_numbers(content)) == list(range(len(buffers)))


def buffer_numbers(content):
    """The numbers of buffers that a message names."""
    parts = [content.get("cells"), content.get("open"), *content.get("views", [])]
    arrays = ("index", "values", "recovery", "state", "significant")
    names = [arrays if part.get("kind") != "attention" else ("clean", "corrupted") for part in parts if part]
    return [
        part[name]
        for part, known in zip([part for part in parts if part], names, strict=True)
        for name in known
        if part.get(name) is not None
    ]


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
    first = protocol.progress("r", "v2", 2, 4, 0.3, cells=cells(0, 1))
    second = protocol.progress("r", "v2", 3, 4, 0.1, cells=cells(2))
    joined = protocol.join(first, second)
    assert (joined["done"], joined["seconds_left"]) == (3, 0.1)
    assert joined["cells"]["index"].tolist() == [0, 1, 2]
    assert first["cells"]["index"].tolist() == [0, 1]
