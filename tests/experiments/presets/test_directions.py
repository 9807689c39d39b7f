"""Both directions of one grid, and what is said of them."""

import pytest
import torch

import patchwidget as pw
from tests.zoo import telling_pair, tiny_model


def literal(model, pair, layer, pos, base, source):
    """The logit difference of one run with the residual stream entering a block at one position from the other run: two forwards and a hook."""
    block, kept = model.hf.model.layers[layer], []

    def exchange(module, args):
        hidden = args[0].clone()
        kept.append(args[0].clone())
        if len(kept) == 2:
            hidden[0, pos] = kept[0][0, pos]
        return (hidden, *args[1:])

    handle = block.register_forward_pre_hook(exchange)
    with torch.no_grad():
        for run in (source, base):
            logits = model.hf(torch.tensor([getattr(pair, run)])).logits[0, -1]
    handle.remove()
    return float(logits[list(pair.answers)].mean() - logits[list(pair.distractors)].mean())


def check_cells(model, pair, both, places):
    tokens = pw.Experiment(model, pair).pair
    for layer, pos in places:
        for result, base, source in [(both.sufficient, "corrupted", "clean"), (both.necessary, "clean", "corrupted")]:
            expected = literal(model, tokens, layer, pos, base, source)
            assert float(result.values.sel(layer=layer, pos=pos)) == pytest.approx(expected, abs=1e-3)


def test_each_cell_is_two_runs_by_hand():
    model = tiny_model()
    pair = telling_pair(model)
    both = pw.both_directions(model, pair, "resid_pre")
    check_cells(model, pair, both, [(layer, pos) for layer in range(4) for pos in range(12)])
    frame = both.to_frame()
    assert list(frame.columns) == ["layer", "pos", "sufficient (denoise)", "necessary (noise)"]
    assert len(both.plot().data) == 2


def test_on_the_default_model(ioi):
    """The answer is at the giver first and at the end later: there one activation is enough, and is needed."""
    both = pw.both_directions(ioi.model, ioi.prompts[0], "resid_pre", layers=[4, 26], positions=[[9], [13]])
    check_cells(ioi.model, ioi.prompts[0], both, [(layer, pos) for layer in (4, 26) for pos in (9, 13)])
    text = both.reading(0.9)
    assert "- 2 suffice and are needed" in text
    assert "layer 4 pos 9" in text
    assert "layer 26 pos 13" in text


@pytest.mark.parametrize("threshold", [0.3, 0.9])
def test_the_words_count_the_cells(threshold):
    model = tiny_model()
    both = pw.both_directions(model, telling_pair(model), "resid_pre")
    one, other = (result.effect.to_numpy() for result in (both.sufficient, both.necessary))
    text = both.reading(threshold)
    assert f"Of {one.size} cells, at {threshold:.0%}" in text
    for count, words in [
        (((one > threshold) & (other > threshold)).sum(), "suffice and are needed"),
        (((one > threshold) & (other <= threshold)).sum(), "suffice but are not needed"),
        (((one <= threshold) & (other > threshold)).sum(), "are needed but do not suffice"),
    ]:
        assert f"- {count} {words}" in text


def test_nothing_that_strong_is_said():
    model = tiny_model()
    both = pw.both_directions(model, telling_pair(model), "z", positions="all", layers=[0])
    assert "No single cell moves the answer so far" in both.reading(100)
