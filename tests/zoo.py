"""Tiny random models of many architectures, and the prompts to try them on."""

from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from patchwidget import Experiment, PromptPair, wrap
from patchwidget.model import Model

# Models this small only wait for each other on several threads.
torch.set_num_threads(1)

# Every one of these sends its attention through transformers' attention interface, so both executors can run it.
# fmt: off
PACKED = [
    "gpt2", "gpt_neox", "opt", "llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "gemma", "gemma2", "gemma3_text", "phi",
    "phi3", "olmo2", "olmo3", "granite", "stablelm", "starcoder2", "cohere2", "smollm3", "glm4",
    "gpt_bigcode", "gpt_oss", "ministral", "nemotron", "exaone4",
]
# fmt: on
OLD = transformers.__version__.startswith("4.")
if OLD:  # it lacks some of them, and two of them do not use the attention interface there
    PACKED = [name for name in PACKED if name in CONFIG_MAPPING and name not in ("stablelm", "nemotron")]
PARALLEL = {"gpt_neox", "phi", "cohere2"}
EXPERTS = {"mixtral", "qwen3_moe", "gpt_oss"}
REFERENCE = Path(__file__).parent / "reference"

_SIZES: dict[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 32,
    "n_embd": 32,
    "intermediate_size": 64,
    "ffn_dim": 64,
    "num_hidden_layers": 4,
    "n_layer": 4,
    "num_attention_heads": 4,
    "n_head": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "word_embed_proj_dim": 32,
    "max_position_embeddings": 64,
    "n_positions": 64,
    "sliding_window": 4,  # shorter than the prompts
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

CLEAN = [54, 12, 77, 31, 8, 66, 91, 23, 45, 10, 39, 71]
CORRUPTED = [54, 12, 77, 31, 80, 66, 91, 24, 45, 10, 39, 71]
PAIR = PromptPair(CLEAN, CORRUPTED, answer=5, distractor=7)


def telling_pair(model: Model, clean: list[int] = CLEAN, corrupted: list[int] = CORRUPTED) -> PromptPair:
    """The two prompts with the answers that a random model tells apart best, so that errors can be measured against a large gap."""
    with torch.no_grad():
        logits = model.hf(torch.tensor([clean, corrupted])).logits[:, -1]
    difference = logits[0] - logits[1]
    return PromptPair(clean, corrupted, int(difference.argmax()), int(difference.argmin()))


def tiny_module(architecture: str, seed: int = 0, **sizes: Any) -> nn.Module:
    """A random causal language model of 4 layers, its weights large enough that every part matters."""
    torch.manual_seed(seed)
    common = {name: size for name, size in _SIZES.items() if not (architecture == "falcon" and name == "head_dim")}  # it takes none
    eager = {"attn_implementation": "eager"} if OLD else {}  # there sdpa leaves out Gemma 2's soft cap, so that models differ by setting
    hf = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **{**common, **sizes}), **eager).eval().float()
    for weight in hf.parameters():
        if weight.ndim > 1:
            weight.data.normal_(0, 0.3)
    return hf


def tiny_model(architecture: str = "llama", seed: int = 0, **sizes: Any) -> Model:
    return wrap(tiny_module(architecture, seed, **sizes), name=architecture)


def tiny_experiment(architecture: str = "llama", **options: Any) -> Experiment:
    model = tiny_model(architecture)
    return Experiment(model, telling_pair(model), **options)
