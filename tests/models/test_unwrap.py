"""Models held by other libraries. The stand-ins have the attributes of nnsight 0.8, TransformerLens 3.2 and PEFT, and their module names."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

import patchwidget as pw
from patchwidget.models.unwrap import unwrap
from tests.zoo import CORRUPTED, telling_pair, tiny_module


def stand_in(library: str, **attributes) -> object:
    return type("Foreign", (), {"__module__": f"{library}.somewhere", **attributes})()


def test_nnsight_and_peft():
    hf = tiny_module("llama")
    loaded = []
    lazy = stand_in("nnsight", _module=hf, dispatched=False, dispatch=lambda self: loaded.append(1), tokenizer="its own")
    assert unwrap(lazy, None) == (hf, "its own")
    assert loaded == [1]
    assert unwrap(stand_in("nnsight", _module=hf, dispatched=True), "mine") == (hf, "mine")
    assert unwrap(stand_in("peft", get_base_model=lambda self: hf), None) == (hf, None)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing")
def test_a_peft_model_is_patched_with_its_adapters():
    adapters = LoraConfig(r=4, target_modules=["q_proj", "o_proj", "down_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    peft = get_peft_model(tiny_module("llama"), adapters).eval()
    model = pw.wrap(peft)
    experiment = pw.Experiment(model, telling_pair(model))
    with torch.no_grad():
        logits = peft(torch.tensor([experiment.pair.clean])).logits[:, -1]
    torch.testing.assert_close(experiment.runs.recording("clean").logits, logits)
    packed, hooked = (experiment.sweep("z", executor=executor, progress=False) for executor in ("packed", "hooked"))
    assert packed.ok
    np.testing.assert_allclose(packed.values, hooked.values, atol=1e-4)


def test_transformerlens_puts_stand_ins_into_the_model_and_they_are_looked_through():
    class Bridge(nn.Module):
        """Like TransformerLens's: holds the part whose place it takes, and works differently."""

        def __init__(self, part: nn.Module) -> None:
            super().__init__()
            self.add_module("_original_component", part)

        @property
        def original_component(self) -> nn.Module:
            return self._modules["_original_component"]

        def forward(self, *args: object, **kwargs: object) -> object:
            raise AssertionError("the stand-in ran")

    Bridge.__module__ = "transformer_lens.components"
    hf, untouched = tiny_module("llama"), tiny_module("llama")
    pair = telling_pair(pw.wrap(untouched))
    for layer in hf.model.layers:
        layer.mlp.up_proj = Bridge(layer.mlp.up_proj)
        layer.mlp, layer.self_attn = Bridge(layer.mlp), Bridge(layer.self_attn)
    plain, _ = unwrap(stand_in("transformer_lens", original_model=hf), None)
    with torch.no_grad():
        assert torch.equal(plain(torch.tensor([CORRUPTED])).logits, untouched(torch.tensor([CORRUPTED])).logits)
    assert plain.model.layers[0].mlp.down_proj.weight is hf.model.layers[0].mlp.original_component.down_proj.weight
    assert type(hf.model.layers[0].mlp) is Bridge  # theirs stays as it was
    ours, theirs = (pw.Experiment(pw.wrap(model), pair).sweep("z").values for model in (plain, untouched))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_what_holds_no_model():
    with pytest.raises(pw.ModelError, match="this is a dict"):
        pw.wrap({})
    with pytest.raises(pw.ModelError, match="holds no Hugging Face model"):
        pw.wrap(stand_in("transformer_lens"))
