"""Recorded activations and attention, as they are read."""

from functools import partial

import pytest
import torch

import patchwidget as pw
from patchwidget.models.tokens import Tokens
from tests.zoo import tiny_experiment, tiny_model


@pytest.fixture(scope="module")
def experiment():
    return tiny_experiment()


close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4)


def hooked(model, tokens, module, side):
    found = []
    if side == "input":
        handle = module.register_forward_pre_hook(lambda m, args: found.append(args[0]))
    else:
        handle = module.register_forward_hook(lambda m, args, output: found.append(output))
    with torch.no_grad():
        model.hf(torch.tensor([tokens]))
    handle.remove()
    return found[0][0]


def test_activations_are_what_a_hook_by_hand_sees(experiment):
    model, pair = experiment.model, experiment.prompts[0]
    layer = model.hf.model.layers[2]
    for site, module, side in [("resid_pre", layer, "input"), ("mlp_out", layer.mlp, "output"), ("mlp_post", layer.mlp.down_proj, "input")]:
        close(experiment.activation(site, 2), hooked(model, pair.corrupted, module, side))
        close(experiment.activation(site, -2, run="clean"), hooked(model, pair.clean, module, side))
    z = hooked(model, pair.corrupted, layer.self_attn.o_proj, "input").unflatten(-1, (4, 8))
    close(experiment.activation("z", 2), z)
    close(experiment.activation("z", 2, head=-1), z[:, 3])
    close(experiment.activation("z", 2, -1, 1), z[11, 1])
    close(experiment.activation("z", 2, [3, -1], 1), z[[3, 11], 1])
    values = hooked(model, pair.corrupted, layer.self_attn.v_proj, "output").unflatten(-1, (2, 8))
    close(experiment.activation("v", 2), values)
    close(experiment.activation("v_per_head", 2), values[:, [0, 0, 1, 1]])
    close(experiment.activation("v_per_head", 2, head=2), values[:, 1])
    close(experiment.activation("module:model.layers.2.mlp"), experiment.activation("mlp_out", 2))


def test_patterns_have_the_axes_of_the_site(experiment):
    pattern = experiment.activation("pattern", 1)
    assert pattern.shape == (12, 4, 12)
    close(pattern[-1, 2], torch.tensor(experiment.attention(1, 2, -1).corrupted))


def test_of_several_pairs_and_in_the_other_direction():
    one = tiny_experiment(direction="noise")
    pair = one.prompts[0]
    other = pw.PromptPair(pair.clean[2:], pair.corrupted[2:], pair.answer, pair.distractor)
    several = pw.Experiment(one.model, [pair, other], direction="noise")
    assert several.activation("resid_pre", 1, pair=-1).shape == (10, 32)
    close(several.activation("resid_pre", 1), one.activation("resid_pre", 1, run="clean"))


def test_what_is_read_is_a_copy(experiment):
    before = experiment.activation("resid_pre", 1)
    experiment.activation("resid_pre", 1).zero_()
    assert torch.equal(experiment.activation("resid_pre", 1), before)


def test_what_can_not_be_read(experiment):
    for arguments, match in [
        (("resid_pre", 4), "Layer 4 does not exist"),
        (("resid_pre",), "none was named"),
        (("resid_pree", 0), "Did you mean 'resid_pre'"),
        (("resid_pre", 0, None, 1), "not divided into heads"),
        (("k", 0, None, 2), "Head 2 does not exist: k has 0 to 1"),
        (("z", 0, 12), "Position 12 does not exist: the corrupted prompt has positions 0 to 11"),
        (("z", 0, None, None, "base"), "run='base' is not known"),
        (("module:model.norm", 0), "is one module"),
    ]:
        with pytest.raises(pw.PatchError, match=match):
            experiment.activation(*arguments)
    with pytest.raises(pw.SiteError, match="Pair 1 does not exist"):
        experiment.activation("z", 0, pair=1)
    for arguments, match in [
        ((4, 0), "Layer 4"),
        ((0, 4), "Head 4 does not exist"),
        ((0, 0, 12), "Position 12"),
        ((0, 0, -13), "Position -13"),
    ]:
        with pytest.raises(pw.SiteError, match=match):
            experiment.attention(*arguments)


def test_tokens_with_their_positions(default_model):
    text = "When John and Mary went, John gave"
    tokens = default_model.tokens(text)
    assert isinstance(tokens, Tokens)
    assert list(tokens.ids) == default_model.encode(text)
    assert "".join(tokens) == text
    assert tokens[-1] == " gave"
    assert tokens.positions("John") == [1, 6]
    assert default_model.tokens(torch.tensor([list(tokens.ids)])) == tokens
    lines = repr(tokens).splitlines()
    assert len(lines) == len(tokens) + 1
    assert lines[2].split() == ["1", "'", "John'", str(tokens.ids[1])]
    assert list(tiny_model().tokens([5, 7])) == ["5", "7"]
