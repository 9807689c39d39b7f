"""How users write with the public model, for pyright, which `make check` runs on this file: it fails where an expression loses its type."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from typing import assert_type

import numpy as np
import torch
import xarray as xr

import patchwidget as pw
from patchwidget.steering.generation import TextStream
from patchwidget.steering.ladder import Ladder


def texts(vector: pw.SteeringVector) -> None:
    model = assert_type(pw.load(), pw.Model)
    generation = assert_type(model.generate("My opinion is that", pw.Steer(vector, 2.0), max_new_tokens=5, top_p=0.9), pw.Generation)
    assert_type(generation.text, str)
    assert_type(generation.kl, np.ndarray)
    assert_type(model.generate([5, 6, 7]), pw.Generation)
    assert_type(model.generate(torch.tensor([5, 6, 7]), [vector, pw.Steer(vector)]), pw.Generation)
    assert_type(model.generate([{"role": "user", "content": "Hello"}], {15: vector[15]}), pw.Generation)
    assert_type(model.generate(["one", "two"]), list[pw.Generation])
    assert_type(model.generate([[5, 6], [7]]), list[pw.Generation])
    assert_type(model.generate("one", num_return_sequences=3, temperature=1.0), pw.Generation | list[pw.Generation])
    stream = assert_type(model.stream("one", vector, seed=0), TextStream)
    assert_type(list(stream), list[str])
    assert_type(stream.result, pw.Generation)


def numbers(model: pw.Model, vector: pw.SteeringVector) -> None:
    assert_type(model.logits("one"), torch.Tensor)
    assert_type(model.logits(["one", "two"], vector), list[torch.Tensor])
    ladder = assert_type(model.ladder("one", vector, np.linspace(-1, 1, 9), tokens=[" good", " bad"]), Ladder)
    assert_type(ladder.probabilities, xr.DataArray)


def wrapped(hf: torch.nn.Module) -> None:
    assert_type(pw.wrap(hf), pw.Model)
    assert_type(pw.wrap(hf).generate([1, 2]).tokens, list[int])


def refused(model: pw.Model) -> None:
    """What is marked has to be an error: a mark where there is none is one too."""
    model.generate("one", steer="louder")  # pyright: ignore[reportCallIssue, reportArgumentType]
    model.stream(["one", "two"])  # pyright: ignore[reportArgumentType]
    model.ladder("one", 2.0, [1.0])  # pyright: ignore[reportArgumentType]
