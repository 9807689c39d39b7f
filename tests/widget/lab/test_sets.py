"""Labs of several pairs: the mean, what of it is significant, and each pair by itself."""

import numpy as np
import pytest
import xarray as xr

import patchwidget as pw
from patchwidget.experiments.sweeps.sweep import Sweep
from patchwidget.widget.lab import jobs
from patchwidget.widget.lab.experiment_pool import EVERY, Bench, Setting
from patchwidget.widget.lab.session import Session
from patchwidget.widget.lab.static_image import picture_of
from tests.widget.conftest import BareLab


@pytest.fixture
def sweeps(monkeypatch):
    """The sites of the sweeps that were run."""
    ran, run = [], Sweep.__iter__

    def counted(self):
        ran.append(self.layout.site)
        return run(self)

    monkeypatch.setattr(Sweep, "__iter__", counted)
    return ran


def assert_shows(view, result):
    np.testing.assert_allclose(view["values"], result.values.to_numpy().ravel(), atol=1e-5)
    np.testing.assert_allclose(view["recovery"], result.recovery.to_numpy().ravel(), atol=1e-4)
    assert (view["state"] == 1).all()


def test_a_set_begins_with_its_mean_and_outlines_what_is_significant(open_set, small, pairs):
    lab, page = open_set(small[0], pairs)
    result = pw.Experiment(small[0], pairs).sweep("resid_pre")
    assert (page.main["pair"], page.main["pairs"], page.main["done"]) == (EVERY, 12, 24)
    assert_shows(page.main, result.mean())
    expected = result.significant(alpha=0.05)
    assert 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(page.main["significant"], expected.to_numpy().ravel())
    assert page.main["outlined"] == "outlined: significant at 0.05 (Benjamini-Hochberg over 24 cells)"
    assert page.main["title"] == "Recovery by layer and token, mean of 12 pairs"
    assert "mean of 12 pairs" in page.main["explain"]
    assert page.main["checks"]
    assert lab.result.values.dims == ("pair", "layer", "pos")
    xr.testing.assert_equal(lab.result.significant(), expected)


def test_positions_are_labelled_where_all_prompts_have_the_same_token(open_set, small, pairs):
    _, page = open_set(small[0], pairs)
    assert page.main["cols"]["labels"] == ["When", " John", " and", "[3]", " went", " to", " the", "[7]"]


def test_the_menu_has_the_mean_and_the_page_is_told_whose_prompts_it_sees(open_set, small, pairs):
    _, page = open_set(small[0], pairs)
    assert page.lab_state["every"] == {
        "name": "mean of 12 pairs",
        "label": "mean of 12 pairs",
        "text": "What holds over all the pairs.",
        "reason": None,
    }
    assert len(page.lab_state["pairs"]) == 12
    told = page.messages[-1]["pair"] if "pair" in page.messages[-1] else next(m for m in reversed(page.messages) if "lab" in m)["pair"]
    assert told["note"] == "The first of 12 pairs is shown; the grids are the mean of all."


def test_a_single_pair_is_taken_out_of_what_the_set_has_measured(open_set, small, pairs, sweeps):
    lab, page = open_set(small[0], pairs)
    before = list(sweeps)
    view = page.over(page.request("set", pair=3))["open"]
    assert lab.wait(timeout=60.0)
    assert sweeps == before
    alone = pw.Experiment(small[0], pairs[3])
    assert_shows(view, alone.sweep("resid_pre"))
    assert (view["pair"], view["pairs"], view["significant"], view["outlined"], view["status"]) == (3, None, None, "", "done")
    assert view["checks"]
    assert lab.result.values.dims == ("layer", "pos")
    assert lab.result.info["tokens"] == alone.pair.corrupted_tokens
    assert lab.result.code() == alone.sweep("resid_pre").code()
    assert lab.result.clean == pytest.approx(alone.baselines.clean, abs=1e-5)
    before = list(sweeps)
    page.over(page.request("sweep"))  # asked for again, it is measured
    assert sweeps == [*before, "resid_pre"]


def test_deeper_questions_of_a_set_are_means_too_and_a_pair_of_them_is_taken_out(open_set, small, pairs, sweeps):
    lab, page = open_set(small[0], pairs)
    experiment = pw.Experiment(small[0], pairs)
    for method, params, result in (
        ("heads", {"site": "z", "pos": 3}, experiment.sweep("z", positions=[3])),
        ("neurons", {"layer": 1, "pos": 3}, experiment.sweep("mlp_post", layers=[1], positions=[3])),
        ("entries", {"layer": 2, "head": 1}, experiment.sweep("pattern", layers=[2], heads=[1], positions="entries")),
    ):
        view = page.over(page.request(method, **params))["open"]
        assert_shows(view, result.mean())
        assert view["pairs"] == 12
    positions = page.over(page.request("positions", site="z", layer=1))["open"]
    expected = experiment.sweep("z", layers=[1]).mean().values.to_numpy()[0].T
    np.testing.assert_allclose(positions["values"].reshape(expected.shape), expected, atol=1e-5)
    before = len(sweeps)
    one = page.over(page.request("again", view=positions["id"], pair=5))["open"]
    assert lab.wait(timeout=60.0)
    assert len(sweeps) == before
    expected = pw.Experiment(small[0], pairs[5]).sweep("z", layers=[1]).values.to_numpy()[0].T
    np.testing.assert_allclose(one["values"].reshape(expected.shape), expected, atol=1e-5)


