"""Small models of many families, vectors for them, and the texts that they write."""

import torch

import patchwidget as pw
from tests.zoo import tiny_model

PROMPTS = [[54, 12, 77, 31, 8, 66, 91], [33, 20, 5], [9, 8, 7, 6, 5]]

FAR = 10**9

# These have windows; the others would be given a cache of the window's length although they attend to everything.
WINDOWED = {"gemma2", "gemma3_text", "olmo3", "cohere2", "gpt_oss", "exaone4", "ministral", "mistral", "phi3"}

HOOKED = {"gptj": {"rotary_dim": 4}, "bloom": {}, "falcon": {}, "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 4}, "mamba": {}}


def family(name: str) -> pw.Model:
    windows = {} if name in WINDOWED else {"sliding_window": None}
    return tiny_model(name, **HOOKED.get(name, {}), **windows)


def vector_for(model: pw.Model, layers=(1, 2), site: str = "resid_post", size: float = 6.0, seed: int = 1) -> pw.SteeringVector:
    generator = torch.Generator().manual_seed(seed)
    return pw.SteeringVector({layer: size * torch.randn(model.d_model, generator=generator) for layer in layers}, site)


def texts(model: pw.Model, prompts, steer=None, n: int = 8, **options) -> list[list[int]]:
    """Greedy; with no end of text, so that every row has its full length."""
    made = model.generate(prompts, steer, max_new_tokens=n, eos_token_id=None, **options)
    return [generation.tokens for generation in made]
