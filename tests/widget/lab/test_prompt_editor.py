"""Prompts typed in the page: what they would be while they are typed, what is wrong and where, and what becomes of them."""

import pytest

import patchwidget as pw
from patchwidget.errors import PatchError
from patchwidget.widget.lab.prompt_editor import TypedPair
from patchwidget.widget.transport.text import one_line
from tests.widget.fakes import FakeExperiment

CLEAN, CORRUPTED = "When John went to the store", "When Ann went to the store"
DISTINCT = "When Mary gave a drink to"  # after which the model expects another token


def previews(page, request):
    return [message for message in page.of(request) if message["type"] == "preview"]


def test_a_preview_has_both_prompts_side_by_side_then_the_models_own_tokens(shown):
    lab, page = shown
    asked = page.request("preview", clean=CLEAN, corrupted=CORRUPTED, answer=" Mary", distractor=" John")
    lab.wait(timeout=60.0)
    first, second = previews(page, asked)
    assert first["clean"] == ["When", " John", " went", " to", " the", " store"]
    assert first["columns"] == [[n, n] for n in range(6)]
    assert first["differs"] == [False, True, False, False, False, False]
    assert (first["top"], first["problems"], first["note"]) == (None, [], None)
    text, probability, token = second["top"]["clean"][0]
    assert lab.experiment.model.token_text(token) == text
    assert 0 < probability <= 1
    best = [probability for _, probability, _ in second["top"]["corrupted"]]
    assert best == sorted(best, reverse=True)


def test_prompts_of_unequal_length_are_aligned_and_can_be_used(shown):
    lab, page = shown
    asked = page.request("preview", clean=CLEAN, corrupted="When the old man went to the store", answer=" Mary", distractor=" John")
    lab.wait(timeout=60.0)
    told = previews(page, asked)[0]
    assert told["problems"] == []
    assert "6 and 8 tokens" in told["note"]
    gaps = [column for column in told["columns"] if None in column]
    assert [column for column in told["columns"] if None not in column][-1] == [5, 7]
    assert all(told["differs"][told["columns"].index(gap)] for gap in gaps)
    opened = page.over(
        page.request("set_pair", clean=CLEAN, corrupted="When the old man went to the store", answer=" Mary", distractor=" John")
    )
    assert opened["status"] == "done"
    lab.wait(timeout=60.0)
    pair = next(message["pair"] for message in reversed(page.messages) if "pair" in message)
    assert len(pair["columns"]) == len(pair["differs"]) > len(pair["clean"])


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"clean": ""}, "clean", "The clean prompt is empty."),
        ({"corrupted": ""}, "corrupted", "The corrupted prompt is empty."),
        ({"corrupted": CLEAN}, "corrupted", "are the same"),
        ({"answer": " Mariam"}, "answer", "is 2 tokens"),
        ({"distractor": " Mariam"}, "distractor", "is 2 tokens"),
        ({"distractor": " Mary"}, "distractor", "both answer and distractor"),
        ({"answer": ""}, "answer", "needs an answer"),
        ({"distractor": None}, "distractor", "needs a distractor"),
        ({"answer": 99_999}, "answer", "this model's tokens are 0 to"),
    ],
)
def test_what_is_wrong_stands_by_its_field_and_the_last_good_grid_stays(shown, fields, field, words):
    lab, page = shown
    before = page.lab_state
    typed = {"clean": CLEAN, "corrupted": CORRUPTED, "answer": " Mary", "distractor": " John"} | fields
    asked = page.request("preview", **typed)
    lab.wait(timeout=60.0)
    (problem,) = previews(page, asked)[-1]["problems"]
    assert problem["field"] == field
    assert words in problem["message"]
    error = page.over(page.request("set_pair", **typed))
    assert (error["type"], error["field"], error["message"]) == ("error", field, problem["message"])
    lab.wait(timeout=60.0)
    assert page.lab_state == before
    assert page.main["status"] == "done"


def test_a_token_chosen_by_its_id_is_an_answer(shown):
    lab, page = shown
    token = lab.experiment.model.encode(" Ann", special=False)[0]
    opened = page.over(page.request("set_pair", clean=CLEAN, corrupted=CORRUPTED, answer=token, distractor=" John"))
    assert opened["open"]["cols"]["labels"][1] == " John"
    lab.wait(timeout=60.0)
    assert lab.experiment.pair.answer_text == " Ann"
    assert page.lab_state["pairs"][1]["answer"] == " Ann"