def test_a_pair_that_the_set_has_not_measured_is_measured(open_set, small, pairs):
    lab, page = open_set(small[0], pairs, wait=False)
    page.cancel("v1")
    view = page.over(page.request("set", pair=2))["open"]
    assert lab.wait(timeout=60.0)
    assert_shows(view, pw.Experiment(small[0], pairs[2]).sweep("resid_pre"))


def test_a_pair_that_is_in_is_taken_out_of_a_set_that_was_left_in_mid_sweep(small, long_pairs):
    bench, metric, direction = Bench.of(small[0], long_pairs, "logit_diff", "denoise")
    session = Session(bench, Setting(EVERY, "resid_pre", metric, direction), None, lambda message: None)
    batches = jobs.fill(session, session.begin())[1]
    while session.main.result is None or not (session.main.result.state[0] == 1).all():
        next(batches)
    assert not session.main.result.complete
    first = session.set(None, pair=0)
    last = session.set(None, pair=len(long_pairs) - 1)
    assert first.has(first.work[0].places)
    assert not last.known
    expected = pw.Experiment(small[0], long_pairs[0]).sweep("resid_pre")
    np.testing.assert_allclose(first.values, expected.values.to_numpy().ravel(), atol=1e-5)


def test_what_is_asked_of_one_pair_only_says_so(open_set, small, pairs):
    _, page = open_set(small[0], pairs)
    heads = page.over(page.request("heads", site="z", pos=3))["open"]
    reasons = {step["method"]: step["reason"] for step in heads["steps"]}
    assert all("one pair" in reasons[method] for method in ("attention", "parts", "paths"))
    assert all(reasons[method] is None for method in ("positions", "neurons", "entries"))
    assert next(step for step in page.main["steps"] if step["method"] == "steer")["reason"]
    for method, params in {"attention": {"layer": 1, "head": 0}, "paths": {"layer": 1, "head": 0, "site": "q"}}.items():
        refused = page.over(page.request(method, **params))
        assert (refused["type"], "several pairs" in refused["message"]) == ("error", True)


def test_a_plain_list_begins_with_its_first_pair_and_offers_the_mean(open_set, small, pairs):
    lab, page = open_set(small[0], list(pairs)[:3])
    assert (page.main["pair"], page.lab_state["every"]["label"]) == (0, "mean of 3 pairs")
    view = page.over(page.request("set", pair=EVERY))["open"]
    assert_shows(view, pw.Experiment(small[0], list(pairs)[:3]).sweep("resid_pre").mean())
    assert lab.experiment.runs.several


def test_pairs_that_do_not_go_together_say_why_in_the_menu(open_set, small, pairs):
    _, page = open_set(small[0], [pairs[0], pw.PromptPair("When Tom", "When Ann", answer="no word", distractor=" Ann")])
    assert "no word" in page.lab_state["every"]["reason"]


def test_of_one_pair_there_is_no_mean_in_the_menu(open_set, small):
    _, page = open_set(*small)
    assert page.lab_state["every"] is None


def test_an_experiment_of_several_pairs_is_served_itself(open_set, small, pairs):
    experiment = pw.Experiment(small[0], list(pairs), metric="prob_diff", direction="noise")
    lab, page = open_set(experiment)
    assert lab.experiment is experiment
    assert_shows(page.main, experiment.sweep("resid_pre").mean())
    assert (lab.metric, lab.direction, page.main["pair"]) == ("prob_diff", "noise", EVERY)


def test_pairs_that_do_not_fit_are_left_out_with_a_sentence(open_set, small, pairs):
    misfit = pw.PromptPair("When John", "When Tom went", answer=" Mary", distractor=" John")
    lab, page = open_set(small[0], pw.PromptSet([pairs[0], misfit, *pairs[1:]]))
    assert len(lab.experiment.pairs) == 12
    note = next(m for m in reversed(page.messages) if "lab" in m)["pair"]["note"]
    assert "1 of 13 pairs do not fit small and are left out; the first is pair 1: The clean prompt has 2 tokens" in note
    with pytest.raises(pw.PromptError, match="None of the 1 pairs fits small"):
        BareLab(small[0], pw.PromptSet([misfit]))


