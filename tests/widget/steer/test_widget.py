"""A steering panel and its page, without a notebook between them, on a small model."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import patchwidget as pw
from patchwidget.errors import PatchError, PromptError
from patchwidget.widget.steer import messages
from patchwidget.widget.steer.rows import RUNGS, round_up
from patchwidget.widget.steer.widget import SteerLab
from patchwidget.widget.transport import protocol
from tests.widget.conftest import BareLab
from tests.widget.page import Page

EXAMPLES = json.loads((Path(__file__).parents[2] / "protocol" / "steer_messages.json").read_text())
PROMPT = "When John and Mary went to the"


class BarePanel(SteerLab):
    """A panel whose front end need not have been built."""

    _esm = "export default {\n}"
    _css = ""


@pytest.fixture
def model(small):
    return small[0]


@pytest.fixture
def vector(model):
    return pw.SteeringVector.from_pairs(model, ["John went to"], ["Mary went to"], layer=1)


@pytest.fixture
def open_panel(open_lab):
    """Makes panels, each with a page at its other end; `open_lab` makes comms record."""
    panels = []

    def make(*args, **options):
        panels.append(BarePanel(*args, **{"max_new_tokens": 6, **options}))
        return panels[-1], SteerPage(panels[-1])

    yield make
    for panel in panels:
        panel.close()
        assert panel._worker.wait(panel._asker, timeout=20.0)


class SteerPage(Page):
    """The page of a panel."""

    def ask(self, name, **params):
        """Send a request and wait until the panel has done all of it."""
        self._requests += 1
        request = f"p-{self._requests}"
        self.send(type="request", id=request, method=name, params=params)
        assert self.lab.wait(timeout=60.0)
        return next(message for message in self.messages if message.get("id") == request)

    @property
    def panel(self):
        return next(message["panel"] for message in reversed(self.messages) if "panel" in message)

    @property
    def rows(self):
        return self.panel["rows"]

    def text(self, side):
        """A text as its messages put it together: (pieces, the last message)."""
        pieces: list[str] = []
        last = None
        for message in self.messages:
            if message["type"] == "text" and message["side"] == side:
                pieces = pieces[: message["start"]] + message["pieces"]
                last = message
        return pieces, last

    def ladder(self, row):
        """The newest ladder of a row, with its arrays."""
        with self.comm.news:
            sent = [(data["content"], buffers) for _, data, buffers, _ in self.comm.sent if data.get("method") == "custom"]
        told, buffers = [(content["ladder"], b) for content, b in sent if content["type"] == "ladder" and content["ladder"]["row"] == row][
            -1
        ]
        return told | {name: np.frombuffer(buffers[told[name]], "<f4") for name in ("strengths", "base", "probabilities", "kl")}


@pytest.fixture
def shown(open_panel, model, vector):
    panel, page = open_panel(model, PROMPT, vector)
    page.hello()
    assert panel.wait(timeout=60.0)
    return panel, page


# ---- protocol


@pytest.mark.parametrize("name", list(EXAMPLES["from_page"]))
def test_examples_from_the_page_are_understood(name):
    example = EXAMPLES["from_page"][name]
    message = protocol.parse(example, messages.METHODS)
    if isinstance(message, protocol.Request):
        assert example["params"].items() <= message.params.items()


def test_every_method_has_an_example():
    assert {example.get("method") for example in EXAMPLES["from_page"].values()} == {*messages.METHODS, None}


def test_what_the_kernel_says_has_the_fields_of_the_examples(shown):
    _, page = shown
    page.ask("row", row="r2", strength=-0.33)
    told = EXAMPLES["from_kernel"]
    for name in ("panel", "ladder", "text_done"):
        example = told[name]["json"]
        message = next(m for m in reversed(page.messages) if m["type"] == example["type"])
        assert set(message) == set(example)
        inner = {"panel": "panel", "ladder": "ladder"}.get(example["type"])
        assert inner is None or set(message[inner]) == set(example[inner])
    assert set(page.panel["rows"][0]) == set(told["panel"]["json"]["panel"]["rows"][0])


def test_messages_are_numbered_without_a_gap(shown):
    _, page = shown
    page.ask("row", row="r2", strength=-0.33)
    assert [message["seq"] for message in page.messages] == list(range(1, len(page.messages) + 1))


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


# ---- rows


def test_a_vector_from_two_boxes_has_every_layer_and_a_row(shown, model):
    panel, page = shown
    page.ask("make", positive="John went\n\nTom went", negative="Mary went\nAnn went", method="mean_diff", layer=2)
    assert [source["about"] for source in page.panel["vectors"]] == [
        "mean_diff, resid_post, layer 1",
        "mean_diff, resid_post, layers 0 to 2",
    ]
    row = page.rows[1]
    assert (row["layer"], row["layers"], row["on"]) == (2, [0, 1, 2], True)
    assert page.panel["current"] == row["id"]
    made = pw.SteeringVector.from_pairs(model, ["John went", "Tom went"], ["Mary went", "Ann went"], layer=2)
    assert torch.allclose(panel.steers[1].vector[2], made[2])
    assert page.ladder(row["id"])["key"] == row["ladder"]
    page.ask("row", row=row["id"], layer=0)
    assert panel.steers[1].layers == 0


def test_several_rows_work_together_and_each_has_its_ladder(shown, model):
    panel, page = shown
    page.ask("add", vector=page.panel["vectors"][0]["id"])
    first, second = page.rows
    page.ask("row", row=second["id"], layer=2, strength=2.0)
    first, second = page.rows
    told = page.ladder(first["id"])
    assert told["key"] == first["ladder"]
    place = int(np.argmin(np.abs(told["strengths"] - first["strength"])))
    expected = model.logits(PROMPT, panel.steers)[-1].softmax(-1)[told["ids"]].numpy()
    assert told["probabilities"].reshape(len(told["strengths"]), -1)[place] == pytest.approx(expected, abs=1e-5)
    page.ask("row", row=second["id"], on=False)
    assert len(panel.steers) == 1
    assert page.rows[1]["ladder"] is None
    page.ask("remove", row=first["id"])
    assert [row["id"] for row in page.rows] == [second["id"]]
    assert panel.steers == []


def test_another_unit_keeps_the_effect(shown, model):
    panel, page = shown
    before = model.logits(PROMPT, panel.steers)[-1]
    page.ask("row", row="r2", unit="residual norm")
    row = page.rows[0]
    assert row["unit"] == "residual norm"
    assert row["norm"] == 1.0
    assert row["limit"] == 2.0
    assert torch.allclose(model.logits(PROMPT, panel.steers)[-1], before, atol=0.02)


def test_a_vector_without_norms_learns_them_from_the_prompt(open_panel, model):
    panel, page = open_panel(model, PROMPT, {1: torch.ones(16)})
    page.hello()
    assert panel.wait(timeout=60.0)
    (row,) = page.rows
    assert row["norm"] == pytest.approx(panel.steers[0].vector.relative_norm(1))
    assert row["limit"] == round_up(2 / row["norm"] * 0.999)


def test_what_was_given_stays_as_it_was_given(open_panel, model, vector):
    steer = pw.Steer(vector, -0.5, layers=2, positions=(1, 4), unit="residual norm")
    panel, page = open_panel(model, PROMPT, {"kind": steer, "plain": vector})
    page.hello()
    assert panel.wait(timeout=60.0)
    first, second = page.rows
    assert (first["positions"], first["layer"], first["strength"]) == ("own", 2, -0.5)
    assert (second["positions"], second["layer"], second["strength"]) == ("all", 1, 1.0)
    assert [source["name"] for source in page.panel["vectors"]] == ["kind", "plain"]
    assert panel.steers[0].positions == (1, 4)
    assert torch.equal(model.logits(PROMPT, panel.steers[0])[-1], model.logits(PROMPT, steer)[-1])


def test_a_panel_without_a_vector_begins_with_the_plain_text(open_panel, model):
    panel, page = open_panel(model, PROMPT)
    page.hello()
    assert panel.wait(timeout=60.0)
    assert page.rows == []
    assert page.text("base")[0] == page.text("steered")[0]
    page.ask("make", positive="John went", negative="Mary went", method="caa", layer=1)
    assert len(page.rows) == 1


def test_from_a_cell(open_lab, small):
    model, pair = small
    experiment = pw.Experiment(model, pair)
    panel = BarePanel.from_cell(experiment, layer=1, pos=3, max_new_tokens=4)
    assert panel.wait(timeout=60.0)
    expected = pw.SteeringVector.from_patch(experiment, layer=1, pos=3)
    assert torch.equal(panel.steers[0].vector[1], expected[1])
    assert "pw.SteeringVector.from_patch(exp, layer=1, pos=3, site='resid_post')" in panel.code()
    panel.close()


# ---- code, stored state


def text_of_code(code, model, **names):
    """The text that a panel's code writes, with what a user has to bring."""
    made = {"given": model, "print": lambda *_: None, **names}
    exec(code.replace("pw.wrap(hf, tokenizer)", "given"), made)
    return str(made["text"])


