"""The public names: written three times, and the same each time; reached as `pw.NAME`, whatever file defines them."""

import ast
import importlib
import inspect
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import patchwidget as pw
from tests.zoo import tiny_experiment

TREE = ast.parse(Path(pw.__file__).read_text())
LAZY = {**pw._HOME, **pw._MODULES}


def assigned(name: str) -> ast.expr:
    """What `__init__.py` assigns to a name."""
    return next(node.value for node in TREE.body if isinstance(node, ast.Assign) and [target.id for target in node.targets] == [name])


def imported(for_types: bool) -> Iterator[tuple[str, str]]:
    """The names that `__init__.py` imports from its own files, for the type checker or at once, with the modules they come from."""
    block = next(node for node in TREE.body if isinstance(node, ast.If)).body if for_types else TREE.body
    for node in block:
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            for alias in node.names:
                yield alias.name, f"{node.module}.{alias.name}" if alias.name in pw._MODULES else str(node.module)


def keys(table: ast.expr) -> Iterator[str]:
    """The names in a table as it is written, twice if they stand there twice."""
    assert isinstance(table, ast.Dict)
    for key, value in zip(table.keys, table.values, strict=True):
        if key is None:  # **dict.fromkeys([...], home)
            assert isinstance(value, ast.Call)
            yield from ast.literal_eval(value.args[0])
        else:
            yield ast.literal_eval(key)


def test_each_name_stands_once_in_each_place():
    lazy = [*keys(assigned("_HOME")), *keys(assigned("_MODULES"))]
    typed = [name for name, _ in imported(for_types=True)]
    at_once = [name for name, _ in imported(for_types=False)]
    for names in (pw.__all__, lazy, typed):
        assert len(names) == len(set(names))
    assert sorted(lazy) == sorted(typed)
    assert sorted([*lazy, *at_once]) == sorted(pw.__all__) == sorted(dir(pw))


def test_the_type_checker_is_told_the_same_home():
    assert dict(imported(for_types=True)) == LAZY


@pytest.mark.parametrize("name", pw.__all__)
def test_every_name_can_be_had(name):
    value = getattr(pw, name)
    assert inspect.ismodule(value) == (name in pw._MODULES)
    if name in pw._HOME:
        assert value is getattr(importlib.import_module(f"patchwidget.{pw._HOME[name]}"), name)


def test_a_name_misspelt_in_the_table_is_an_error(monkeypatch):
    monkeypatch.setitem(pw._HOME, "Experimnt", "experiments.experiment")
    with pytest.raises(AttributeError, match="has no attribute 'Experimnt'"):
        pw.Experimnt  # noqa: B018
    with pytest.raises(AttributeError, match="module 'patchwidget' has no attribute 'Experiments'"):
        pw.Experiments  # noqa: B018


def test_public_names_say_that_they_are_of_the_package():
    assert {name: getattr(pw, name).__module__ for name in pw._HOME} == dict.fromkeys(pw._HOME, "patchwidget")
    assert repr(pw.PatchResult) == "<class 'patchwidget.PatchResult'>"


@pytest.mark.parametrize("name", pw._HOME)
def test_classes_and_functions_are_pickled_by_their_public_name(name):
    value = getattr(pw, name)
    data = pickle.dumps(value)
    assert pickle.loads(data) is value
    assert pw._HOME[name].encode() not in data


def test_what_people_keep_is_pickled_by_public_names():
    experiment = tiny_experiment()
    result, vector = experiment.sweep("z", layers=[0], positions="all"), pw.SteeringVector({1: torch.ones(32)}, site="resid_pre")
    for kept in (result, vector, pw.PromptSet([experiment.prompts[0]]), pw.Noise(0.1), pw.PromptError("No.", "Yes.")):
        data = pickle.dumps(kept)
        assert type(pickle.loads(data)) is type(kept)
        assert not [home for home in pw._HOME.values() if f"patchwidget.{home}".encode() in data]
