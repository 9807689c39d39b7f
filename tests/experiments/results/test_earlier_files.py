"""Files that earlier commits wrote open as they did.

Folders are called after the version of checkpoints that was written then (1: commit 4ed02d4); each was written, there, by
`python -m tests.experiments.results.test_earlier_files FOLDER`.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

import patchwidget as pw
from tests.zoo import REFERENCE

FILES = REFERENCE / "files"
VERSIONS = sorted(folder.name for folder in FILES.iterdir())
PAIR = pw.PromptPair([5, 9, 12, 3, 7, 21], [5, 9, 14, 3, 7, 21], answer=4, distractor=6)


def model() -> pw.Model:
    return pw.wrap(AutoModelForCausalLM.from_pretrained(REFERENCE / "llama", dtype=torch.float32).eval(), name="reference")


def experiment() -> pw.Experiment:
    return pw.Experiment(model(), PAIR, ["logit_diff", "prob"])


def vector() -> pw.SteeringVector:
    return pw.SteeringVector.from_pairs(model(), [[5, 9, 12], [3, 7, 8]], [[5, 9, 14], [3, 7, 2]], layers=[1, 2])


def write(folder: Path) -> None:
    folder.mkdir(parents=True)
    experiment().sweep("z", positions="each").save(folder / "result.pw")
    vector().save(folder / "vector.safetensors")
    vector().save(folder / "vector.gguf")
    experiment().sweep("z", positions="all", checkpoint=folder / "sweep.checkpoint")


@pytest.mark.parametrize("version", VERSIONS)
def test_results(version):
    opened, now = pw.open_result(FILES / version / "result.pw"), experiment().sweep("z", positions="each")
    for one, other in [(opened, now), (opened["prob"], now["prob"])]:
        assert (one.values.dims, one.clean) == (other.values.dims, pytest.approx(other.clean, abs=1e-5))
        np.testing.assert_allclose(one.values, other.values, atol=1e-5)
        assert [check.name for check in one.checks] == [check.name for check in other.checks]
    assert opened.ok
    assert list(opened.to_frame().columns) == list(now.to_frame().columns)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["vector.safetensors", "vector.gguf"])
def test_vectors(version, name):
    loaded, now = pw.SteeringVector.load(FILES / version / name), vector()
    assert (loaded.layers, loaded.site, loaded.method) == (now.layers, now.site, now.method)
    for layer in now.layers:
        torch.testing.assert_close(loaded[layer], now[layer])
    assert pw.Steer(loaded, 2.0).bound(model(), [3])


@pytest.mark.skipif(
    transformers.__version__ != "5.23.0", reason="configurations, which count as the model's, have other fields in other versions"
)
def test_a_checkpoint_is_gone_on_with(tmp_path):
    written, path = FILES / "2" / "sweep.checkpoint", tmp_path / "sweep.checkpoint"
    path.write_bytes(written.read_bytes())
    values = experiment().sweep("z", positions="all", checkpoint=path).values
    np.testing.assert_allclose(values, experiment().sweep("z", positions="all").values, atol=1e-5)
    assert path.read_bytes() == written.read_bytes()  # no cell was computed again


def test_a_checkpoint_of_version_1_is_refused(tmp_path):
    path = tmp_path / "sweep.checkpoint"
    path.write_bytes((FILES / "1" / "sweep.checkpoint").read_bytes())
    with pytest.raises(pw.PatchError, match="checkpoint of version 1, and this patchwidget knows version 2"):
        experiment().sweep("z", positions="all", checkpoint=path)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
