"""Blocks, attention, MLP, norms and head are found in models that name them differently."""

import pytest
import torch
from torch import nn

import patchwidget as pw
from tests.zoo import PACKED, PARALLEL, tiny_model, tiny_module


@pytest.mark.parametrize("architecture", PACKED)
def test_what_is_found(architecture):
    model = tiny_model(architecture)
    anatomy = model.anatomy
    assert (model.n_layers, model.n_heads, model.d_model, model.d_head) == (4, 4, 32, 8)
    assert model.n_kv_heads in (1, 2, 4)
    assert anatomy.intercepted
    assert anatomy.head is model.hf.get_output_embeddings()
    assert len(anatomy.tail) == 1
    for block in anatomy.blocks:
        assert block.parallel == (architecture in PARALLEL)
        assert (block.mid is None) == block.parallel
        assert None not in (block.attention, block.attn_out, block.o_proj, block.mlp_out)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gpt_neox", "gemma2", "opt"])
def test_hooks_of_a_user_that_change_what_a_module_gives_hide_nothing(architecture):
    hf = tiny_module(architecture)
    found = pw.wrap(hf).anatomy
    block = found.blocks[1]
    for module in (block.module, block.attn_out, block.mlp_out, block.down):
        module.register_forward_hook(lambda module, args, output: _changed(output))
    assert pw.wrap(hf).anatomy == found


def _changed(output):
    return tuple(map(_changed, output)) if isinstance(output, tuple) else None if output is None else output * -0.7 + 1


def test_post_norms_belong_to_what_the_block_adds():
    for architecture in ("gemma2", "gemma3_text", "olmo2", "olmo3", "glm4", "exaone4"):
        block = tiny_model(architecture).anatomy.blocks[0]
        assert "Norm" in type(block.attn_out).__name__, architecture
        assert "Norm" in type(block.mlp_out).__name__, architecture


def test_a_gated_mlp_and_a_plain_one_have_a_down_projection_and_experts_have_none():
    assert tiny_model("llama").anatomy.blocks[0].down.weight.shape == (32, 64)
    assert tiny_model("opt").anatomy.blocks[0].down.weight.shape == (32, 64)
    assert tiny_model("mixtral").anatomy.blocks[0].down is None


def test_a_model_without_blocks_is_refused_with_its_modules():
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(9, 4), nn.Linear(4, 9)

        def get_input_embeddings(self) -> nn.Module:
            return self.embed

        def get_output_embeddings(self) -> nn.Module:
            return self.head

        def forward(self, input_ids: torch.Tensor, **_: object) -> torch.Tensor:
            return self.head(self.embed(input_ids))

    with pytest.raises(pw.ModelError, match=r"no stack of decoder blocks(.|\n)*embed: Embedding"):
        _ = pw.wrap(Plain()).n_layers


def test_a_model_without_a_head_is_refused():
    with pytest.raises(pw.ModelError, match="no unembedding"):
        _ = pw.wrap(tiny_module("llama").base_model).n_layers


def test_wrap_wants_a_module():
    with pytest.raises(pw.ModelError, match="this is a str"):
        pw.wrap("gpt2")


def test_training_mode_and_nan_weights_are_refused():
    from tests.zoo import PAIR

    model = tiny_model()
    model.hf.train()
    with pytest.raises(pw.ModelError, match="training mode"):
        pw.Experiment(model, PAIR)
    model.hf.eval()
    model.anatomy.blocks[2].down.weight.data[0, 0] = float("nan")
    with pytest.raises(pw.ModelError, match="not finite"):
        pw.Experiment(model, PAIR).sweep("resid_pre")


def test_what_is_causal():
    assert all(tiny_model(architecture).causal for architecture in ("gpt2", "llama", "gpt_oss"))
    assert not pw.wrap(nn.Linear(3, 3)).causal
