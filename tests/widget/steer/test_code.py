"""The code of a steering panel makes its text again, and its stored state needs no kernel."""

import json

import pytest

import patchwidget as pw
from tests.widget.steer.page import PROMPT, BarePanel


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
