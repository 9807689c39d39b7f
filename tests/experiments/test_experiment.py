"""What a user asks for and gets."""

from inspect import signature

import numpy as np
import pytest
import torch

import patchwidget as pw
from patchwidget.runs import recordings
from tests.zoo import CLEAN, CORRUPTED, PAIR, tiny_experiment, tiny_model


def test_axes():
    experiment = tiny_experiment()
    assert experiment.sweep("resid_pre").values.sizes == {"layer": 4, "pos": 12}
    assert experiment.sweep("resid_pre", positions="all").values.sizes == {"layer": 4}
    assert experiment.sweep("z").values.sizes == {"layer": 4, "pos": 12, "head": 4}
    assert experiment.sweep("z", positions=[11]).values.sizes == {"layer": 4, "head": 4}
    part = experiment.sweep("z", layers=[1, 3], heads=[2], positions="all").values
    assert part.coords["layer"].to_numpy().tolist() == [1, 3]
    np.testing.assert_allclose(part, experiment.sweep("z", positions="all").values.sel(layer=[1, 3], head=[2]), atol=1e-6)


def test_a_cell_is_what_a_hook_by_hand_gives():
    experiment = tiny_experiment()
    hf = experiment.model.hf
    layer, pos = hf.model.layers[2], 7
    clean = {}
    handle = layer.register_forward_pre_hook(lambda m, args: clean.update(x=args[0].clone()))
    with torch.no_grad():
        hf(torch.tensor([CLEAN]))
    handle.remove()

    def patch(module, args):
        hidden = args[0].clone()
        hidden[0, pos] = clean["x"][0, pos]
        return (hidden, *args[1:])

    handle = layer.register_forward_pre_hook(patch)
    with torch.no_grad():
        logits = hf(torch.tensor([CORRUPTED])).logits[0, -1]
    handle.remove()
    result = experiment.sweep("resid_pre")
    difference = logits[experiment.pair.answers[0]] - logits[experiment.pair.distractors[0]]
    assert float(result.values.sel(layer=2, pos=pos)) == pytest.approx(float(difference), abs=1e-4)


def test_recovery_is_not_clipped_and_starts_at_the_corrupted_run():
    result = tiny_experiment().sweep("resid_pre")
    gap = result.clean - result.corrupted
    np.testing.assert_allclose(result.recovery, (result.values - result.corrupted) / gap, rtol=1e-5)
    assert float(abs(result.recovery.sel(pos=slice(0, 3))).max()) == 0.0  # before the first differing token nothing can change
    assert result.recovery.max() > 1 or result.recovery.min() < 0


def test_both_directions():
    denoise, noise = tiny_experiment(), tiny_experiment(direction="noise")
    assert denoise.baselines.clean == pytest.approx(noise.baselines.clean, abs=1e-5)
    forth, back = (experiment.sweep("resid_pre", layers=[0], positions="all") for experiment in (denoise, noise))
    assert float(forth.recovery[0]) == pytest.approx(1, abs=1e-4)  # the whole stream replaced: the clean run
    assert float(back.recovery[0]) == pytest.approx(0, abs=1e-4)  # ... the corrupted run
    assert float(forth.effect[0]) == pytest.approx(float(back.effect[0]), abs=1e-4)
    swapped = pw.Experiment(tiny_model(), pw.PromptPair(CORRUPTED, CLEAN, noise.prompts[0].answer, noise.prompts[0].distractor))
    np.testing.assert_allclose(noise.sweep("z").values, swapped.sweep("z").values, atol=1e-5)


def test_any_function_is_a_metric():
    def third_token(logits: torch.Tensor) -> torch.Tensor:
        assert logits.dtype == torch.float32
        assert logits.shape[1] == 99
        return logits[:, 3]

    result = tiny_experiment(metric=third_token).sweep("attn_out")
    assert result.info["metric"] == "third_token"
    assert result.values.name == "third_token"
    np.testing.assert_allclose(result.values, tiny_experiment(metric=third_token).sweep("attn_out", executor="hooked").values, atol=1e-4)


@pytest.mark.parametrize(
    ("metric", "match"),
    [
        (lambda logits: logits.mean(), r"returned shape \[\]"),
        (lambda logits: logits, r"returned shape \[1, 99\]"),
        (lambda logits: 1.0, "returned a float"),
        ("logit_dif", "no metric 'logit_dif'"),
    ],
)
def test_a_bad_metric(metric, match):
    with pytest.raises(pw.MetricError, match=match):
        tiny_experiment(metric=metric).sweep("resid_pre")


