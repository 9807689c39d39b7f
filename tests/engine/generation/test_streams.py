"""Streams of steered text: stopped, side by side, and beside other threads."""

import threading
import time

import pytest
import torch

import patchwidget as pw
from patchwidget.engine.generation.generate import Request, Stream
from patchwidget.engine.generation.steering import Steering
from tests.engine.generation.families import FAR, PROMPTS, family, texts, vector_for


def test_an_error_in_mid_stream_comes_where_the_next_token_would():
    model = family("llama")
    stream = model.stream(PROMPTS[0], pw.Steer(vector_for(model), schedule=lambda i: 1 / (9 - i)), max_new_tokens=8, eos_token_id=None)
    with pytest.raises(ZeroDivisionError):
        list(stream)
    assert 0 < len(stream.result.tokens) < 8


def test_a_forward_in_another_thread_is_not_steered_meanwhile():
    model, prompt = family("llama"), PROMPTS[0]
    plain = model.hf(torch.tensor([prompt])).logits
    with iter_stream(model, vector_for(model)) as (stream, _):
        next(stream)
        here = model.hf(torch.tensor([prompt])).logits  # the stream's own thread is steered, this one is not
        there = []
        thread = threading.Thread(target=lambda: there.append(model.hf(torch.tensor([prompt])).logits))
        thread.start()
        thread.join()
    assert torch.equal(here, plain)
    assert torch.equal(there[0], plain)


def iter_stream(model: pw.Model, vector: pw.SteeringVector, n: int = 50):
    """A steered stream of token ids, stopped on leaving: gives (iterator, Stream)."""
    steerings = [Steering("resid_post", layer, vector[layer], "add", 1.0, ((0, FAR),)) for layer in vector.layers]
    request = Request([PROMPTS[0]], steerings, None, {"max_new_tokens": n, "do_sample": False, "eos_token_id": None})

    class Opened:
        def __enter__(self):
            self.stream = Stream(model, request)
            return iter(self.stream), self.stream

        def __exit__(self, *error):
            self.stream.stop()

    return Opened()


def test_a_stream_gives_what_generate_gives():
    model = family("llama")
    vector = vector_for(model)
    expected = texts(model, PROMPTS[:1], vector)[0]
    with iter_stream(model, vector, 8) as (tokens, stream):
        assert list(tokens) == expected == stream.tokens


def test_a_stopped_stream_computes_at_most_one_token_more():
    model = family("llama")
    forwards = []
    handle = model.hf.register_forward_hook(lambda *_: forwards.append(1))
    with iter_stream(model, vector_for(model)) as (tokens, stream):
        taken = [next(tokens) for _ in range(3)]
        stream.stop()
        assert not stream._thread.is_alive()
        assert list(tokens) == []
    handle.remove()
    assert stream.tokens == taken
    assert 3 <= len(forwards) <= 6  # one waits in the queue, one behind it


def test_a_stream_stops_from_another_thread_while_its_reader_waits():
    model = family("llama")
    hold = threading.Event()

    def slow(i: int) -> float:
        if i == 9:
            hold.wait(20)
        return 1.0

    stream = model.stream(PROMPTS[0], pw.Steer(vector_for(model), schedule=slow), max_new_tokens=30, eos_token_id=None)
    pieces: list[str] = []
    reader = threading.Thread(target=lambda: pieces.extend(stream))
    reader.start()
    while len(stream.result.tokens) < 2:
        time.sleep(0.005)
    stopper = threading.Thread(target=stream.stop)
    stopper.start()
    hold.set()
    for thread in (stopper, reader):
        thread.join(20)
        assert not thread.is_alive()
    assert len(pieces) < 30


def test_two_streams_side_by_side_are_each_what_they_are_alone():
    model = family("llama")
    options = {"max_new_tokens": 8, "eos_token_id": None, "temperature": 1.3}
    alone = [model.generate(PROMPTS[0], vector, seed=3, **options).tokens for vector in (None, vector_for(model))]
    streams = [model.stream(PROMPTS[0], vector, seed=3, **options) for vector in (None, vector_for(model))]
    for _ in zip(*streams, strict=True):
        with model.lock:  # while neither has its turn, when torch's numbers are its own
            torch.rand(5)  # somebody else draws
    assert [stream.result.tokens for stream in streams] == alone


def test_the_lock_is_free_between_tokens():
    model = family("llama")
    with iter_stream(model, vector_for(model)) as (tokens, _):
        for _ in range(3):
            next(tokens)
            assert model.lock.acquire(timeout=20)
            model.lock.release()
