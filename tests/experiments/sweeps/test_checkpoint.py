"""A sweep whose process is killed goes on where it was."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from accelerate import disk_offload

import patchwidget as pw
from patchwidget.experiments.sweeps import sweep as sweeps
from tests.zoo import telling_pair, tiny_experiment, tiny_model, tiny_module

PAIRS = 6
SCRIPT = """
import sys, time
import patchwidget as pw
from patchwidget.experiments.sweeps import sweep
from tests.experiments.sweeps.test_checkpoint import experiment

sweep.CELLS_AT_ONCE = 1
keep = sweep.Sweep._keep
def slowly(self, *args):
    batch = keep(self, *args)
    print(self.done, flush=True)
    time.sleep(0.2)
    return batch
sweep.Sweep._keep = slowly
experiment().sweep("resid_pre", checkpoint=sys.argv[1], progress=False)
"""


def experiment():
    model = tiny_model()
    clean = [54, 12, 77, 31, 8, 66, 91, 23]
    pairs = [telling_pair(model, [*clean, k], [*clean[:3], 40 + k, *clean[4:], k]) for k in range(PAIRS)]
    return pw.Experiment(model, pairs)


def test_a_killed_process_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / "sweep.checkpoint"
    folder = Path(__file__).parents[3]
    options = {"cwd": folder, "env": {**os.environ, "PYTHONPATH": str(folder)}, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", SCRIPT, str(path)], **options) as process:
        done = [int(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGKILL)
    assert 0 < done[-1] < PAIRS * 4 * 9
    with path.open("ab") as file:  # the batch that was being written
        file.write(b"\x10\x00\x00\x00cut")

    monkeypatch.setattr(sweeps, "CELLS_AT_ONCE", 1)
    again, computed = experiment(), []
    keep = sweeps.Sweep._keep
    monkeypatch.setattr(sweeps.Sweep, "_keep", lambda self, index, *rest: computed.extend(index) or keep(self, index, *rest))
    result = again.sweep("resid_pre", checkpoint=path)
    assert len(computed) <= PAIRS * 4 * 9 - done[-1]  # what was there is not computed again
    assert len(set(computed)) == len(computed)
    np.testing.assert_allclose(result.values, experiment().sweep("resid_pre").values, atol=1e-5)
    assert result.ok
    assert result.complete

    computed.clear()
    np.testing.assert_array_equal(again.sweep("resid_pre", checkpoint=path).values, result.values)
    assert not computed


def test_it_belongs_to_its_sweep(tmp_path):
    path = tmp_path / "sweep.checkpoint"
    tiny_experiment().sweep("z", positions="all", checkpoint=path)
    for other in (
        lambda: tiny_experiment().sweep("z", positions="all", heads=[1], checkpoint=path),
        lambda: tiny_experiment().sweep("z", positions="all", source="zero", checkpoint=path),
        lambda: tiny_experiment(direction="noise").sweep("z", positions="all", checkpoint=path),
        lambda: tiny_experiment(metric="prob").sweep("z", positions="all", checkpoint=path),
        lambda: pw.Experiment(tiny_model(seed=1), tiny_experiment().prompts).sweep("z", positions="all", checkpoint=path),
    ):
        with pytest.raises(pw.PatchError, match="belongs to another sweep"):
            other()


def sweep(path, model=None, metric="logit_diff"):
    model = model or tiny_model()
    return pw.Experiment(model, telling_pair(tiny_model()), metric).sweep("z", positions="all", checkpoint=path)


def test_it_belongs_to_its_model(tmp_path):
    path, model = tmp_path / "sweep.checkpoint", tiny_model()
    sweep(path, model)
    weight = model.hf.lm_head.weight.data
    before = weight[5, 7].item()
    weight[5, 7] += 1e-3
    with pytest.raises(pw.PatchError, match="belongs to another sweep: it differs in the model"):
        sweep(path, model)
    weight[5, 7] = before
    sweep(path, model)
    handle = model.hf.model.layers[1].register_forward_hook(lambda module, args, output: output)
    with pytest.raises(pw.PatchError, match="another sweep"):
        sweep(path, model)
    handle.remove()
    mlp = model.hf.model.layers[1].mlp
    mlp.forward = lambda x: type(mlp).forward(mlp, x) * 0.5
    with pytest.raises(pw.PatchError, match="another sweep"):
        sweep(path, model)
    del mlp.forward
    sweep(path, model)
    model.hf.model.layers[0].self_attn.scaling *= 1.5
    with pytest.raises(pw.PatchError, match="another sweep"):
        sweep(path, model)


def test_it_belongs_to_its_functions(tmp_path):
    path = tmp_path / "sweep.checkpoint"
    sweep(path, metric=lambda logits: logits[:, 5])
    sweep(path, metric=lambda logits: logits[:, 5])
    with pytest.raises(pw.PatchError, match="it differs in the metrics"):
        sweep(path, metric=lambda logits: logits[:, 6])


def test_weights_on_disk(tmp_path):
    path = tmp_path / "sweep.checkpoint"

    def on_disk(seed: int) -> pw.Model:
        return pw.wrap(disk_offload(tiny_module("llama", seed), offload_dir=str(tmp_path / str(seed))), name="llama")

    result = sweep(path, on_disk(0))
    np.testing.assert_array_equal(sweep(path, on_disk(0)).values, result.values)
    with pytest.raises(pw.PatchError, match="another sweep"):
        sweep(path, on_disk(1))


def test_what_is_no_checkpoint(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("Buy milk.\n")
    with pytest.raises(pw.PatchError, match="is no checkpoint"):
        tiny_experiment().sweep("resid_pre", checkpoint=path)
    assert path.read_text() == "Buy milk.\n"
    path.write_text('{"format": "patchwidget checkpoint", "version": 9}\n')
    with pytest.raises(pw.PatchError, match="of version 9"):
        tiny_experiment().sweep("resid_pre", checkpoint=path)
    with pytest.raises(pw.PatchError, match="is no plain file"):
        tiny_experiment().sweep("resid_pre", checkpoint=tmp_path)
    with pytest.raises(pw.PatchError, match="can't be written"):
        tiny_experiment().sweep("resid_pre", checkpoint=tmp_path / "nowhere" / "x")
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]
