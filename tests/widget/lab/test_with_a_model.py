"""A lab on a real, tiny model: what the page is shown is what a script computes."""

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import patchwidget as pw
from patchwidget.engine.executors.packed import PackedExecutor
from patchwidget.widget.lab.experiment_pool import ROWS_AT_ONCE
from tests.widget.conftest import BareLab
from tests.widget.page import Page


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = GPT2Config(n_layer=3, n_head=2, n_embd=16, vocab_size=50, n_positions=32, initializer_range=0.5)
    return pw.wrap(GPT2LMHeadModel(config).eval())


@pytest.fixture
def pair():
    return pw.PromptPair([1, 2, 3, 4, 5], [1, 9, 3, 4, 5], answer=7, distractor=8)


@pytest.fixture
def shown(open_lab, model, pair):
    lab = BareLab(model, pair)
    yield lab, Page(lab)
    lab.close()


def test_grid_heads_and_attention_are_those_of_the_experiment(shown, model, pair):
    lab, page = shown
    page.hello()
    assert lab.wait(timeout=60.0)
    page.over(page.heads(1, 3))
    page.over(page.request("attention", layer=2, head=1, pos=3))
    assert lab.wait(timeout=60.0)
    experiment = pw.Experiment(model, pair)
    main, heads, row = experiment.sweep("resid_pre"), experiment.sweep("z", positions=[3]), experiment.attention(2, 1, 3)
    for view, result in ((page.main, main), (page.view("heads"), heads)):
        np.testing.assert_allclose(view["values"], result.values.to_numpy().ravel(), atol=1e-5)
        np.testing.assert_allclose(view["recovery"], result.recovery.to_numpy().ravel(), atol=1e-5)
        assert (view["state"] == 1).all()
        assert [check["ok"] for check in view["checks"]] == [True] * len(result.checks) != []
    np.testing.assert_allclose(page.view("attention")["clean"], row.clean, atol=1e-6)
    np.testing.assert_allclose(page.view("attention")["corrupted"], row.corrupted, atol=1e-6)
    np.testing.assert_array_equal(lab.result.values.to_numpy(), page.main["values"].reshape(main.values.shape))
    assert lab.experiment.pair.length == 5


def test_the_labs_small_batches_are_its_own(monkeypatch, model, pair, open_lab):
    """Clicks are answered between batches, so a lab's are small; those of the user's own experiment stay as they are."""
    experiment = pw.Experiment(model, pair)
    _ = experiment.baselines
    before, walked, walk = experiment.runs.make_executor("packed").max_rows, [], PackedExecutor._walk
    monkeypatch.setattr(PackedExecutor, "_walk", lambda self, plans: walked.append(self.max_rows) or walk(self, plans))
    lab = BareLab(experiment)
    Page(lab).hello()
    assert lab.wait(timeout=60.0)
    lab.close()
    assert set(walked) == {ROWS_AT_ONCE} != {before}
    assert lab.experiment is experiment
    walked.clear()
    experiment.sweep("resid_pre", progress=False)
    assert set(walked) == {before} == {experiment.runs.make_executor("packed").max_rows}


def test_a_cancelled_sweep_leaves_no_hook(shown, model):
    lab, page = shown
    page.hello()
    page.cancel("v1")
    assert lab.wait(timeout=60.0)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.hf.modules())


def test_a_site_that_does_not_exist_is_refused_in_the_users_cell(model, pair, open_lab):
    with pytest.raises(pw.SiteError, match="resid_prey"):
        BareLab(model, pair, site="resid_prey")


def test_a_metric_that_breaks_is_told_on_the_page(open_lab, model, pair, caplog):
    def metric(logits):
        raise LookupError("looked in vain")

    lab = BareLab(model, pair, metric=metric)
    page = Page(lab)
    page.hello()
    assert lab.wait(timeout=60.0)
    lab.close()
    (error,) = [message for message in page.messages if message["type"] == "error"]
    assert "LookupError: looked in vain" in error["message"]
    assert "in metric" in caplog.text


def test_without_a_position_the_whole_pattern_is_shown(shown, model, pair):
    lab, page = shown
    page.hello()
    view = page.over(page.request("attention", layer=2, head=1, pos=None))["open"]
    assert lab.wait(timeout=60.0)
    pattern = pw.Experiment(model, pair).attention(2, 1)
    assert view["clean"].reshape(5, 5) == pytest.approx(pattern.clean, abs=1e-6)
    np.testing.assert_allclose(view["corrupted"].reshape(5, 5).sum(1), 1, atol=1e-5)


