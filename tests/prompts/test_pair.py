"""A bad pair says what is wrong, what was given and what to do."""

import pytest

import patchwidget as pw
from tests.zoo import CLEAN, CORRUPTED, tiny_model


def refused(model, match, *pair):
    with pytest.raises(pw.PromptError, match=match) as caught:
        pw.Experiment(model, pw.PromptPair(*pair))
    assert caught.value.hint


def test_token_ids():
    experiment = pw.Experiment(tiny_model(), pw.PromptPair(CLEAN, CORRUPTED, 5, 7))
    assert [i for i, d in enumerate(experiment.pair.differs) if d] == [4, 7]
    assert experiment.pair.first_difference == 4
    assert experiment.pair.clean_tokens[0] == "54"


def test_bad_ids():
    model = tiny_model()
    refused(model, "same", CLEAN, CLEAN, 5, 7)
    refused(model, "corrupted prompt is empty", CLEAN, [], 5, 7)
    refused(model, "12 tokens and the corrupted one 11", CLEAN, CORRUPTED[:-1], 5, 7)
    refused(model, "has token 99, and this model's tokens are 0 to 98", CLEAN, [*CORRUPTED[:-1], 99], 5, 7)
    refused(model, "has 65 tokens, and llama takes at most 64", [3] * 65, [3] * 64 + [4], 5, 7)
    refused(model, "answer is token 99", CLEAN, CORRUPTED, 99, 7)
    refused(model, "both answer and distractor", CLEAN, CORRUPTED, 5, 5)
    refused(model, "no tokenizer", "When", "Then", 5, 7)


def test_texts(default_model):
    start = "When John and Mary went to the store, {} gave a drink to"
    clean, corrupted = start.format("John"), start.format("Mary")
    pair = pw.Experiment(default_model, pw.PromptPair(clean, corrupted, " Mary", " John")).pair
    assert pair.clean_tokens[:3] == ["When", " John", " and"]
    assert (pair.answer_text, pair.distractor_text) == (" Mary", " John")
    refused(default_model, "14 tokens and the corrupted one 16", clean, start.format("Bartholomew"), " Mary", " John")
    refused(default_model, "clean prompt is empty", "", corrupted, " Mary", " John")


def test_an_answer_of_several_tokens_shows_its_pieces(default_model):
    with pytest.raises(pw.PromptError, match=r"'Bartholomew' is \d tokens for this tokenizer \(\w+ \| "):
        pw.Experiment(default_model, pw.PromptPair("a b", "a c", "Bartholomew", " John"))


def test_a_leading_space_is_proposed_where_it_helps(default_model):
    tokenizer = default_model.tokenizer
    words = ["Susan", "Kevin", "Alice", "Paris", "Germany", "France", "Thursday", "California", "Rome", "Italy"]
    word = next(w for w in words if len(tokenizer.encode(w)) > 1 and len(tokenizer.encode(" " + w)) == 1)
    refused(default_model, "With a leading space it is one", "a b", "a c", word, " John")


def test_logit_difference_needs_both_answers():
    with pytest.raises(pw.MetricError, match="needs a distractor"):
        pw.Experiment(tiny_model(), pw.PromptPair(CLEAN, CORRUPTED, 5))


def test_several_answers_are_averaged():
    model = tiny_model()
    single = [pw.Experiment(model, pw.PromptPair(CLEAN, CORRUPTED, answer, 7)).baselines.clean for answer in (5, 6)]
    both = pw.Experiment(model, pw.PromptPair(CLEAN, CORRUPTED, [5, 6], 7)).baselines.clean
    assert both == pytest.approx(sum(single) / 2, abs=1e-5)
