"""What a widget publishes: one thread, one context, one count, and no flood."""

import contextvars
import threading
import time

import numpy as np
import pytest

from patchwidget.widget.transport import protocol
from patchwidget.widget.transport.publisher import BURST, RATE, Publisher

parent = contextvars.ContextVar("parent", default="the running cell")


class Sent(list):
    """What has been sent, with the parent and the thread it had."""

    def __call__(self, message):
        self.append((message, parent.get(), threading.current_thread()))

    @property
    def messages(self):
        return [message for message, _, _ in self]


@pytest.fixture
def sent():
    return Sent()


@pytest.fixture
def publisher(sent):
    publisher = Publisher(sent)
    yield publisher
    publisher.close()


def step(view="v1", *index, done=0):
    cells = {"index": np.array(index, np.uint32)}
    return protocol.progress(None, view, done, 9, None, cells=cells)


def context_of(message):
    """The context of a handler that was called for this message."""

    def handler():
        parent.set(message)
        return contextvars.copy_context()

    return contextvars.Context().run(handler)


def test_everything_leaves_through_one_thread_in_the_adopted_context(publisher, sent):
    publisher.post(protocol.error("before"))
    publisher.drain()
    publisher.adopt(context_of("a click, in a subshell"))
    posters = [threading.Thread(target=publisher.post, args=(protocol.error(str(n)),)) for n in range(5)]
    for poster in posters:
        poster.start()
        poster.join()
    publisher.call(lambda: sent("a trait"))
    publisher.drain()
    publisher.adopt(context_of("another click"))
    publisher.post(protocol.error("after"))
    publisher.drain()
    assert [where for _, where, _ in sent] == ["the running cell"] + ["a click, in a subshell"] * 6 + ["another click"]
    assert {thread for _, _, thread in sent} == {publisher._thread}


def test_messages_are_counted_as_they_leave_and_calls_are_not(publisher, sent):
    for n in range(3):
        publisher.post(protocol.error(str(n)))
        publisher.call(lambda: None)
    publisher.drain()
    assert [(message["message"], message["seq"]) for message in sent.messages] == [("0", 1), ("1", 2), ("2", 3)]
    assert publisher.last == 3


def test_a_burst_of_progress_is_joined_and_nothing_of_it_is_lost(publisher, sent):
    begun = time.monotonic()
    for n in range(1000):
        publisher.post(step("v1", n, done=n + 1))
    publisher.drain()
    most = 2 + (time.monotonic() - begun) / 0.05
    assert 1 <= len(sent.messages) <= most
    assert np.concatenate([message["cells"]["index"] for message in sent.messages]).tolist() == list(range(1000))
    assert sent.messages[-1]["done"] == 1000


def test_progress_of_several_views_is_not_mixed_and_keeps_the_pace(publisher, sent):
    begun = time.monotonic()
    for n in range(100):
        publisher.post(step(f"v{n % 3}", n))
    publisher.drain()
    assert len(sent.messages) <= 3 * (2 + (time.monotonic() - begun) / 0.05)
    for message in sent.messages:
        assert {n % 3 for n in message["cells"]["index"]} == {int(message["view"][1:])}


def test_the_lab_and_the_selection_are_told_often_enough_and_no_more(publisher, sent):
    begun = time.monotonic()
    for n in range(1000):
        publisher.post(protocol.lab({"lab": n}))
        publisher.post(protocol.selection(None, {"cells": n}))
    publisher.drain()
    assert len(sent.messages) <= 2 * (2 + (time.monotonic() - begun) / 0.05)
    assert [message["lab"] for message in sent.messages if message["type"] == "lab"][-1] == 999
    assert [message["selection"]["cells"] for message in sent.messages if message["type"] == "selection"][-1] == 999


def test_a_flood_leaves_no_faster_than_the_server_lets_through(publisher, sent):
    begun = time.monotonic()
    for n in range(600):
        publisher.post(protocol.error(str(n)))
    publisher.drain()
    assert len(sent.messages) == 600
    assert time.monotonic() - begun >= (600 - BURST) / RATE * 0.9


@pytest.fixture
def held(publisher):
    """A publisher whose thread waits, so that what is posted meets in the queue; call it to let go."""
    gate = threading.Event()
    publisher.call(lambda: gate.wait(20))
    yield gate.set
    gate.set()


def test_the_end_of_a_view_replaces_its_waiting_progress(publisher, sent, held):
    publisher.post(step("v1", 1))
    publisher.post(step("v2", 2))
    publisher.post(protocol.result(None, "v1", "done", {}))
    held()
    publisher.drain()
    assert [(message["type"], message["view"]) for message in sent.messages] == [("result", "v1"), ("progress", "v2")]


def test_a_snapshot_replaces_all_waiting_progress(publisher, sent, held):
    publisher.post(step("v1", 1))
    publisher.post(step("v2", 2))
    publisher.post(protocol.hello({}, []))
    publisher.post(step("v2", 3))
    held()
    publisher.drain()
    assert [message["type"] for message in sent.messages] == ["hello", "progress"]
    assert sent.messages[1]["cells"]["index"].tolist() == [3]


def test_an_answer_about_the_lab_replaces_what_waits_of_it(publisher, sent, held):
    publisher.post(protocol.lab({"lab": 1}))
    publisher.post(protocol.lab({"lab": 2}, "p-1"))
    held()
    publisher.drain()
    assert [(message["id"], message["lab"]) for message in sent.messages] == [("p-1", 2)]


def test_a_view_that_is_dropped_is_not_opened_any_more(publisher, sent, held):
    for n in range(3):
        publisher.post(protocol.progress(f"p-{n}", f"v{n}", 0, 4, None, opened={"id": f"v{n}"}))
    publisher.post(protocol.result("p-1", "v1", "cancelled", None))
    held()
    publisher.drain()
    assert [(message["type"], message["view"]) for message in sent.messages] == [("progress", "v0"), ("progress", "v2"), ("result", "v1")]


def test_an_error_comes_after_the_cells_that_came_before_it(publisher, sent, held):
    publisher.post(step("v1", 1))
    publisher.post(protocol.error("no", "", None, "v1"))
    held()
    publisher.drain()
    assert [message["type"] for message in sent.messages] == ["progress", "error"]


def test_an_observer_that_fails_is_logged_and_stops_nothing(publisher, sent, caplog):
    publisher.call(lambda: 1 / 0)
    publisher.post(protocol.error("still here"))
    publisher.drain()
    assert "ZeroDivisionError" in caplog.text
    assert sent.messages[0]["message"] == "still here"


def test_after_close_nothing_is_sent_and_no_thread_is_left(publisher, sent):
    publisher.close()
    publisher.post(protocol.error("too late"))
    assert publisher.drain(timeout=5.0)
    assert not publisher._thread.is_alive()
    assert sent == []


def test_draining_has_an_end_and_is_harmless_inside(publisher, held):
    assert not publisher.drain(timeout=0.01)
    inside = []
    publisher.call(lambda: inside.append(publisher.drain()))
    held()
    publisher.drain()
    assert inside == [True]