def test_no_gap_is_a_reason_and_not_a_zero():
    result = tiny_experiment(metric=lambda logits: logits[:, 0] * 0 + 2).sweep("resid_pre")
    assert result.recovery.isnull().all()
    assert "nothing to recover" in result.reason
    assert (result.values == 2).all()


def test_completion_offers_questions_and_no_machinery():
    experiment = tiny_experiment()
    shown = {name for name in dir(experiment) if not name.startswith("_")}
    questions = [
        "sweep",
        "start",
        "attribute",
        "patch",
        "search",
        "interaction",
        "paths",
        "path",
        "optimal_direction",
        "attention",
        "activation",
    ]
    assert shown == {*questions, "model", "pair", "pairs", "prompts", "metrics", "direction", "baselines", "runs"}
    assert len(shown) <= 22
    assert len([name for name in dir(pw.Experiment) if not name.startswith("_")]) <= 22


def test_a_question_in_another_file_has_its_own_signature_and_text():
    assert list(signature(tiny_experiment().search).parameters) == ["budget", "threshold", "method", "seed"]
    assert "few exact cells" in (pw.Experiment.search.__doc__ or "")


def test_what_is_shown():
    experiment = tiny_experiment(metric=["logit_diff", "prob"])
    assert repr(experiment) == "Experiment(llama, logit_diff, prob, denoise: 12 tokens, '40' against '84')"
    several = pw.Experiment(experiment.model, [*experiment.prompts, pw.PromptPair(CLEAN[2:], CORRUPTED[2:], 5, 7)], direction="noise")
    assert repr(several) == "Experiment(llama, logit_diff, noise: 2 pairs of 10 to 12 tokens)"
    for result in (experiment.sweep("z"), several.sweep("z", positions=[-1]), experiment.patch(pw.Patch("z", 0))):
        html = result._repr_html_()
        assert f"<p>{result!r}</p>" in html
        top = result.mean().top(5)
        assert html.count("<tr") == 1 + len(top)
        assert f"{top['recovery'][0]:.3f}" in html
    named = tiny_experiment(metric={"<b>": "logit"}).sweep("resid_pre")
    assert "<b>" not in named._repr_html_()


def test_metrics_by_their_names():
    result = tiny_experiment(metric=["logit_diff", "prob"]).sweep("z", layers=[0], positions="all")
    assert result.metrics == ["logit_diff", "prob"]
    assert [result[name].info["metric"] for name in result.metrics] == result.metrics
    with pytest.raises(pw.MetricError, match="metric 'nope' was not measured, but 'logit_diff', 'prob'"):
        result["nope"]


def test_what_does_not_exist():
    experiment = tiny_experiment()
    for options, match in [
        ({"site": "resid_pree"}, "no site 'resid_pree'. Did you mean 'resid_pre'"),
        ({"site": "blocks.0.hook_resid_pre"}, "the layer is given apart from the site: 'resid_pre', layer 0"),
        ({"site": "blocks.12.mlp.hook_post"}, "'mlp_post', layer 12"),
        ({"site": "blocks.3.attn.hook_pattern"}, "'pattern', layer 3"),
        ({"site": "hook_z"}, "apart from the site: 'z'. Sites are"),
        ({"site": "resid_pre", "layers": [4]}, "Layer 4 does not exist: llama has layers 0 to 3"),
        ({"site": "resid_pre", "layers": []}, "no cells"),
        ({"site": "z", "heads": [4]}, "Head 4 does not exist"),
        ({"site": "resid_pre", "heads": [0]}, "not divided into heads"),
        ({"site": "resid_pre", "positions": [12]}, "Position 12 does not exist: the prompts have positions 0 to 11"),
        ({"site": "resid_pre", "positions": []}, "empty list was given where positions were expected"),
        ({"site": "resid_pre", "positions": "some"}, "positions='some' is not known"),
    ]:
        with pytest.raises(pw.SiteError, match=match):
            experiment.sweep(options.pop("site"), **options)
    with pytest.raises(pw.PatchError, match="executor='fast' is not known"):
        experiment.sweep("resid_pre", executor="fast")
    with pytest.raises(pw.PatchError, match="direction='back' is not known"):
        tiny_experiment(direction="back")
    with pytest.raises(pw.ModelError, match="patchwidget model was expected"):
        pw.Experiment(experiment.model.hf, PAIR)


def test_batches_add_up_to_the_result():
    sweep = tiny_experiment().start("resid_pre")
    assert (sweep.done, sweep.total, sweep.result.complete) == (0, 48, False)
    values = np.full(sweep.total, np.nan, np.float32)
    for batch in sweep:
        assert np.isnan(values[batch.index]).all()  # each cell once
        values[batch.index] = batch.values
    result = sweep.result
    np.testing.assert_array_equal(result.values, values.reshape(sweep.shape))
    assert result.complete
    assert sweep.done == 48


