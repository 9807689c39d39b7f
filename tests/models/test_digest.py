"""Every number of a model counts, and where it stands."""

import pytest
import torch
from accelerate import cpu_offload, disk_offload
from hypothesis import given, settings
from hypothesis import strategies as st

from patchwidget import ModelError
from patchwidget.models.digest import model_digest, tensor_digest
from tests.zoo import tiny_module

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int8, torch.uint8, torch.bool, torch.int64, torch.complex64]


def random_tensor(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    drawn = 20 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return drawn > 0 if dtype == torch.bool else drawn.to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (33, 1031), (0, 4)])
def test_each_number_counts(dtype, shape):
    tensor = random_tensor(dtype, *shape)
    digest = tensor_digest(tensor)
    assert tensor_digest(tensor.clone()) == digest
    for place in {0, tensor.numel() // 2, tensor.numel() - 1} if tensor.numel() else ():
        other = tensor.clone()
        other.view(-1)[place] = ~other.view(-1)[place] if dtype == torch.bool else other.view(-1)[place] + 8
        assert tensor_digest(other) != digest
    assert tensor_digest(tensor[None]) != digest  # another shape


def test_the_same_bits_of_another_kind_are_another_tensor():
    tensor = random_tensor(torch.float32, 6, 4)
    assert len({tensor_digest(kind) for kind in (tensor, tensor.view(torch.int32), tensor.view(4, 6), tensor.view(24))}) == 4


def test_how_it_lies_in_memory_does_not_count():
    tensor = random_tensor(torch.float32, 40, 64)
    columns = torch.empty(64, 40).t().copy_(tensor)
    beside = torch.empty(40 * 64 + 1)[1:].view(40, 64).copy_(tensor)  # begins between two words
    strided = torch.empty(40, 128)[:, ::2].copy_(tensor)
    assert {tensor_digest(one) for one in (columns, beside, strided)} == {tensor_digest(tensor)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
@pytest.mark.parametrize("width", [64, 24_000])  # of many rows to one 64 kB, and of several 64 kB to one row
def test_an_exchange_is_seen(dtype, width):
    tensor = random_tensor(dtype, 12, width)
    digest = tensor_digest(tensor)
    for first, second in [(0, 1), (0, 2), (3, 8)]:
        for dim in (0, 1):
            order = torch.arange(tensor.shape[dim])
            order[[first, second]] = order[[second, first]]
            assert tensor_digest(tensor.index_select(dim, order)) != digest
        inside = tensor.clone()
        inside[4, [first, second]] = tensor[4, [second, first]]
        assert tensor_digest(inside) != digest
        both = tensor.clone()  # sums of rows and of columns stay
        both[first, first] += 4
        both[second, second] += 4
        both[first, second] -= 4
        both[second, first] -= 4
        assert tensor_digest(both) != digest


@given(st.lists(st.integers(0, 10_239), min_size=2, max_size=6, unique=True))
@settings(max_examples=60, deadline=None)
def test_changed_signs_do_not_cancel(places):
    """The sign of every second number is the topmost bit of a word, where a sum modulo 2^64 can't tell two of them from none."""
    tensor = random_tensor(torch.float32, 10_240)
    other = tensor.clone()
    other[places] *= -1
    assert tensor_digest(other) != tensor_digest(tensor)
    assert tensor_digest(-tensor) != tensor_digest(tensor)


def edits():
    def weight(name: str, place: tuple, change: float):
        def edit(hf):
            hf.get_parameter(name).data[place] += change

        return edit

    def scaling(hf):
        hf.model.layers[1].self_attn.scaling *= 1.5

    def buffer(hf):
        hf.model.rotary_emb.inv_freq[-1] += 0.1

    def setting(hf):
        hf.config.rms_norm_eps = 0.1

    def activation(hf):
        hf.model.layers[0].mlp.act_fn = torch.nn.ReLU()

    def held(hf):
        hf.model.layers[0].mlp.gain = hf.model.layers[0].mlp.gain * 2

    layer = "model.layers.2."
    return {
        "columns of a head": weight(layer + "self_attn.o_proj.weight", (slice(None), slice(16, 24)), 0.5),
        "rows": weight(layer + "mlp.down_proj.weight", (slice(5, None),), 0.5),
        "one embedding": weight("model.embed_tokens.weight", (17,), 0.3),
        "one row of the head": weight("lm_head.weight", (5,), 1.0),
        "the last number": weight(layer + "mlp.up_proj.weight", (-1, -1), 1e-6),
        "attention scaling": scaling,
        "a buffer": buffer,
        "the configuration": setting,
        "a module of another class": activation,
        "a tensor that is no buffer": held,
    }


@pytest.mark.parametrize("edit", edits().values(), ids=edits().keys())
def test_another_model(edit):
    hf, again = tiny_module("llama"), tiny_module("llama")
    for module in (hf, again):
        module.model.layers[0].mlp.gain = torch.ones(1)
    digest = model_digest(hf)
    assert model_digest(again) == digest
    edit(hf)
    assert model_digest(hf) != digest


def test_where_it_was_found_and_how_it_is_run_makes_no_other_model():
    hf = tiny_module("llama")
    digest = model_digest(hf)
    hf.config._name_or_path = hf.name_or_path = "elsewhere"
    hf.set_attn_implementation("eager")
    assert model_digest(hf) == digest


@pytest.mark.parametrize("put_aside", [disk_offload, cpu_offload])
def test_weights_that_are_put_aside(put_aside, tmp_path):
    def offloaded(change: float) -> str:
        hf = tiny_module("llama")
        hf.model.layers[3].mlp.up_proj.weight.data[7, 7] += change
        folder = tmp_path / str(change)
        put_aside(hf, **({"offload_dir": str(folder)} if put_aside is disk_offload else {}))
        assert hf.model.layers[3].mlp.up_proj.weight.is_meta
        return model_digest(hf)

    assert offloaded(0.0) == offloaded(-0.0)
    assert offloaded(0.0) != offloaded(0.25)


def test_weights_that_nobody_has():
    hf = tiny_module("llama")
    hf.lm_head.to("meta")
    with pytest.raises(ModelError, match=r"The weight lm_head\.weight is not in memory"):
        model_digest(hf)


def test_it_stays_the_same():
    """Files keep it, so another version of torch or numpy must not give another one."""
    digest = "9d595c15ceb4f8808387a1189fa42c1222c4f8c0ea398c5f2a0c2d1b72b72bb9"
    assert tensor_digest(torch.arange(20_011, dtype=torch.float32)) == digest