def test_the_code_gives_the_same_text(shown, model):
    panel, page = shown
    page.ask("make", positive="John went", negative="Mary went", method="mean_diff", layer=2)
    page.ask("set", temperature=1.2, seed=5)
    assert text_of_code(panel.code(), model) == "".join(page.text("steered")[0])
    assert page.panel["code"] == panel.code()


def halved(i: int) -> float:
    return 0.5**i


def many(model, method="mean_diff"):
    return pw.SteeringVector.from_pairs(model, ["John went to"], ["Mary went to"], layers=[0, 2], method=method)


@pytest.mark.parametrize(
    "give",
    [
        lambda model, vector: pw.Steer(vector, -1 / 3, positions=(1, 9), operator="cap", unit="residual norm"),
        lambda model, vector: pw.Steer(vector, 3.0, layers=[0, 2]),
        lambda model, vector: pw.Steer(many(model), 2.0),
        lambda model, vector: many(model, "caa"),
        lambda model, vector: [pw.Steer(many(model), 2.0, layers=0), pw.Steer(vector, 1.5, operator="project_out")],
        lambda model, vector: [pw.Steer(vector, 4.0, schedule=halved), vector],
        lambda model, vector: 3 * vector,
        lambda model, vector: vector + vector.normalized(),
    ],
)
def test_the_code_is_whole_whatever_was_given(open_panel, model, vector, give, tmp_path, monkeypatch):
    """What it can't make it names: the schedule's function, and a vector's file."""
    given = give(model, vector)
    panel, page = open_panel(model, PROMPT, given, temperature=1.5, seed=2, max_new_tokens=8)
    page.hello()
    assert panel.wait(timeout=60.0)
    monkeypatch.chdir(tmp_path)
    if isinstance(given, pw.SteeringVector) and given.provenance.keys() & {"scaled", "combined_with"}:
        assert 'pw.SteeringVector.load("vector.safetensors")  # the vector that the panel was given' in panel.code()
        given.save("vector.safetensors")
    if "schedule" in panel.code():
        assert "# schedule: the function that the panel's Steer was given" in panel.code()
    text = text_of_code(panel.code(), model, schedule=halved)
    assert text == "".join(page.text("steered")[0]) == str(model.generate(PROMPT, panel.steers, temperature=1.5, seed=2, max_new_tokens=8))
    assert text != "".join(page.text("base")[0])


