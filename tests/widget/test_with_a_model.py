"""A lab on a real, tiny model: what the page is shown is what a script computes."""

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import patchwidget as pw
from tests.widget.conftest import BareLab
from tests.widget.fakes import Page


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
