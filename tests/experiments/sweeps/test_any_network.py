"""Networks that are no transformers, and modules of transformers that have no name of their own, by the path of a module."""

import numpy as np
import pytest
import torch
from torch import nn

import patchwidget as pw
from tests.zoo import tiny_experiment


def test_modules_by_path():
    experiment = tiny_experiment()
    for site, same in [("module:model.layers.2.input", ("resid_pre", 2)), ("module:model.layers.1.mlp", ("mlp_out", 1))]:
        for executor in ("packed", "hooked"):
            found = experiment.sweep(site, executor=executor)
            assert found.values.dims == ("pos",)
            np.testing.assert_allclose(found.values, experiment.sweep(same[0], layers=[same[1]]).values[0], atol=1e-4)
    embedding = experiment.sweep("module:model.embed_tokens", positions="all")
    assert embedding.info["executor"] == "hooked"  # it is in no block
    assert float(embedding.recovery) == pytest.approx(1, abs=1e-4)


class Recurrent(nn.Module):
    """[batch, position, features] in and out, and not causal."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.GRU(5, 8, batch_first=True, bidirectional=True), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.rnn(x)[0])


def test_any_network_on_vectors():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 3)).eval()
    x, y = torch.randn(6), torch.randn(6)
    experiment = pw.Experiment(pw.wrap(net), pw.PromptPair(x, y, answer=0, distractor=1))
    with torch.no_grad():
        hidden = net[0](y)
        hidden[3] = 0.25
        out = net[2](net[1](hidden))
    one = experiment.patch(pw.Patch("module:0", neuron=3, source=0.25))
    assert float(one.values) == pytest.approx(float(out[0] - out[1]), abs=1e-5)
    each = experiment.sweep("module:0", neurons=range(10), positions="all")
    assert each.values.sizes == {"neuron": 10}
    assert float(experiment.sweep("module:2.input", positions="all").recovery) == pytest.approx(1, abs=1e-5)
    alone = pw.Experiment(pw.wrap(net), pw.PromptPair(x, answer=0), "logit").patch(pw.Patch("module:0", neuron=3, source=0.25))
    assert alone.recovery.isnull()
    assert "nothing to recover" in alone.reason
    with pytest.raises(pw.SiteError, match="Neuron 10 does not exist"):
        experiment.sweep("module:0", neurons=[10], positions="all")
    with pytest.raises(pw.ModelError, match="takes no tokens"):
        experiment.sweep("resid_pre")
    with pytest.raises(pw.PromptError, match="do not fit together"):
        pw.Experiment(pw.wrap(net), pw.PromptPair(x, torch.randn(7)))


def test_any_network_on_sequences():
    torch.manual_seed(0)
    net = Recurrent().eval()
    x, y = torch.randn(7, 5), torch.randn(7, 5)
    experiment = pw.Experiment(pw.wrap(net), pw.PromptPair(x, y, answer=0, distractor=1))
    result = experiment.sweep("module:rnn")
    with torch.no_grad():
        clean, corrupted = net.rnn(x[None])[0][0], net.rnn(y[None])[0][0]
        for position in range(7):
            hidden = corrupted.clone()
            hidden[position] = clean[position]
            out = net.out(hidden)[-1]
            assert float(result.values.sel(pos=position)) == pytest.approx(float(out[0] - out[1]), abs=1e-5)
        # one activation set to a value, at one position
        hidden = corrupted.clone()
        hidden[3, 5] = 0.7
        out = net.out(hidden)[-1]
    one = experiment.patch(pw.Patch("module:rnn", pos=3, neuron=5, source=0.7))
    assert float(one.values) == pytest.approx(float(out[0] - out[1]), abs=1e-5)


def test_a_module_that_never_runs():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x):
            return self.used(x)

    experiment = pw.Experiment(pw.wrap(Half().eval()), pw.PromptPair(torch.ones(4), torch.zeros(4), 0, 1))
    assert len(experiment.baselines.clean_top) == 3
    assert experiment.sweep("module:used").ok
    with pytest.raises(pw.SiteError, match="never passed at module:unused"):
        experiment.sweep("module:unused")
