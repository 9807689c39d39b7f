"""A steering panel and its page, without a notebook between them, on a small model."""

import numpy as np
import pytest
import torch

import patchwidget as pw
from patchwidget.errors import PatchError, PromptError
from patchwidget.widget.steer.rows import RUNGS, round_up
from tests.widget.conftest import BareLab
from tests.widget.page import Page
from tests.widget.steer.page import PROMPT, BarePanel

# ---- ladders and texts


def test_a_ladder_is_the_models_own_and_holds_the_strength_at_rest(shown, model, vector):
    _, page = shown
    page.ask("row", row="r2", strength=0.33)
    told = page.ladder("r2")
    assert len(told["strengths"]) == RUNGS + 1
    assert (np.diff(told["strengths"]) > 0).all()
    assert told["key"] == page.rows[0]["ladder"]
    place = int(np.argmin(np.abs(told["strengths"] - 0.33)))
    assert told["strengths"][place] == pytest.approx(0.33)
    logits = model.logits(PROMPT, pw.Steer(vector, 0.33))[-1]
    expected = logits.softmax(-1)[told["ids"]].numpy()
    assert told["probabilities"].reshape(len(told["strengths"]), -1)[place] == pytest.approx(expected, abs=1e-5)
    assert told["base"] == pytest.approx(model.logits(PROMPT)[-1].softmax(-1)[told["ids"]].numpy(), abs=1e-6)
    assert told["kl"][np.argmin(np.abs(told["strengths"]))] == pytest.approx(0, abs=1e-5)


def test_both_texts_are_those_of_generate(shown, model, vector):
    panel, page = shown
    page.ask("set", seed=3, temperature=1.5, length=9)
    for side, steer in (("base", None), ("steered", panel.steers)):
        made = model.generate(PROMPT, steer, max_new_tokens=9, temperature=1.5, seed=3)
        pieces, last = page.text(side)
        assert "".join(pieces) == str(made)
        assert last["status"] == "done"
        assert last["key"] == page.panel["keys"][side]
        assert last["damage"]["tokens"] == len(made.tokens)
        assert last["damage"]["perplexity"] == pytest.approx(made.perplexity, rel=1e-5)
        assert last["damage"]["kl"] == pytest.approx(float(made.kl.mean()), abs=1e-6)


def test_only_the_steered_text_is_written_again_when_a_row_changes(shown):
    _, page = shown
    before = len(page.messages)
    page.ask("row", row="r2", strength=-2.0)
    assert {message["side"] for message in page.messages[before:] if message["type"] == "text"} == {"steered"}


def test_a_strength_at_rest_adds_one_rung_and_no_new_ladder(shown, monkeypatch):
    from patchwidget.widget.steer import jobs

    computed = []
    make = jobs.make_ladder
    monkeypatch.setattr(jobs, "make_ladder", lambda *args, **options: computed.append(args[3]) or make(*args, **options))
    _, page = shown
    page.ask("row", row="r2", strength=0.123)
    page.ask("row", row="r2", strength=0.0)
    assert computed == [[0.123]]  # 0 is a rung


def test_the_newest_request_wins_and_the_old_text_ends_at_its_next_token(shown, model, monkeypatch):
    panel, page = shown
    stopped = []
    original = type(model).stream

    def slow(self, *args, **options):  # it does not end by itself before the second request comes
        stream = original(self, *args, **options, min_new_tokens=options["max_new_tokens"])
        stop = stream.stop
        stream.stop = lambda: (stopped.append(len(stream.result.tokens)), stop())
        return stream

    monkeypatch.setattr(type(model), "stream", slow)
    page.send(type="request", id="long", method="set", params={"length": 400, "temperature": 5.0})
    page.until(lambda: any(m["type"] == "text" and m["start"] > 3 and m["side"] == "steered" for m in page.messages))
    page.send(type="request", id="new", method="row", params={"row": "r2", "strength": -1.0})
    page.until(lambda: page.text("steered")[1]["key"] == page.panel["keys"]["steered"] and page.text("steered")[1]["start"] > 0)
    page.send(type="cancel", id="text")
    assert panel.wait(timeout=60.0)
    assert stopped
    assert stopped[0] < 400
    assert {page.text(side)[1]["status"] for side in ("base", "steered")} <= {"stopped", "done"}


def test_cancel_keeps_what_there_is(shown):
    panel, page = shown
    page.send(type="request", id="long", method="set", params={"length": 400, "temperature": 5.0})
    page.until(lambda: any(m["type"] == "text" and m["start"] > 3 and m["side"] == "steered" for m in page.messages))
    page.send(type="cancel", id="text")
    assert panel.wait(timeout=60.0)
    for side in ("base", "steered"):
        pieces, last = page.text(side)
        assert last["status"] in {"stopped", "done"}
        assert len(pieces) < 400


def test_what_is_stopped_for_another_lab_is_taken_up_when_something_changes(shown):
    panel, page = shown
    session = panel._session
    page.send(type="request", id="long", method="set", params={"length": 400, "temperature": 5.0})
    page.until(lambda: any(m["type"] == "text" and m["start"] > 3 and m["side"] == "steered" for m in page.messages))
    page.send(type="request", id="p-9", method="stop", params={"lab": panel.model_id})
    assert panel.wait(timeout=60.0)
    assert page.of("p-9")[0] == {"v": 2, "type": "queue", "id": "p-9", "ahead": None, "seq": page.of("p-9")[0]["seq"]}
    assert len(page.text("steered")[0]) < 400
    session.set(None, length=3, prompt="When Tom")
    assert (session.wanted_ladder(), len(session.wanted_texts())) != (None, 0)
    session.stop()
    assert (session.wanted_ladder(), session.wanted_texts()) == (None, [])
    page.ask("set", length=4)
    assert [page.text(side)[1]["status"] for side in ("base", "steered")] == ["done", "done"]
    assert page.ladder("r2")["key"] == page.rows[0]["ladder"]


