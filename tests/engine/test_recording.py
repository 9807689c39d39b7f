"""Prompts that are recorded together are recorded as they are alone."""

import pytest
import torch

from patchwidget.engine.recording import record, record_together
from tests.zoo import CLEAN, CORRUPTED, PACKED, tiny_model


def tensors(value):
    if isinstance(value, torch.Tensor):
        return [value]
    items = [value[key] for key in sorted(value)] if isinstance(value, dict) else value if isinstance(value, list | tuple) else []
    return [tensor for item in items for tensor in tensors(item)]


def parts(recording):
    attention = [[a.key, a.value, a.mask, a.output] for a in recording.attention]
    return tensors([recording.resid, recording.sites, recording.logits, attention, recording.calls if attention else []])


@pytest.mark.parametrize("architecture", [*PACKED, "bloom", "falcon"])
def test_together_as_alone(architecture):
    model = tiny_model(architecture)
    attention = next(path for path, module in model.hf.named_modules() if module is model.anatomy.blocks[1].o_proj)
    sites = {"z", "q", "pattern", f"module:{attention}"} if architecture in PACKED else {"z"}
    for prompt, together in zip([CLEAN, CORRUPTED], record_together(model, [CLEAN, CORRUPTED], sites, (3, 11)), strict=True):
        alone = record(model, prompt, sites, (3, 11))
        assert together.sites.keys() == alone.sites.keys()
        assert len(together.attention) == len(alone.attention)
        for a, b in zip(parts(alone), parts(together), strict=True):
            assert a.shape == b.shape
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_as_many_prompts_as_positions():
    model = tiny_model("llama")
    alone, together = record(model, CLEAN[:2]), record_together(model, [CLEAN[:2], CORRUPTED[:2]])[0]
    torch.testing.assert_close(alone.resid[-1], together.resid[-1])
