"""Patches that meet in one tensor: in the order given, in both executors, whatever they call it."""

import pytest
import torch

import patchwidget as pw
from tests.zoo import tiny_experiment

A, B, C = (torch.randn(12, 32, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
LAYERS = "module:model.layers"


def metric(experiment, *patches, executor: str | None = None) -> float:
    """Of a run with these patches, in both executors if none is named."""
    found = [experiment.patch(patches, executor=name) for name in ([executor] if executor else ["packed", "hooked"])]
    assert all(one.ok for one in found), [one.checks for one in found]
    assert float(found[0].values) == pytest.approx(float(found[-1].values), abs=1e-4)
    return float(found[0].values)


def put(source, site="resid_pre", layer=1, pos=4, **options):
    return pw.Patch(site, layer, pos, source=source, **options)


def add(source, *where, **options):
    return put(source, *where, operator="add", **options)


def close(value):
    return pytest.approx(value, abs=1e-4)


def test_replacing_and_adding_in_the_order_given():
    experiment = tiny_experiment()
    assert metric(experiment, put(A), add(B), put(C)) == close(metric(experiment, put(C)))
    assert metric(experiment, put(A), add(B)) == close(metric(experiment, put(A + B)))
    assert metric(experiment, add(B), put(A)) == close(metric(experiment, put(A)))
    assert metric(experiment, put(A), put(B)) == close(metric(experiment, put(B)))
    assert metric(experiment, put(A, pos=[4, 7]), add(B), put(C, pos=7)) == close(metric(experiment, put(A + B), put(C, pos=7)))
    assert metric(experiment, put(A)) != close(metric(experiment, put(B)))


@pytest.mark.parametrize(("site", "part"), [("z", "head"), ("k", "head"), ("mlp_post", "neuron")])
def test_parts_and_wholes_in_the_order_given(site, part):
    experiment = tiny_experiment("gpt2")
    one, other, whole = put(3.0, site, **{part: 1}), put(2.0, site, **{part: 2}), put(-1.0, site)
    assert metric(experiment, one, other, whole) == close(metric(experiment, whole))
    assert metric(experiment, one, whole, other) == close(metric(experiment, whole, other))
    assert metric(experiment, whole, other) != close(metric(experiment, whole))


def test_the_stream_between_blocks_under_all_its_names():
    experiment = tiny_experiment()
    names = [
        ("resid_post", 0),
        ("resid_pre", 1),
        (f"{LAYERS}.0", None),
        (f"{LAYERS}.1.input", None),
    ]
    alone = metric(experiment, put(B))
    both = metric(experiment, put(A + B))
    for first in names:
        for last in names:
            assert metric(experiment, put(A, *first), put(B, *last)) == close(alone)
            assert metric(experiment, put(A, *first), add(B, *last)) == close(both)
    end = metric(experiment, put(B, "resid_post", 3, 11))
    assert metric(experiment, put(A, f"{LAYERS}.3", None, 11), put(B, "resid_post", 3, 11)) == close(end)
    assert metric(experiment, put(A, "resid_post", 3, 11), put(B, f"{LAYERS}.3", None, 11)) == close(end)


def test_the_heads_outputs_by_the_path_of_the_projection():
    """One element of the side-by-side vector of all heads is an element of one head."""
    experiment, path = tiny_experiment(), f"{LAYERS}.1.self_attn.o_proj.input"
    assert metric(experiment, put(A, path, None), put(0.5, "z", head=2)) == close(
        metric(experiment, put(torch.cat([A[:, :16], torch.full((12, 8), 0.5), A[:, 24:]], 1).unflatten(1, (4, 8)), "z"))
    )
    assert metric(experiment, put(0.5, "z", head=2), put(A, path, None)) == close(metric(experiment, put(A, path, None)))
    assert metric(experiment, put(0.5, "z"), put(3.0, path, None, neuron=17)) == close(
        metric(experiment, put(torch.full((12, 32), 0.5).index_fill_(1, torch.tensor(17), 3.0).unflatten(1, (4, 8)), "z"))
    )
    assert metric(experiment, put(3.0, path, None, neuron=17), put(0.5, "z")) == close(metric(experiment, put(0.5, "z")))


@pytest.mark.parametrize("site", ["k", "v"])
def test_keys_and_values_and_what_one_head_sees_of_them(site):
    """Head 1 is of key/value head 0."""
    experiment = tiny_experiment()
    seen, group, all_of_them = put(2.0, f"{site}_per_head", head=1), put(-1.0, site, head=0), put(-1.0, site)
    assert metric(experiment, seen, group) == close(metric(experiment, group))
    assert metric(experiment, seen, all_of_them) == close(metric(experiment, all_of_them))
    heads = [put(-1.0, f"{site}_per_head", head=head) for head in (0, 2, 3)]
    assert metric(experiment, all_of_them, seen) == close(metric(experiment, seen, *heads))
    more = put(1.0, site, head=0, operator="add")
    both = [put(3.0, f"{site}_per_head", head=1), put(1.0, f"{site}_per_head", head=0, operator="add")]
    assert metric(experiment, seen, more) == close(metric(experiment, *both))
    assert metric(experiment, more, seen) == close(metric(experiment, seen, both[1]))
    assert metric(experiment, seen) != close(metric(experiment, group))


@pytest.mark.parametrize("executor", ["packed", "hooked"])
def test_the_mlps_input_is_made_of_the_stream_between(executor):
    """Both are at one module: the stream is written first, and goes on beside the MLP, whatever the order of the patches."""
    experiment = tiny_experiment()
    block = experiment.model.hf.model.layers[1]
    stream, norm_input = put(A, "resid_mid"), put(B, f"{LAYERS}.1.post_attention_layernorm.input", None)
    with torch.no_grad():
        made = block.mlp(block.post_attention_layernorm(B))
    expected = metric(experiment, stream, put(made, "mlp_out"), executor=executor)
    assert metric(experiment, stream, norm_input, executor=executor) == close(expected)
    assert metric(experiment, norm_input, stream, executor=executor) == close(expected)


def test_what_is_named_twice_counts_once():
    experiment = tiny_experiment()
    assert metric(experiment, add(A, pos=[4, 4])) == close(metric(experiment, add(A)))
    assert metric(experiment, add(0.5, "z", head=[1, 1], pos=[4, 7, 4])) == close(metric(experiment, add(0.5, "z", head=1, pos=[4, 7])))
    assert metric(experiment, add(0.5, "mlp_post", neuron=[1, 1])) == close(metric(experiment, add(0.5, "mlp_post", neuron=1)))
    entry = {"site": "pattern", "layer": 1, "head": 0, "source": 0.5, "operator": "add"}
    assert metric(experiment, pw.Patch(pos=11, src_pos=[8, 8], **entry)) == close(metric(experiment, pw.Patch(pos=11, src_pos=8, **entry)))
    for executor in ("packed", "hooked"):
        twice, once = (
            experiment.sweep("z", positions=[several], heads=[heads], source=0.5, operator="add", layers=[1], executor=executor)
            for several, heads in (([4, 4], [1, 1]), ([4], [1]))
        )
        assert float(twice.values.squeeze()) == close(float(once.values.squeeze()))
    # one position may be the source of several
    moved = metric(experiment, pw.Patch("resid_pre", 2, pos=[6, 9], source_pos=[4, 4]))
    assert moved == close(metric(experiment, pw.Patch("resid_pre", 2, pos=[6, 9], source_pos=4)))


@pytest.mark.parametrize("executor", ["packed", "hooked"])
def test_no_element_is_written_twice_at_once(monkeypatch, executor):
    """What torch makes of equal indices in one call is not defined on every device."""
    experiment, written, write = tiny_experiment(), [], torch.Tensor.index_put_

    def spy(self, indices, values, accumulate=False):
        places = torch.stack(torch.broadcast_tensors(*indices), 1)
        written.append(len(places) - len(places.unique(dim=0)))
        return write(self, indices, values, accumulate)

    monkeypatch.setattr(torch.Tensor, "index_put_", spy)
    experiment.patch([put(A), put(B, pos=[4, 4, 7]), add(C), put(A, "resid_post", 0), add(B, pos=[4, 4])], executor=executor)
    experiment.patch([put(0.1, "z", head=[1, 1]), put(0.2, "z"), add(0.2, "z", head=1)], executor=executor)
    assert len(written) >= 8
    assert not any(written)


@pytest.mark.parametrize("operator", ["Add", "mul", "subtract", "project_out", ""])
def test_only_known_operators(operator):
    experiment = tiny_experiment()
    patch = pw.Patch("resid_pre", 1, pos=4, source=0.5, operator=operator)
    for ask in (
        lambda: experiment.patch(patch),
        lambda: experiment.patch([pw.Patch("z", 1), patch]),
        lambda: experiment.interaction([pw.Patch("z", 1), patch]),
        lambda: experiment.sweep("resid_pre", operator=operator),
    ):
        with pytest.raises(pw.SiteError, match=f"operator={operator!r} is not known. Use 'replace' or 'add'"):
            ask()