def test_attention_rows_are_the_models_own():
    experiment = tiny_experiment()
    hf = experiment.model.hf
    hf.set_attn_implementation("eager")
    with torch.no_grad():
        patterns = hf(torch.tensor([CLEAN]), output_attentions=True).attentions
    row = experiment.attention(2, 3, 9)
    np.testing.assert_allclose(row.clean, patterns[2][0, 3, 9], atol=1e-5)
    assert row.clean.sum() == pytest.approx(1, abs=1e-5)
    assert row.clean[10:].max() == 0
    with pytest.raises(pw.SiteError, match="Head 9 does not exist"):
        experiment.attention(0, 9, 0)


def test_frame_top_plot_and_code():
    result = tiny_experiment().sweep("resid_pre")
    frame = result.to_frame()
    assert list(frame.columns) == ["layer", "pos", "token", "value", "recovery", "state"]
    assert len(frame) == 48
    top = result.top(5)
    assert len(top) == 5
    assert top["recovery"].abs().is_monotonic_decreasing
    assert float(top["recovery"].abs()[0]) == pytest.approx(float(abs(result.recovery).max()))
    figure = result.plot()
    np.testing.assert_array_equal(figure.data[0].z, result.recovery.to_numpy())
    assert len(tiny_experiment().sweep("z", positions="all", heads=[1]).plot().data) == 1
    assert tiny_experiment().sweep("mlp_out", positions="all").plot().data[0].type == "bar"
    assert "exp.sweep('resid_pre')" in result.code()


def test_the_code_computes_the_result_again(ioi):
    result = ioi.sweep("z", positions=[13], layers=[22, 23], heads=[3, 4])
    namespace = {}
    exec(result.code(), namespace)
    np.testing.assert_allclose(namespace["result"].values, result.values, atol=1e-5)
    assert namespace["result"].values.sizes == {"layer": 2, "head": 2}


def test_the_code_of_patches_together_computes_them_again():
    experiment = tiny_experiment(direction="noise", metric="logit", answer_pos=9)
    patches = [
        pw.Patch("z", layer=1, head=[0, 2], pos=7),
        pw.Patch("resid_pre", 2, source=pw.Noise(2.0, seed=3), operator="add"),
        pw.Patch("mlp_out", 0, source=pw.Mean([CLEAN, CORRUPTED])),
    ]
    everywhere = {"hf": experiment.model.hf, "tokenizer": None}
    for result in (
        experiment.patch(patches),
        experiment.interaction(patches[:2]).result,
        experiment.sweep("resid_pre", layers=[1], source=pw.Resample(CORRUPTED)),
    ):
        space = dict(everywhere)
        exec(result.code(), space)
        np.testing.assert_allclose(space["result"].values, result.values, atol=1e-6)


def test_the_default_model_knows_who_gets_the_drink(ioi):
    baselines = ioi.baselines
    assert baselines.clean == pytest.approx(4.605, abs=0.01)
    assert baselines.corrupted == pytest.approx(-6.474, abs=0.01)
    assert baselines.clean_top[0][0] == " Mary"
    assert baselines.clean_top[0][1] == pytest.approx(0.914, abs=0.01)
    top = ioi.sweep("z", positions=[13]).top(1)
    assert (int(top["layer"][0]), int(top["head"][0])) == (23, 3)


def test_the_run_of_a_single_prompt_is_recorded_once():
    model, batches = tiny_model(), []
    assert model.causal  # found out by a forward of its own
    handle = model.anatomy.blocks[0].module.register_forward_pre_hook(lambda _, args: batches.append(len(args[0])))
    experiment = pw.Experiment(model, pw.PromptPair(CLEAN), metric="kl")
    assert experiment.runs.recording("clean") is experiment.runs.recording("corrupted")
    handle.remove()
    assert batches == [1]
    assert torch.allclose(experiment.runs.recording("clean").logits, pw.Experiment(model, PAIR).runs.recording("clean").logits, atol=1e-5)


def test_each_pair_of_a_long_list_is_recorded_once(monkeypatch):
    recorded = []
    record = recordings.record_together
    monkeypatch.setattr(recordings, "record_together", lambda *args: recorded.append(args) or record(*args))
    result = pw.Experiment(tiny_model("llama"), [PAIR] * 40).sweep("z", positions="all", layers=[1], progress=False)
    assert len(recorded) == 40
    assert np.ptp(result.values.to_numpy(), axis=0).max() < 1e-5
