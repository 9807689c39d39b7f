"""Prompts edited in the page, on a small model with a tokenizer of words."""

import re

import pytest
from playwright.sync_api import expect

from tests.e2e import cells
from tests.e2e.panel import Panel

OTHER = 'other = pw.PromptPair("When Mary gave John a drink", "When Mary gave Tom a drink", answer=" Ann", distractor=" Tom")\n'


@pytest.fixture(scope="module")
def notebook(open_notebook):
    notebook = open_notebook("prompts.ipynb", cells.SMALL + OTHER, "lab = pw.PatchLab(model, [pair, other])\nlab")
    notebook.run(0)
    notebook.run(1)
    return notebook


@pytest.fixture
def panel(notebook):
    panel = Panel(notebook.page)
    if panel.part("edit-close").is_visible():
        panel.part("edit-close").click()
    panel.choose("pairs", "0")
    expect(panel.part("prompts").get_by_role("listitem").nth(1)).to_have_attribute("aria-label", re.compile("John.*Tom"))
    panel.wait_until_done()
    return panel


def type_into(panel, field, text):
    panel.part(f"edit-{field}").fill(text)


def test_typed_prompts_are_cut_into_tokens_as_one_types_and_measured(notebook, panel):
    panel.part("edit").click()
    type_into(panel, "clean", "When Tom went to the old store")
    type_into(panel, "corrupted", "When Ann went to the old store")
    expect(panel.root.locator(".pw-editor .pw-differing")).to_have_text([" Tom", " Ann"])
    expect(panel.part("top-tokens").first).to_be_visible()
    notebook.screenshot("editing", panel.root)
    panel.part("edit-apply").click()
    expect(panel.part("edit-clean")).to_be_hidden()
    expect(panel.part("prompts")).to_contain_text("·old")
    panel.wait_until_done()
    assert notebook.ask("lab.experiment.pair.clean_tokens[1], lab.result.complete") == "(' Tom', True)"
    expect(panel.part("pairs").locator("option")).to_have_count(4)  # the mean of both, both, and this one


def test_a_bad_pair_says_so_under_its_field_and_the_grid_stays(notebook, panel):
    before = panel.grid.get_attribute("aria-label")
    panel.part("edit").click()
    type_into(panel, "answer", " Mariam")
    error = panel.root.locator(".pw-editor [data-pw=error]")
    expect(error).to_contain_text("2 tokens")
    notebook.screenshot("error", panel.root)
    panel.part("edit-apply").click()
    expect(error).to_contain_text("2 tokens")
    expect(panel.grid).to_have_attribute("aria-label", before or "")
    panel.part("edit-close").click()
    panel.wait_until_done()
    assert notebook.ask("lab.experiment.pair.answer_text") == "' Mary'"


def test_an_answer_is_chosen_from_the_models_own_tokens(notebook, panel):
    panel.part("edit").click()
    panel.part("edit-answer").click()
    choice = panel.part("top-tokens").get_by_role("button").first
    expect(choice).to_be_visible()
    choice.click()
    chosen = panel.part("edit-answer").input_value()
    panel.part("edit-apply").click()
    panel.wait_until_done()
    assert notebook.ask("lab.experiment.pair.answer_text") == repr(chosen)


def test_prompts_of_unequal_length_are_aligned(notebook, panel):
    panel.part("edit").click()
    type_into(panel, "corrupted", "When the old man and Mary went to the store")
    expect(panel.part("prompts")).to_contain_text(re.compile(r"8 and 10 tokens"))
    panel.part("edit-apply").click()
    expect(panel.part("edit-clean")).to_be_hidden()
    panel.wait_until_done()
    notebook.screenshot("unequal", panel.root)
    assert notebook.ask("lab.experiment.pair.shifted") == "True"


def test_a_pair_is_chosen_from_the_list(notebook, panel):
    panel.choose("pairs", "1")
    expect(panel.part("prompts")).to_contain_text("·gave")
    panel.wait_until_done()
    assert notebook.ask("lab.experiment.pair.answer_text") == "' Ann'"
    assert notebook.page_errors == []