def test_nothing_stays_on_the_model(shown, model):
    panel, page = shown
    page.ask("row", row="r2", strength=-2.0)
    before = model.logits(PROMPT)
    panel.close()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.hf.modules())
    assert torch.equal(model.logits(PROMPT), before)


# ---- what can't be


@pytest.mark.parametrize(
    ("method", "params", "field", "words"),
    [
        ("set", {"prompt": ""}, "prompt", "empty"),
        ("set", {"length": 100_000}, "length", "can't be written"),
        ("set", {"length": 510}, "length", "more than small takes, 512"),
        ("set", {"temperature": -1}, "temperature", "temperature is -1"),
        ("set", {"seed": -1}, "seed", "seed is -1"),
        ("row", {"row": "r2", "layer": 7}, "layer", "can't be applied at layer 7"),
        ("row", {"row": "gone"}, "row", "has been removed"),
        ("row", {"row": "r2", "positions": "odd"}, "row", "no positions 'odd'"),
        ("row", {"row": "r2", "unit": "miles"}, "row", "no unit 'miles'"),
        ("make", {"positive": "John went", "negative": " \n", "method": "mean_diff", "layer": 1}, "negative", "no negative example"),
        ("make", {"positive": "John", "negative": "John", "method": "mean_diff", "layer": 1}, None, "are the same"),
        ("make", {"positive": "John", "negative": "Mary", "method": "magic", "layer": 1}, None, "no method 'magic'"),
        ("row", {"row": "r2", "strength": float("inf")}, None, "needs 'strength', a number"),
        ("nothing", {}, None, "no method 'nothing'"),
    ],
)
def test_errors_are_sentences_that_name_their_field(shown, method, params, field, words):
    panel, page = shown
    before = page.panel
    told = page.ask(method, **params)
    assert told["type"] == "error"
    assert words in told["message"]
    assert told.get("field") == field
    assert page.panel == before
    assert len(panel.steers) == 1


def test_a_text_that_fails_says_why(shown, model):
    _, page = shown
    model.hf.train()
    try:
        page.ask("write")
    finally:
        model.hf.eval()
    assert page.text("steered")[1]["status"] == "failed"
    assert "training mode" in page.text("steered")[1]["message"]
    page.ask("write")
    assert page.text("steered")[1]["status"] == "done"


def test_bad_arguments(open_lab, model, vector):
    with pytest.raises(PatchError, match="width 8"):
        BarePanel(model, PROMPT, {1: torch.ones(8)})
    with pytest.raises(PatchError, match="takes one prompt"):
        BarePanel(model, [PROMPT, PROMPT], vector)
    with pytest.raises(PatchError, match="steering vector was expected"):
        BarePanel(model, PROMPT, 3)
    with pytest.raises((PatchError, PromptError), match="empty"):
        BarePanel(model, "", vector)
    with pytest.raises(TypeError, match="no option 'sight'"):
        BarePanel(model, PROMPT, vector, sight=1)


def test_a_vector_of_other_weights_is_a_warning_that_is_shown_too(open_panel, model, vector):
    other = pw.SteeringVector(vector.vectors, provenance={**vector.provenance, "model": "another", "weights": "0123"})
    with pytest.warns(UserWarning, match="made on another"):
        panel, page = open_panel(model, PROMPT, other)
    page.hello()
    assert panel.wait(timeout=60.0)
    assert "made on another" in page.rows[0]["note"]


@pytest.mark.parametrize(("value", "expected"), [(0.9, 1), (1, 1), (1.1, 2), (2.2, 3), (3.1, 5), (7, 10), (0.031, 0.05)])
def test_limits_are_round(value, expected):
    assert round_up(value) == pytest.approx(expected)


# ---- in a lab


def test_steering_from_a_cell_of_a_lab(open_lab, small, monkeypatch):
    from patchwidget.widget.lab import steer_panel

    shown = []
    monkeypatch.setattr(steer_panel, "SteerLab", BarePanel)
    monkeypatch.setattr(steer_panel, "publish_display_data", lambda *args, **options: shown.append(options))
    model, pair = small
    lab = BareLab(model, pair, site="resid_post")
    page = Page(lab)
    page.hello()
    assert lab.wait(timeout=60.0)
    step = page.main["steps"][-1]
    assert (step["method"], step["reason"]) == ("steer", None)
    for layer in (1, 2):
        parent = {"view": "v1", "row": layer, "col": 3}
        request = page.request("steer", layer=layer, pos=3, **step["params"], parent=parent)
        page.until(lambda request=request: any(message["type"] == "lab" for message in page.of(request)))
    panel = lab.steering.panel
    assert panel.wait(timeout=60.0)
    assert [steer.vector.layers for steer in panel.steers] == [[1], [2]]
    expected = pw.SteeringVector.from_patch(lab.experiment, layer=2, pos=3)
    assert torch.equal(panel.steers[1].vector[2], expected[2])
    assert shown == [{"transient": {"display_id": f"{lab.model_id}-steering"}, "update": True}]
    worker = panel._worker
    lab.close()
    assert worker.wait(panel._asker, timeout=20.0)
    assert worker.wait(lab._asker, timeout=20.0)


def test_a_model_that_does_not_generate_says_why(open_lab):
    lab, page = open_lab()
    page.hello()
    lab.wait(timeout=20.0)
    (step,) = [step for step in page.main["steps"] if step["method"] == "steer"]
    assert step["reason"] == "tiny does not generate text by continuing a prompt."
