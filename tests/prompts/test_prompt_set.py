"""Sets of pairs: from lists, tables and files, and looked through on a model."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest

import patchwidget as pw
from tests.zoo import tiny_model

ROWS = [
    {"clean": [1, 2, 3], "corrupted": [1, 4, 3], "answer": 5, "distractor": 6},
    {"clean": [7, 8, 9], "corrupted": [7, 10, 9], "answer": 5, "distractor": 6},
]
TEXTS = [
    {"clean": "The capital of France is", "corrupted": "The capital of Italy is", "answer": " Paris", "distractor": " Rome"},
    {"clean": "The capital of Spain is", "corrupted": "The capital of Japan is", "answer": " Madrid", "distractor": " Tokyo"},
]


def test_from_lists_and_frames():
    pairs = [pw.PromptPair(**row) for row in ROWS]
    for given in (pairs, ROWS, pd.DataFrame(ROWS), pl.DataFrame(ROWS), (row for row in ROWS)):
        made = pw.PromptSet(given)
        assert list(made) == pairs
    assert len(made) == 2
    assert made[0] == pairs[0]
    assert isinstance(made[:1], pw.PromptSet)
    for frame in (pd.DataFrame, pl.DataFrame):  # with what is missing in the columns of others
        assert pw.PromptSet(frame([*TEXTS, {"clean": "x"}]))[2] == pw.PromptPair("x")


def test_from_files(tmp_path):
    table = tmp_path / "pairs.csv"
    rows = [{**TEXTS[0], "roles": json.dumps({"subject": ["France", "Italy"]})}, {**TEXTS[1], "answer": '[" Madrid", " Barcelona"]'}]
    pd.DataFrame(rows).to_csv(table, index=False)
    made = pw.PromptSet.from_csv(table, align="diff")
    assert made.name == "pairs"
    assert made[0].roles == {"subject": ["France", "Italy"]}
    assert made[0].answer == " Paris"  # with its space
    assert made[1].answer == [" Madrid", " Barcelona"]
    assert made[1].roles is None
    assert made[0].align == "diff"
    lines = tmp_path / "pairs.jsonl"
    lines.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    assert list(pw.PromptSet.from_jsonl(lines)) == [pw.PromptPair(**row) for row in ROWS]


def test_further_columns_are_kept(tmp_path):
    rows = [{**row, "id": 10 + i, "category": name} for i, (row, name) in enumerate(zip(ROWS, ("a", "b"), strict=True))]
    for given in (rows, pd.DataFrame(rows), pl.DataFrame(rows), pd.DataFrame(rows).set_index("id").reset_index()):
        made = pw.PromptSet(given)
        assert [dict(pair.meta) for pair in made] == [{"id": 10, "category": "a"}, {"id": 11, "category": "b"}]
        assert made[0] == pw.PromptPair(**ROWS[0])  # what is known besides does not make it another question
    experiment = pw.Experiment(tiny_model(), made[:])
    result = experiment.sweep("resid_pre", layers=[0])
    frame = pw.open_result(result.save(tmp_path / "result")).to_frame()
    assert frame.columns.tolist() == ["pair", "layer", "pos", "id", "category", "value", "recovery", "state"]
    assert set(zip(frame["pair"], frame["id"], frame["category"], strict=True)) == {(0, 10, "a"), (1, 11, "b")}
    assert "category" not in result.mean().to_frame()
    assert "meta" not in result.code()
    assert made.check(experiment.model).to_frame()["category"].tolist() == ["a", "b"]
    clash = pw.Experiment(tiny_model(), [{**row, "layer": 7} for row in ROWS]).sweep("resid_pre", layers=[0]).to_frame()
    assert clash["layer of the pair"].tolist() == [7] * 6
    assert pw.PromptSet([{**ROWS[0], "answers": "three"}])[0].meta == {"answers": "three"}  # beside the column that it looks like


def test_numbers_with_gaps():
    made = pw.PromptSet(pd.DataFrame([ROWS[0], {"clean": [1, 2]}]))
    assert made[0].answer == 5
    assert type(made[0].answer) is int
    assert made[1].answer is None
    with pytest.raises(pw.PromptError, match=r"Row 1: The distractor 5.5 is a float"):
        pw.PromptSet([ROWS[0], {**ROWS[1], "distractor": 5.5}])
    with pytest.raises(pw.PromptError, match=r"The answer 5.0 is a float. A token id is a whole number: 5"):
        pw.PromptPair("a", "b", np.float64(5))


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_tables_as_programs_write_them(tmp_path, mark, encoding):
    table = tmp_path / "pairs.csv"
    rows = [{"clean": "Müller, said; \n\t\u00a0he", "corrupted": "b", "answer": "[5]", "distractor": "5", "id": "x"}]
    pd.DataFrame(rows).to_csv(table, index=False, sep=mark, encoding=encoding)
    (made,) = pw.PromptSet.from_csv(table, encoding=encoding) if encoding == "latin-1" else pw.PromptSet.from_csv(table)
    assert made == pw.PromptPair(rows[0]["clean"], "b", [5], "5")
    assert made.meta == {"id": "x"}


def test_json_lines_with_a_byte_order_mark(tmp_path):
    lines = tmp_path / "pairs.jsonl"
    lines.write_text("\n".join(json.dumps(row) for row in ROWS), encoding="utf-8-sig")
    assert pw.PromptSet.from_jsonl(lines)[1] == pw.PromptPair(**ROWS[1])


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("clean,answer\na,b\ncafé,c\n".encode("latin-1"), "Line 3 of .* is not written in utf-8. Save it as UTF-8, or say how"),
        (b'clean,answer\na,b\n"c,d\ne,f\n', "row of .* that begins in line 3 can't be read: unexpected end of data.*quote"),
        (b"", "does not begin with the names of its columns"),
        (b'clean,answer\n"a\nb",c\nd,e,f\n', "row of .* that begins in line 4 has 1 fields more than there are columns"),
        (b"clean;distracter\na;b\n", "Row 0 has a column 'distracter'. Did you mean 'distractor'"),
        (b"text,answer\na,b\n", "Row 0 has no clean prompt: its columns are text, answer"),
    ],
)
def test_tables_that_are_none(tmp_path, content, match):
    table = tmp_path / "pairs.csv"
    table.write_bytes(content)
    with pytest.raises(pw.PromptError, match=match):
        pw.PromptSet.from_csv(table)


def test_what_is_no_set(tmp_path):
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"clean": "a"}\n{"clean": \n')
    for make, match in [
        (lambda: pw.PromptSet([{"clean": "a", "corupted": "b"}]), "Row 0 has a column 'corupted'. Did you mean 'corrupted'"),
        (lambda: pw.PromptSet([{"Clean": "a"}]), "Row 0 has a column 'Clean'. Did you mean 'clean'"),
        (lambda: pw.PromptSet([{"corrupted": "b"}]), "Row 0 has no clean prompt"),
        (lambda: pw.PromptSet([3]), "Item 0 is a int"),
        (lambda: pw.PromptSet("pairs.csv"), "A str is no list of pairs"),
        (lambda: pw.PromptSet.from_csv(tmp_path / "nothing.csv"), "can't be read: No such file"),
        (lambda: pw.PromptSet.from_jsonl(broken), "Line 2 of .* is no JSON"),
        (lambda: pw.PromptSet.from_csv(broken, encoding="klingon"), "encoding='klingon' is not known"),
    ]:
        with pytest.raises(pw.PromptError, match=match):
            make()


def test_an_experiment_on_a_set():
    result = pw.Experiment(tiny_model(), pw.PromptSet(ROWS)).sweep("resid_pre")
    assert result.values.sizes == {"pair": 2, "layer": 4, "pos": 3}
    assert "pw.PromptPair(" in result.code()


def test_the_check_tells_what_fits(default_model):
    unfit = [
        {"clean": "The capital of France is", "corrupted": "The capital of Liechtenstein is", "answer": " Paris", "distractor": " Vaduz"},
        {"clean": "The capital of France is", "corrupted": "The capital of Italy is", "answer": " Paris is", "distractor": " Rome"},
    ]
    check = pw.PromptSet([*TEXTS, *unfit]).check(default_model)
    assert len(check.fitting) == 2
    assert [number for number, _ in check.dropped] == [2, 3]
    assert "has 5 tokens and the corrupted one" in check.dropped[0][1]
    assert check.clean_accuracy == check.corrupted_accuracy == 1
    assert check.gaps.shape == (2,)
    assert (check.gaps > 1).all()
    assert check.warnings == []
    text = repr(check)
    for words in ("2 of 4 pairs fit", "dropped 1:", "Accuracy: clean 100%", "gap: mean"):
        assert words in text
    expected = pw.Experiment(default_model, check.fitting).sweep("resid_pre", layers=[0], positions=[0])
    assert check.gaps == pytest.approx((expected.clean - expected.corrupted).to_numpy(), abs=1e-3)
    assert check.to_frame()["gap"].tolist() == check.gaps.tolist()


def test_it_warns_where_prompts_differ_in_more_than_they_need(default_model):
    needless = {**TEXTS[0], "clean": "Well, the capital of France is", "corrupted": "Look, the capital of Italy is"}
    check = pw.PromptSet([needless, *TEXTS]).check(default_model)
    (warning,) = check.warnings
    assert warning.startswith("1 of 3 pairs differ in more than they need; pair 0")
    random = {**TEXTS[0], "corrupted": "Green ideas sleep very badly"}
    check = pw.PromptSet([random]).check(default_model)
    assert "5 of its 5 tokens differ" in check.warnings[-1]
    backwards = {**TEXTS[0], "answer": " Rome", "distractor": " Paris"}
    assert "no gap to recover" in pw.PromptSet([backwards]).check(default_model).warnings[0]


def test_no_pair_fits(default_model):
    rows = [{**row, "answer": " Constantinople the great"} for row in TEXTS]
    with pytest.raises(pw.PromptError, match=r"None of the 2 pairs fits SmolLM2.*it has to be one"):
        pw.PromptSet(rows).check(default_model)
    with pytest.raises(pw.PromptError, match="None of the 0 pairs"):
        pw.PromptSet([]).check(default_model)