def test_prompts_of_unequal_length_are_compared_by_their_roles(open_set, small, unequal):
    lab, page = open_set(small[0], pw.PromptSet(unequal))
    experiment = pw.Experiment(small[0], unequal)
    result = experiment.sweep("resid_pre", positions="roles")
    assert_shows(page.main, result.mean())
    assert (page.main["cols"]["axis"], page.main["cols"]["values"], page.main["cols"]["labels"]) == ("role", ["first", "end"], None)
    assert page.main["title"] == "Recovery by layer and role, mean of 8 pairs"
    assert page.main["patch"] is None
    assert page.main["outlined"] == "No cell is significant at 0.05 (Benjamini-Hochberg over 6 cells)."
    assert not result.significant().any()
    assert next(step for step in page.main["steps"] if step["method"] == "heads")["takes"] == {"pos": "role"}
    heads = page.over(page.request("heads", site="z", pos="first", parent={"view": "v1", "row": 1, "col": 0}))["open"]
    assert_shows(heads, experiment.sweep("z", positions=["first"]).mean())
    assert heads["title"] == "Heads at first, mean of 8 pairs"
    assert heads["patch"] is None
    assert all("one pair" in step["reason"] for step in heads["steps"] if step["method"] == "entries")
    by_role = page.over(page.request("positions", site="pattern", layer=1))["open"]
    assert by_role["cols"]["axis"] == "role"
    assert "exp.sweep('pattern', positions='roles', layers=[1])" in lab.code()
    refused = page.over(page.request("heads", site="z", pos=3))
    assert "unequal length" in refused["message"]
    view = page.over(page.request("set", pair=1))["open"]
    assert (view["cols"]["axis"], view["cols"]["size"]) == ("pos", 9)


def test_prompts_of_unequal_length_without_roles_can_be_compared_by_heads_only(open_set, small, unequal):
    bare = pw.PromptSet([pw.PromptPair(p.clean, p.corrupted, p.answer, p.distractor) for p in unequal])
    with pytest.raises(pw.PromptError, match="from 8 to 9 tokens and no roles") as refused:
        BareLab(small[0], bare)
    assert "such as z" in refused.value.hint
    _, page = open_set(small[0], bare, site="z")
    assert_shows(page.main, pw.Experiment(small[0], bare).sweep("z", positions="all").mean())


def test_too_few_pairs_to_tell_are_told_so(open_set, small, pairs):
    _, page = open_set(small[0], pairs[:4])
    assert page.main["significant"] is None
    assert "4 pairs give p-values of 0.12 at the least" in page.main["outlined"]
    _, page = open_set(small[0], pairs[:1])
    assert (page.main["pairs"], page.main["significant"]) == (1, None)
    assert page.main["title"].endswith("mean of 1 pair")
    assert "one pair only" in page.main["outlined"]


def test_the_joint_effect_of_a_selection_is_the_mean_over_pairs(open_set, small, pairs):
    lab, _ = open_set(small[0], pairs)
    lab.selection = [pw.Patch("resid_pre", layer=1, pos=1), pw.Patch("z", layer=2, head=0)]
    assert lab.wait(timeout=60.0)
    selection = lab._session.selection.descriptor()
    experiment = pw.Experiment(small[0], pairs)
    patches = [pw.Patch(**cell) for cell in lab.selection]
    assert selection["joint"]["recovery"] == pytest.approx(float(experiment.patch(patches).mean().recovery), abs=1e-5)
    for part, patch in zip(selection["parts"], patches, strict=True):
        assert part["recovery"] == pytest.approx(float(experiment.patch(patch).mean().recovery), abs=1e-5)


def test_the_code_computes_the_mean_and_the_joint_effect_again(open_set, small, pairs):
    lab, page = open_set(small[0], pairs)
    lab.selection = [pw.Patch("resid_pre", layer=1, pos=1)]
    assert lab.wait(timeout=60.0)
    lines = [line for line in lab.code().splitlines() if not line.startswith(("model =", "result.plot"))]
    names = {"model": small[0]}
    exec("\n".join(lines), names)
    assert_shows(page.main, names["result"].mean())
    assert float(names["joint"].recovery) == pytest.approx(lab._session.selection.descriptor()["joint"]["recovery"], abs=1e-5)


def test_typed_prompts_are_a_pair_of_their_own(open_set, small, pairs):
    lab, page = open_set(small[0], pairs)
    typed = {
        "clean": "When Tom and Ann went to the man",
        "corrupted": "When John and Ann went to the man",
        "answer": " Ann",
        "distractor": " Tom",
    }
    view = page.over(page.request("set_pair", **typed))["open"]
    assert (view["pair"], view["pairs"]) == (12, None)
    back = page.over(page.request("set", pair=EVERY))
    assert (back["view"], back["open"]["pairs"]) == ("v1", 12)
    assert len(lab.experiment.pairs) == 12


def test_what_is_kept_has_the_outline(open_set, small, pairs, tmp_path):
    lab, page = open_set(small[0], pairs)
    stored = lab._session.stored()
    np.testing.assert_array_equal(stored["views"][0]["significant"], page.main["significant"])
    drawn = picture_of(lab._session.main, "a title")
    assert 'stroke="#222"' in drawn
    assert "outlined: significant at 0.05" in drawn
    assert '"significant"' in lab.to_html(tmp_path / "lab.html").read_text().replace('\\"', '"')


def test_a_mean_under_another_metric_and_direction(open_set, small, pairs):
    lab, page = open_set(small[0], pairs)
    lab.direction = "noise"
    assert lab.wait(timeout=60.0)
    assert page.main["pair"] == EVERY
    assert_shows(page.main, pw.Experiment(small[0], pairs, direction="noise").sweep("resid_pre").mean())