def test_two_rows_of_one_vector_at_two_layers_are_made_at_both(shown, model):
    panel, page = shown
    page.ask("make", positive="John went", negative="Mary went", method="mean_diff", layer=2)
    page.ask("add", vector=page.panel["vectors"][1]["id"])
    page.ask("row", row=page.rows[2]["id"], layer=0, strength=-2.0)
    assert "layers=[0, 1, 2]" not in panel.code()
    assert "layers=[0, 1], method" in panel.code() or "layers=[0, 2], method" in panel.code()
    assert text_of_code(panel.code(), model) == "".join(page.text("steered")[0])


def test_a_steer_is_shown_as_it_was_given(open_panel, model, vector):
    steers = [
        pw.Steer(vector, 0.0, operator="cap"),
        pw.Steer(vector, 1.0, operator="project_out", unit="residual norm"),
        pw.Steer(vector, 1.0, layers=[0, 2], schedule=halved),
    ]
    panel, page = open_panel(model, PROMPT, steers)
    page.hello()
    assert panel.wait(timeout=60.0)
    cap, out, several = page.rows
    assert "Cap: brings the component" in cap["note"]
    assert "Project out: takes out" in out["note"]
    assert (out["unit"], out["norm"], out["limit"]) == ("absolute", None, 2.0)
    assert several["note"].startswith("At layers 0, 2. At each token the strength is multiplied by the schedule")
    assert (several["layer"], several["layers"][0]) == (-1, -1)
    given = model.generate(PROMPT, steers, max_new_tokens=6, temperature=0.0, seed=0)
    assert "".join(page.text("steered")[0]) == str(given)
    # a cap acts at strength 0 too, so a text without it is another one
    wanted = page.panel["keys"]["steered"]
    page.ask("row", row=cap["id"], on=False)
    assert page.panel["keys"]["steered"] != wanted


def test_the_code_of_a_cell_of_several_pairs(open_lab, small):
    model, pair = small
    experiment = pw.Experiment(
        model,
        [pair, pw.PromptPair(pair.clean.replace("store", "went"), pair.corrupted.replace("store", "went"), pair.answer, pair.distractor)],
    )
    panel = BarePanel.from_cell(experiment, layer=1, pos=3, max_new_tokens=4)
    assert panel.wait(timeout=60.0)
    made = text_of_code(panel.code(), model)
    assert made == str(model.generate(experiment.prompts[0].corrupted, panel.steers, max_new_tokens=4, temperature=0.0))
    panel.close()


def test_the_stored_state_is_a_hello_that_needs_no_kernel(shown, tmp_path):
    panel, page = shown
    assert panel.wait(timeout=60.0)
    content = panel.stored["content"]
    assert content["type"] == "hello"
    assert content["panel"]["live"] is False
    assert content["ladders"][0]["row"] == page.panel["current"]
    assert {text["status"] for text in content["texts"]} == {"done"}
    assert len(json.dumps(panel.stored)) < 200_000
    written = panel.to_html(tmp_path / "steering.html").read_text()
    assert "SteerLab(small, 1 steers)" in written


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
