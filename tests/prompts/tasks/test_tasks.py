"""The literature's tasks on the default model: they fit, they repeat, and the model does them."""

import pytest

import patchwidget as pw
from patchwidget.prompts.pair import tokenize_pair
from patchwidget.prompts.tasks.templates import fill
from tests.zoo import tiny_model

TASKS = {
    "ioi": (lambda model, **o: pw.tasks.ioi(model, 8, **o), ("IO", "S1", "S2", "END"), 0.9),
    "greater_than": (lambda model, **o: pw.tasks.greater_than(model, 8, **o), ("year", "END"), 0.9),
    "gendered_pronouns": (lambda model, **o: pw.tasks.gendered_pronouns(model, 8, **o), ("profession", "END"), 0.7),
    "factual_recall": (lambda model, **o: pw.tasks.factual_recall(model, 8, **o), ("subject", "END"), 0.8),
    "induction": (lambda model, **o: pw.tasks.induction(model, 8, **o), ("A1", "B1", "END"), 0.9),
    "subject_verb_agreement": (lambda model, **o: pw.tasks.subject_verb_agreement(model, 8, **o), ("subject", "attractor", "END"), 0.7),
    "docstring": (lambda model, **o: pw.tasks.docstring(model, 8, **o), ("A", "B", "C", "D", "A_doc", "B_doc", "END"), 0.9),
}


def test_every_task_is_tested():
    assert set(TASKS) == set(pw.tasks.__all__)


@pytest.mark.parametrize("name", TASKS)
def test_a_task(default_model, name):
    make, roles, accuracy = TASKS[name]
    pairs = make(default_model, seed=1)
    assert list(pairs) == list(make(default_model, seed=1))
    assert list(pairs) != list(make(default_model, seed=2))
    assert len({str(pair) for pair in pairs}) == len(pairs) == 8
    for pair in pairs:
        tokens = tokenize_pair(default_model, pair)
        assert len(tokens.clean) == len(tokens.corrupted)
        assert set(tokens.roles) == set(roles)
        assert tokens.roles["END"] == ((tokens.length - 1,), (tokens.length - 1,))
        assert all(clean == corrupted for clean, corrupted in tokens.roles.values())  # at the same places
        assert tokens.answers
        assert tokens.distractors
    check = pairs.check(default_model)
    assert check.clean_accuracy >= accuracy
    assert check.gaps.mean() > 1


def words_at(model, pair, role, run):
    tokens = tokenize_pair(model, pair)
    positions = tokens.roles[role][0 if run == "clean" else 1]
    return "".join(getattr(tokens, f"{run}_tokens")[position] for position in positions)


def test_ioi_is_what_the_paper_says(default_model):
    for order, first in (("ABBA", "IO"), ("BABA", "S1")):
        pairs = pw.tasks.ioi(default_model, 4, order=order)
        for pair in pairs:
            tokens = tokenize_pair(default_model, pair)
            assert words_at(default_model, pair, "IO", "clean") == pair.answer
            assert words_at(default_model, pair, "S1", "clean") == words_at(default_model, pair, "S2", "clean") == pair.distractor
            assert words_at(default_model, pair, "S2", "corrupted") == pair.answer
            assert sum(tokens.differs) == 1
            assert min(("IO", "S1"), key=lambda role: tokens.roles[role][0][0]) == first
    for pair in pw.tasks.ioi(default_model, 4, corruption="ABC"):
        names = {words_at(default_model, pair, role, "corrupted") for role in ("IO", "S1", "S2")}
        assert len(names) == 3
        assert not names & {pair.answer, pair.distractor}


def test_the_other_corruptions_are_minimal(default_model):
    pair = pw.tasks.greater_than(default_model, 1)[0]
    year = int(pair.clean.split("year ")[1][2:4])
    later, earlier = ([int(default_model.token_text(token)) for token in tokens] for tokens in (pair.answer, pair.distractor))
    assert min(later) > year // 10 >= max(earlier)  # this tokenizer has single digits: tens
    assert pair.corrupted == pair.clean.replace(f"{year:02d} to", "01 to")
    pair = pw.tasks.gendered_pronouns(default_model, 1)[0]
    assert words_at(default_model, pair, "profession", "clean") in (" man", " woman")
    tokens = tokenize_pair(default_model, pw.tasks.induction(default_model, 1, length=5)[0])
    assert sum(tokens.differs) == 1
    assert tokens.clean[-1] == tokens.clean[tokens.roles["A1"][0][0]]
    assert tokens.answers == (tokens.clean[tokens.roles["B1"][0][0]],)
    pair = pw.tasks.docstring(default_model, 1)[0]
    assert words_at(default_model, pair, "C", "clean") == pair.answer
    assert words_at(default_model, pair, "C", "corrupted") == pair.distractor
    assert sum(tokenize_pair(default_model, pair).differs) == 1
    pair = pw.tasks.subject_verb_agreement(default_model, 1)[0]
    assert sum(tokenize_pair(default_model, pair).differs) == 1


def test_all_that_fit(default_model):
    facts = pw.tasks.factual_recall(default_model)
    assert len(facts) >= 24
    assert len(pw.tasks.gendered_pronouns(default_model)) >= 100
    assert {pair.clean.split()[1] for pair in pw.tasks.factual_recall(default_model, relation="capital")} == {"capital"}


def test_what_can_not_be_made(default_model):
    for make, match in [
        (lambda: pw.tasks.ioi(default_model, corruption="XYZ"), "corruption='XYZ'"),
        (lambda: pw.tasks.ioi(default_model, 0), "n=0 pairs"),
        (lambda: pw.tasks.factual_recall(default_model, 500), "500 pairs were asked for, and"),
        (lambda: pw.tasks.factual_recall(default_model, relation="colour"), "no relation 'colour'"),
        (lambda: pw.tasks.gendered_pronouns(default_model, 9999), "9999 pairs of gendered pronouns were asked for"),
        (lambda: pw.tasks.induction(default_model, length=1), "can't be repeated"),
        (lambda: pw.tasks.ioi(tiny_model()), "This model has no tokenizer"),
    ]:
        with pytest.raises(pw.PromptError, match=match):
            make()


def test_induction_needs_no_tokenizer():
    pairs = pw.tasks.induction(tiny_model(), 4)
    assert pw.Experiment(tiny_model(), pairs).sweep("z", positions="roles").values.sizes["role"] == 3


def test_templates_know_which_occurrence_is_whose():
    text, found = fill("{A} saw {B}, and {A2} left {Bs}.", {"A": "Jo", "B": "Joan", "A2": "Jo", "Bs": "Jo"}, ("A", "B", "A2", "Bs"))
    assert text == "Jo saw Joan, and Jo left Jo."
    assert found == {"A": ("Jo", 0), "B": ("Joan", 0), "A2": ("Jo", 1), "Bs": ("Jo", 2)}
