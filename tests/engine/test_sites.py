"""Each site says which tensor it is in each kind of block, and is that tensor."""

import pytest
import torch

from patchwidget.engine.recording import record
from patchwidget.engine.sites import SITES, axis_size, find_site
from tests.zoo import CLEAN, PARALLEL, tiny_model

SEQUENTIAL = ["gpt2", "llama", "opt", "qwen3"]
POST_NORM = ["gemma2", "gemma3_text", "olmo2"]
LAYER, LENGTH = 2, len(CLEAN)


@pytest.mark.parametrize("name", SITES)
def test_each_says_which_tensor_it_is_in_each_kind_of_block(name):
    text = SITES[name].__doc__
    assert SITES[name].tensor in text
    assert SITES[name].tensor.endswith("]")  # its shape
    assert "In parallel blocks (GPT-NeoX, Phi): " in text
    assert "In post-norm blocks (Gemma 2 and 3, OLMo 2): " in text


def test_what_is_not_the_same_everywhere():
    assert "there is none" in SITES["resid_mid"].parallel
    for site in ("attn_out", "mlp_out"):
        assert "norm behind" in SITES[site].post_norm
    assert find_site("module:model.norm").__doc__.startswith("the output of a module")


@pytest.mark.parametrize("architecture", [*SEQUENTIAL, *sorted(PARALLEL), *POST_NORM])
def test_each_is_the_tensor_that_it_says(architecture):
    model = tiny_model(architecture)
    sites = {site for site in SITES if not site.endswith("_per_head") and (site, architecture in PARALLEL) != ("resid_mid", True)}
    recording, block = record(model, CLEAN, sites), model.anatomy.blocks[LAYER]
    found = {site: recording.at(site, LAYER) for site in sites}

    sizes = {"pos": LENGTH, "dest_pos": LENGTH, "src_pos": LENGTH, "d_model": 32, "d_head": 8, "head": 4, "kv_head": model.n_kv_heads}
    for site, tensor in found.items():
        sizes["neuron"] = axis_size(model, SITES["mlp_post"], LAYER)
        axes = SITES[site].tensor.rpartition("[")[2].rstrip("]").split(", ")
        assert list(tensor.shape) == [sizes[axis] for axis in axes], site

    with torch.no_grad():
        projected = {"attn_out": block.o_proj(found["z"].flatten(1)), "mlp_out": block.down(found["mlp_post"])}
        for site, output in projected.items():
            added = getattr(block, site)(output) if architecture in POST_NORM else output
            torch.testing.assert_close(found[site], added, rtol=1e-4, atol=1e-4)

    if architecture in PARALLEL:
        whole = found["resid_pre"] + found["attn_out"] + found["mlp_out"]
    else:
        torch.testing.assert_close(found["resid_mid"], found["resid_pre"] + found["attn_out"], rtol=1e-4, atol=1e-4)
        whole = found["resid_mid"] + found["mlp_out"]
    torch.testing.assert_close(found["resid_post"], whole, rtol=1e-4, atol=1e-4)

    torch.testing.assert_close(found["pattern"].sum(-1), torch.ones(LENGTH, 4))
    values = found["v"].repeat_interleave(4 // model.n_kv_heads, 1)
    torch.testing.assert_close(found["z"], torch.einsum("dhs,shv->dhv", found["pattern"], values), rtol=1e-4, atol=1e-4)
