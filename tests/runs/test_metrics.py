"""Every metric against its formula, and several of them from the same runs."""

import numpy as np
import pytest
import torch

import patchwidget as pw
from patchwidget.runs.metrics import METRICS
from tests.zoo import CLEAN, CORRUPTED, tiny_model

ANSWERS, DISTRACTORS = [5, 40], [7, 11, 60]
PAIR = pw.PromptPair(CLEAN, CORRUPTED, ANSWERS, DISTRACTORS)


@pytest.fixture(scope="module")
def model():
    return tiny_model("qwen2")


def logits_of(model, prompt, position=-1):
    with torch.no_grad():
        return model.hf(torch.tensor([prompt])).logits[0, position].float()


def formulas(logits, source):
    log_probs = logits.log_softmax(-1)
    probs = log_probs.exp()
    return {
        "logit_diff": logits[ANSWERS].mean() - logits[DISTRACTORS].mean(),
        "logit": logits[ANSWERS].mean(),
        "prob": probs[ANSWERS].mean(),
        "log_prob": log_probs[ANSWERS].mean(),
        "prob_diff": probs[ANSWERS].mean() - probs[DISTRACTORS].mean(),
        "kl": torch.nn.functional.kl_div(log_probs, source.log_softmax(-1), log_target=True, reduction="sum"),
        "rank": torch.stack([(logits > logits[a]).sum().float() for a in ANSWERS]).mean(),
    }


@pytest.mark.parametrize("metric", sorted(set(METRICS) - {"answer_log_prob"}))
def test_against_its_formula(model, metric):
    clean, corrupted = logits_of(model, CLEAN), logits_of(model, CORRUPTED)
    experiment = pw.Experiment(model, PAIR, metric)
    assert experiment.baselines.clean == pytest.approx(float(formulas(clean, clean)[metric]), abs=1e-4)
    assert experiment.baselines.corrupted == pytest.approx(float(formulas(corrupted, clean)[metric]), abs=1e-4)
    for executor in ("packed", "hooked"):
        whole = experiment.sweep("resid_pre", positions="all", executor=executor)
        np.testing.assert_allclose(whole.values, float(formulas(clean, clean)[metric]), atol=1e-4)


def test_several_from_the_same_runs(model):
    metrics = ["logit_diff", "kl", "rank"]
    together = pw.Experiment(model, PAIR, metrics).sweep("attn_out")
    for metric in metrics:
        alone = pw.Experiment(model, PAIR, metric).sweep("attn_out")
        np.testing.assert_allclose(together[metric].values, alone.values, atol=1e-4)
        assert together[metric].clean == pytest.approx(alone.clean, abs=1e-4)
    named = pw.Experiment(model, PAIR, {"first": lambda logits: logits[:, 0], "second": "logit"}).sweep("mlp_out")
    assert named.info["metric"] == "first"
    assert set(named.others) == {"second"}


def test_at_another_position(model):
    experiment = pw.Experiment(model, PAIR, answer_pos=8)
    logits = logits_of(model, CLEAN, 8)
    assert experiment.baselines.clean == pytest.approx(float(formulas(logits, logits)["logit_diff"]), abs=1e-4)
    own = pw.Experiment(model, PAIR, lambda logits: logits[:, 3], answer_pos=8)
    assert own.baselines.clean == pytest.approx(float(logits[3]), abs=1e-4)
    packed, hooked = (experiment.sweep("z", executor=executor) for executor in ("packed", "hooked"))
    np.testing.assert_allclose(packed.values, hooked.values, atol=1e-4)
    assert float(abs(packed.recovery.sel(pos=slice(9, None))).max()) == 0.0  # later positions can't matter


@pytest.mark.parametrize("executor", ["packed", "hooked"])
def test_an_answer_of_several_tokens_is_fed_in(model, executor):
    answer = [20, 21, 22]
    experiment = pw.Experiment(model, pw.PromptPair(CLEAN, CORRUPTED, answer), "answer_log_prob")
    for run, prompt in [("clean", CLEAN), ("corrupted", CORRUPTED)]:
        with torch.no_grad():
            log_probs = model.hf(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
        expected = sum(float(log_probs[len(prompt) - 1 + i, token]) for i, token in enumerate(answer))
        assert experiment.runs.value_of(run) == pytest.approx(expected, abs=1e-4)
    result = experiment.sweep("resid_pre", executor=executor)
    np.testing.assert_allclose(result.values, experiment.sweep("resid_pre", executor="hooked").values, atol=1e-4)
    assert float(result.values.sel(layer=0, pos=13)) == pytest.approx(result.corrupted, abs=1e-4)
    whole = experiment.sweep("resid_pre", positions="all", executor=executor)
    np.testing.assert_allclose(whole.recovery, 1, atol=1e-4)


def test_what_is_refused(model):
    with pytest.raises(pw.MetricError, match="stands alone"):
        pw.Experiment(model, PAIR, ["answer_log_prob", "kl"])
    with pytest.raises(pw.MetricError, match="same name"):
        pw.Experiment(model, PAIR, ["kl", "kl"])
    with pytest.raises(pw.PromptError, match="answer_pos=12 does not exist"):
        pw.Experiment(model, PAIR, answer_pos=12)
    with pytest.raises(pw.MetricError, match="log_prob needs an answer"):
        pw.Experiment(model, pw.PromptPair(CLEAN, CORRUPTED), "log_prob")
    assert pw.Experiment(model, pw.PromptPair(CLEAN, CORRUPTED), "kl").baselines.clean == pytest.approx(0, abs=1e-5)
