"""A model whose parts are not all in one place: accelerate brings them when they are called (device_map="auto" does so with large models)."""

import numpy as np
import pytest
from accelerate import dispatch_model

import patchwidget as pw
from tests.zoo import telling_pair, tiny_model, tiny_module

SITES = ("resid_pre", "z", "q", "pattern")


def scattered(architecture, folder, *, aside):
    """The model with every module whose name holds one of the words put aside, onto the disk."""
    hf = tiny_module(architecture)
    leaves = [name for name, module in hf.named_modules() if not list(module.children())]
    places = {name: "disk" if any(word in name for word in aside) else "cpu" for name in leaves}
    return dispatch_model(hf, places, main_device="cpu", offload_dir=folder)


@pytest.mark.filterwarnings("ignore:.*offloaded to the disk")
@pytest.mark.parametrize(
    "aside", [["layers.2", "layers.3", "h.2", "h.3", "head", "embed_out"], ["embed_tokens", "wte", "embed_in", "norm", "ln_f"]]
)
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox"])
def test_as_in_one_place(architecture, aside, tmp_path):
    whole = tiny_model(architecture)
    pair = telling_pair(whole)
    parts = pw.wrap(scattered(architecture, tmp_path, aside=aside))
    assert any(weight.is_meta for weight in parts.hf.parameters())
    assert any(not weight.is_meta for weight in parts.hf.parameters())
    for site in SITES:
        expected = pw.Experiment(whole, pair).sweep(site, positions="all", progress=False)
        for executor in ("auto", "hooked"):
            result = pw.Experiment(parts, pair).sweep(site, positions="all", progress=False, executor=executor)
            assert result.ok, result.checks
            assert result.info["executor"] == {"auto": "packed"}.get(executor, executor)
            np.testing.assert_allclose(result.values, expected.values, atol=1e-4)
