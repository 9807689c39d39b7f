"""Where words begin and end, in scripts with spaces and without."""

import warnings

import pytest

import patchwidget as pw
from patchwidget.prompts.words import find_words, lacks_a_space


@pytest.mark.parametrize(
    ("words", "text", "places"),
    [
        ("Ann", "Ann met Anna, Ann.", [(0, 3), (14, 17)]),
        ("北京", "我爱北京", [(2, 4)]),
        ("東京", "東京タワーは東京にある", [(0, 2), (6, 8)]),
        ("กรุงเทพ", "ฉันรักกรุงเทพมาก", [(6, 13)]),
        ("Paris", "我爱Paris", [(2, 7)]),
        ("the Hague", "in the Hague.", [(3, 12)]),
        (" Mary ", "Mary", [(0, 4)]),
        ("", "Mary", []),
    ],
)
def test_find_words(words, text, places):
    assert find_words(words, text) == places


def test_roles_in_a_text_without_spaces(default_model):
    text = ("我爱北京", "我爱上海")
    pair = pw.PromptPair(*text, ".", ",", roles={"city": ("北京", "上海")}, align="diff")
    clean, corrupted = pw.Experiment(default_model, pair).pair.roles["city"]
    for positions, prompt in ((clean, text[0]), (corrupted, text[1])):
        ids = default_model.encode(prompt)
        assert default_model.tokenizer.decode([ids[i] for i in positions]) == prompt[2:]
    with pytest.raises(pw.PromptError, match="does not occur, but for inside other words in 'Annabel met'"):
        pw.Experiment(default_model, pw.PromptPair("Annabel met", "Annabel saw", " a", " the", roles={"name": "Ann"}))


def test_whether_a_space_is_missing():
    assert lacks_a_space("gave a drink to", "Mary")
    assert lacks_a_space("Answer:", "Mary")
    for text, word in [
        ("gave to", " Mary"),
        ("gave to ", "Mary"),
        ("(", "a"),
        ("17", "45"),
        ("the year 17", "45"),
        ("我爱", "北"),
        ('"', "a"),
        ("", "a"),
    ]:
        assert not lacks_a_space(text, word)


def test_an_answer_that_lacks_its_space_is_told(default_model):
    start = "When John and Mary went to the store, {} gave a drink to"
    clean, corrupted = start.format("John"), start.format("Mary")
    with pytest.warns(UserWarning, match="The answer 'Mary' follows 'e a drink to' without a space, and ' Mary' is one token too") as told:
        pw.Experiment(default_model, [pw.PromptPair(clean, corrupted, "Mary", "John")] * 2)
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pw.Experiment(default_model, pw.PromptPair(clean, corrupted, " Mary", " John"))
        pw.Experiment(default_model, pw.PromptPair(clean + " ", corrupted + " ", "Mary", "John"))
        pw.Experiment(default_model, pw.PromptPair(clean, corrupted, "Mary", "John"), answer_pos=3)
