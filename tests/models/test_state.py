"""What is noticed of a network that has changed, without running it."""

import pytest

from patchwidget.models.state import state_of
from tests.zoo import tiny_module


@pytest.mark.parametrize("architecture", ["llama", "gemma3_text"])
def test_rotary_frequencies(architecture):
    """Of a model with several kinds of layers some reach later blocks only."""
    hf = tiny_module(architecture)
    before = state_of(hf)
    for buffer in hf.model.rotary_emb.buffers():
        was = buffer.clone()
        buffer.mul_(1.0001)
        assert state_of(hf) != before
        buffer.copy_(was)
        assert state_of(hf) == before
    name = next(name for name in vars(hf.model.rotary_emb) if name.endswith("attention_scaling"))
    setattr(hf.model.rotary_emb, name, 1.01)
    assert state_of(hf) != before