def test_a_pair_that_is_there_already_is_not_added_twice(shown):
    lab, page = shown
    for clean in (CLEAN, "When Tom went to the store", CLEAN):
        page.over(page.request("set_pair", clean=clean, corrupted=CORRUPTED, answer=" Mary", distractor=" John"))
    lab.wait(timeout=60.0)
    assert [pair["clean"] for pair in page.lab_state["pairs"]][1:] == [CLEAN, "When Tom went to the store"]
    assert page.lab_state["pair"] == 1


def test_the_newest_preview_wins(shown):
    lab, page = shown
    with lab.experiment.model.lock:
        asked = [page.request("preview", clean=CLEAN[:n], corrupted=CORRUPTED) for n in range(4, 20)]
    lab.wait(timeout=60.0)
    assert len(previews(page, asked[-1])) == 2
    assert sum(bool(previews(page, name)) for name in asked[:-1]) <= 2  # no more than were under way


def test_a_model_without_a_tokenizer_says_why_nothing_can_be_typed(open_lab):
    lab, page = open_lab()
    page.hello()
    lab.wait(timeout=20.0)
    assert "no tokenizer" in page.lab_state["edit"]


def test_a_pair_that_can_be_used_is_given_as_it_was_typed(small):
    typed = TypedPair(small[0], CLEAN, CORRUPTED, " Mary", " John")
    assert typed.check(lambda pair: None).clean == CLEAN
    with pytest.raises(PatchError, match="is empty"):
        TypedPair(small[0], "", CORRUPTED, " Mary", " John").check(lambda pair: None)


# ---- answers that are left from other prompts


def expected(model, clean, corrupted):
    """The likeliest token after each prompt, and for each one that is hardly expected there."""
    order = [model.logits(prompt)[-1].argsort() for prompt in (clean, corrupted)]
    return [int(tokens[-1]) for tokens in order], (int(order[0][0]), int(order[1][1]))


@pytest.fixture
def likelier(shown):
    """What a preview says of a pair with these answers in place of them."""
    lab, page = shown

    def ask(clean, corrupted, **answers):
        asked = page.request("preview", clean=clean, corrupted=corrupted, **answers)
        lab.wait(timeout=60.0)
        first, second = previews(page, asked)
        assert first["likelier"] is None
        return second["likelier"]

    return ask


def test_in_place_of_answers_that_the_model_hardly_expects_it_offers_those_it_does(small, likelier):
    model, _ = small
    (best, other), (worst, worse) = expected(model, CLEAN, DISTINCT)
    assert best != other
    told = likelier(CLEAN, DISTINCT, answer=worst, distractor=worse)
    assert told["text"] == f"After these prompts the model hardly expects {model.token_text(worst)!r} or {model.token_text(worse)!r}."
    for role, token in (("answer", best), ("distractor", other)):
        assert (told[role][0], told[role][2]) == (model.token_text(token), token)


def test_answers_that_the_model_expects_are_left_alone(small, likelier):
    (best, other), (worst, _) = expected(small[0], CLEAN, DISTINCT)
    assert likelier(CLEAN, DISTINCT, answer=best, distractor=other) is None
    assert likelier(CLEAN, DISTINCT) is None
    told = likelier(CLEAN, DISTINCT, answer=worst, distractor=other)
    assert (told["answer"][2], told["distractor"]) == (best, None)


def test_where_both_runs_expect_the_same_token_it_is_offered_for_neither(small, likelier):
    (best, other), (worst, worse) = expected(small[0], CLEAN, CORRUPTED)
    assert best == other
    told = likelier(CLEAN, CORRUPTED, answer=worst, distractor=worse)
    assert "hardly expects" in told["text"]
    assert (told["answer"], told["distractor"]) == (None, None)


def test_prompts_of_several_lines_are_one_line_in_the_menu(open_lab):
    pair = pw.PromptPair("A John\nto", "A Mary\r\nto", " Mary", " John")
    lab, page = open_lab(FakeExperiment(prompts=pair))
    page.hello()
    lab.wait(timeout=20.0)
    (told,) = page.lab_state["pairs"]
    assert (told["label"], told["clean"], told["corrupted"]) == ("A John⏎to", "A John\nto", "A Mary\r\nto")
    assert one_line("a\r\nb\rc\u2028d") == "a⏎b⏎c⏎d"
