"""Out of memory in mid-sweep: halve, go on, same numbers."""

import weakref

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import patchwidget as pw
from patchwidget.engine.executors.packed import PackedExecutor
from patchwidget.engine.memory import size_of
from tests.zoo import CLEAN, telling_pair, tiny_experiment, tiny_model


def test_a_walk_that_does_not_fit_is_halved(monkeypatch):
    experiment = tiny_experiment()
    expected = experiment.sweep("resid_pre").values.to_numpy()
    walk, sizes = PackedExecutor._walk, []

    def tight(self, plans):
        sizes.append(len(plans))
        if len(plans) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return walk(self, plans)

    monkeypatch.setattr(PackedExecutor, "_walk", tight)
    result = experiment.sweep("resid_pre")
    assert max(sizes) > 5
    np.testing.assert_allclose(result.values, expected, atol=1e-5)


def test_one_cell_that_does_not_fit_is_an_error(monkeypatch):
    def full(self, plans):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(PackedExecutor, "_walk", full)
    with pytest.raises(pw.PatchError, match="does not fit into memory"):
        tiny_experiment().sweep("resid_pre")


class Peak(TorchDispatchMode):
    """Counts the bytes of tensors made while it is open and not yet gone."""

    def __init__(self, model):
        super().__init__()
        self.now = self.most = 0
        self._seen = {tensor.untyped_storage().data_ptr() for tensor in [*model.hf.parameters(), *model.hf.buffers()]}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in self._seen:
                self._count(tensor.untyped_storage())
        return out

    def _count(self, storage):
        key, size = storage.data_ptr(), storage.nbytes()
        self._seen.add(key)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key, size):
        self._seen.discard(key)
        self.now -= size


def peak_of(max_memory, architecture, executor, **sizes):
    model = tiny_model(architecture, **sizes)
    _ = model.anatomy
    experiment = pw.Experiment(model, telling_pair(model), max_memory=max_memory)
    with Peak(model) as peak:
        values = experiment.sweep("z", executor=executor, progress=False).values.to_numpy()
    return peak.most, values


@pytest.mark.parametrize("executor", ["packed", "hooked"])
@pytest.mark.parametrize(("architecture", "allowed"), [("gpt2", 1_000_000), ("llama", 700_000), ("qwen3_moe", 4_000_000)])
def test_memory_stays_under_what_is_allowed(architecture, allowed, executor):
    free, expected = peak_of(None, architecture, executor, hidden_size=64, n_embd=64)
    tight, values = peak_of(allowed, architecture, executor, hidden_size=64, n_embd=64)
    assert tight < allowed < free, (tight, free)
    np.testing.assert_allclose(values, expected, atol=1e-4)


def test_too_little_memory_for_one_cell():
    model = tiny_model()
    with pytest.raises(pw.PatchError, match=r"max_memory is 0.1 MB, and the recorded runs and a single cell need up to"):
        pw.Experiment(model, telling_pair(model), max_memory="100KB").sweep("resid_pre")


@pytest.mark.parametrize("size", ["much", 0, "-2GB"])
def test_a_size_that_is_none(size):
    model = tiny_model()
    with pytest.raises(pw.PatchError, match="is not a size"):
        pw.Experiment(model, telling_pair(model), max_memory=size)


def test_a_long_list_of_pairs_is_worked_on_a_few_at_a_time(monkeypatch):
    """One cell for each pair, which by their number would all go together: the recordings of only a few of them are held."""
    together, make = [], PackedExecutor.__init__

    def counting(self, model, bases, *rest):
        together.append(len(bases))
        make(self, model, bases, *rest)

    monkeypatch.setattr(PackedExecutor, "__init__", counting)
    model = tiny_model()
    pairs = [telling_pair(model, [*CLEAN[:8], k], [*CLEAN[:3], 40 + k, *CLEAN[4:8], k]) for k in range(1, 11)]
    results = []
    for allowed in (None, 600_000):
        together.clear()
        experiment = pw.Experiment(model, pairs, max_memory=allowed)
        results.append(experiment.sweep("mlp_post", layers=[list(range(4))], neurons=[list(range(64))], positions="all", progress=False))
        assert max(together) == min(10, experiment.runs.pairs_at_once)
        assert sum(together) == 10
    assert 1 < max(together) < 10
    assert size_of(experiment.runs.recordings.kept.values()) < 600_000
    assert results[1].ok
    np.testing.assert_allclose(results[1].values, results[0].values, atol=1e-4)


def test_without_a_limit_it_is_by_what_is_free(monkeypatch):
    from patchwidget.runs import budget

    model = tiny_model()
    pair = telling_pair(model)
    most = []
    for free in (10**10, 10**7, 10**6):
        monkeypatch.setattr(budget, "free_memory", lambda device, free=free: free)
        experiment = pw.Experiment(model, [pair] * 3)
        most.append((experiment.runs.pairs_at_once, experiment.runs.make_executor("packed").max_rows))
    assert most == sorted(most, reverse=True)
    assert most[0][0] > most[1][0] > most[2][0] >= 1
    assert most[0][1] > most[2][1]