def test_every_question_gives_what_the_experiment_gives(shown, model, pair):
    lab, page = shown
    page.hello()
    experiment = pw.Experiment(model, pair)
    neurons = page.over(page.request("neurons", layer=1, pos=3))["open"]
    expected = experiment.sweep("mlp_post", layers=[1], positions=[3]).values.to_numpy()
    np.testing.assert_allclose(neurons["values"], expected.ravel(), atol=1e-5)
    heads = page.over(page.request("positions", site="q", layer=1))["open"]
    expected = experiment.sweep("q", layers=[1]).values.to_numpy()[0].T
    np.testing.assert_allclose(heads["values"].reshape(expected.shape), expected, atol=1e-5)
    parts = page.over(page.request("parts", layer=2, head=1))["open"]
    for row, site in enumerate(parts["rows"]["values"]):
        expected = experiment.sweep(site, layers=[2], heads=[1]).values.to_numpy().ravel()
        np.testing.assert_allclose(parts["values"].reshape(5, 5)[row], expected, atol=1e-5)
    entries = page.over(page.request("entries", layer=2, head=1))["open"]
    expected = experiment.sweep("pattern", layers=[2], heads=[1], positions="entries").values.to_numpy().ravel()
    np.testing.assert_allclose(entries["values"], expected, atol=1e-5)
    paths = page.over(page.request("paths", layer=2, head=1, site="q"))["open"]["values"].reshape(2, 3)
    receiver = pw.Node("q", layer=2, head=1)
    heads, mlps = (experiment.paths(receiver=receiver, senders=senders, progress=False).values.to_numpy() for senders in ("z", "mlp_out"))
    np.testing.assert_allclose(paths[:, :2], heads[:2], atol=1e-5)
    np.testing.assert_allclose(paths[:, 2], mlps[:2], atol=1e-5)
    assert lab.wait(timeout=60.0)


def test_the_code_of_what_is_shown_computes_it_again(shown, model, pair):
    lab, page = shown
    page.hello()
    for method, params in {
        "heads": {"site": "z", "pos": 3},
        "parts": {"layer": 2, "head": 1},
        "paths": {"layer": 2, "head": 1, "site": "v"},
    }.items():
        view = page.over(page.request(method, **params))["open"]
        lines = [line for line in lab.code().splitlines() if not line.startswith(("model =", "result.plot"))]
        names = {"model": model}
        exec("\n".join(lines), names)
        found = names.get("result")
        if found is not None:
            np.testing.assert_allclose(view["values"], found.values.to_numpy().ravel(), atol=1e-5)
    assert names["mlps"].values.shape == (3,)
    lab.selection = [pw.Patch("z", layer=1, head=0)]
    assert "joint = exp.patch([pw.Patch(site='z', layer=1, head=0)])" in lab.code()
    assert lab.wait(timeout=60.0)


def test_what_was_measured_before_the_model_changed_is_doubted(open_lab, pair):
    torch.manual_seed(0)
    hf = GPT2LMHeadModel(GPT2Config(n_layer=3, n_head=2, n_embd=16, vocab_size=50, n_positions=32, initializer_range=0.5)).eval()
    lab = BareLab(pw.wrap(hf), pair)
    page = Page(lab)
    page.hello()
    page.over(page.request("attention", layer=2, head=1, pos=3))
    assert lab.wait(timeout=60.0)
    assert failed(page.main) == []
    hf.transformer.h[1].mlp.c_proj.weight.data *= -2
    page.over(page.heads(1, 3))
    assert lab.wait(timeout=60.0)
    anew = pw.Experiment(pw.wrap(hf), pair)
    assert failed(page.view("heads")) == []
    np.testing.assert_allclose(page.view("heads")["values"], anew.sweep("z", positions=[3]).values.to_numpy().ravel(), atol=1e-5)
    assert failed(page.main) == ["same model"]
    assert page.view("attention")["explain"].startswith("The model has changed since this was measured")
    assert [m for m in page.messages if "baselines" in m][-1]["baselines"]["clean"] == pytest.approx(anew.baselines.clean, abs=1e-5)
    page.over(page.request("sweep"))
    assert lab.wait(timeout=60.0)
    assert failed(page.main) == []
    np.testing.assert_allclose(page.main["values"], anew.sweep("resid_pre").values.to_numpy().ravel(), atol=1e-5)
    assert failed(page.view("heads")) == []
    lab.close()


def failed(view):
    return [check["name"] for check in view["checks"] if not check["ok"]]
