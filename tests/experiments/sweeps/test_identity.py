"""What a function computes by, told from its code and all that it uses."""

import subprocess
import sys
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch

from patchwidget.experiments.sweeps.identity import described

SCRIPT = """
import json, sys
from functools import partial
import torch
from patchwidget.experiments.sweeps.identity import described

weights = torch.arange(4.0)
LIMITS = {"low", "high", "middle"}

class Probe:
    def __init__(self, bias):
        self.bias, self.probe = bias, self
    def __call__(self, logits):
        return helper(logits) + self.bias

def helper(logits):
    return [row @ weights for row in logits if "low" in LIMITS]

print(json.dumps(described([Probe(2), partial(helper, logits=None), torch.softmax, helper, lambda x: helper(x)])))
"""


def made(source: str, **known) -> object:
    """The function `f` of a module of its own."""
    names = {"__name__": "lesson", "torch": torch, "np": np, "partial": partial, **known}
    exec(source, names)
    return names["f"]


def test_it_is_the_same_in_another_process():
    folder = Path(__file__).parents[3]
    runs = [subprocess.run([sys.executable, "-c", SCRIPT], cwd=folder, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert runs[0] == runs[1]
    assert "0x" not in runs[0]  # no place in memory


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("f = lambda x: x[:, 5]", "f = lambda x: x[:, 6]"),
        ("f = lambda x: x.max()", "f = lambda x: x.min()"),
        ("def f(x, at=5): return x[at]", "def f(x, at=6): return x[at]"),
        ("def f(x, *, at=5): return x[at]", "def f(x, *, at=6): return x[at]"),
        ("f = (lambda at: lambda x: x[at])(5)", "f = (lambda at: lambda x: x[at])(6)"),
        ("f = (lambda w: lambda x: x @ w)(torch.tensor([1., 2]))", "f = (lambda w: lambda x: x @ w)(torch.tensor([2., 1]))"),
        ("f = (lambda w: lambda x: x @ w)(np.array([1, 2]))", "f = (lambda w: lambda x: x @ w)(np.array([2, 1]))"),
        ("f = lambda x: [y + 1 for y in x]", "f = lambda x: [y + 2 for y in x]"),
        ("def f(x):\n def g(y): return y + 1\n return g(x)", "def f(x):\n def g(y): return y + 2\n return g(x)"),
        ("AT = 5\nf = lambda x: x[AT]", "AT = 6\nf = lambda x: x[AT]"),
        ("def g(x): return x + 1\nf = lambda x: g(x)", "def g(x): return x + 2\nf = lambda x: g(x)"),
        ("f = partial(lambda x, y: x + y, y=1)", "f = partial(lambda x, y: x + y, y=2)"),
        (
            "class A:\n def __init__(self, n): self.n = n\n def __call__(self, x): return x[self.n]\nf = A(1)",
            "class A:\n def __init__(self, n): self.n = n\n def __call__(self, x): return x[self.n]\nf = A(2)",
        ),
        ("class A:\n def at(self, x): return x + 1\nf = A().at", "class A:\n def at(self, x): return x + 2\nf = A().at"),
        (
            "class A:\n def at(self, x): return x + 1\nf = lambda x: A().at(x)",
            "class A:\n def at(self, x): return x + 2\nf = lambda x: A().at(x)",
        ),
        ("f = torch.softmax", "f = torch.log_softmax"),
        ("f = torch.nn.Linear(1, 1).eval()\nf.weight.data[:] = 1", "f = torch.nn.Linear(1, 1).eval()\nf.weight.data[:] = 2"),
    ],
)
def test_what_computes_something_else_is_another(one, other):
    assert described(made(one)) != described(made(other))
    if "Linear" not in one:  # its bias is random
        assert described(made(one)) == described(made("\n# a note\n" + one))


def test_functions_that_hold_each_other_and_those_that_are_wrapped():
    twice = "def g(x): return f(x - 1)\ndef f(x): return x and {}(x)"
    assert described(made(twice.format("g"))) == described(made(twice.format("g")))
    assert described(made(twice.format("g"))) != described(made(twice.format("f")))
    assert described(cache(made("f = lambda x: x + 1"))) != described(cache(made("f = lambda x: x + 2")))


def test_data():
    @dataclass
    class Kept:
        numbers: torch.Tensor

    assert described(Kept(torch.ones(2000))) == described(Kept(torch.ones(2000)))
    changed = torch.ones(2000)
    changed[1000] = 2  # where printing leaves it out
    assert described(Kept(changed)) != described(Kept(torch.ones(2000)))
    assert described([1, 2.0, None, b"x", {"a": (1,)}, np.array(["x", None], object)]) == [
        "list",
        [
            1,
            ["float", "2.0"],
            None,
            ["bytes", "b'x'"],
            ["mapping", [["a", ["tuple", [1]]]]],
            ["array", "object", (2,), ["list", ["x", None]]],
        ],
    ]
