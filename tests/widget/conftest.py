"""A lab without a notebook: its comm records what it publishes."""

import comm
import pytest

from patchwidget.widget.lab.widget import PatchLab
from tests import small as small_model
from tests.widget.fakes import FakeExperiment
from tests.widget.page import Page, RecordingComm


class BareLab(PatchLab):
    """A lab whose front end need not have been built."""

    _esm = "export default {\n}"
    _css = ""


@pytest.fixture
def open_lab(monkeypatch):
    """Makes labs, each with a page at its other end."""
    monkeypatch.setattr(comm, "create_comm", RecordingComm)
    labs = []

    def make(experiment=None, **options):
        labs.append(BareLab(experiment or FakeExperiment(), **options))
        return labs[-1], Page(labs[-1])

    yield make
    for lab in labs:
        worker = lab._worker
        lab.close()
        assert worker.wait(lab._asker, timeout=20.0)


@pytest.fixture(scope="session")
def small():
    """A small model with a tokenizer of words, and a pair."""
    return small_model.small()


@pytest.fixture
def shown(open_lab, small):
    """A lab on the small model whose main grid is measured, and its page."""
    lab = BareLab(*small)
    page = Page(lab)
    page.hello()
    assert lab.wait(timeout=60.0)
    yield lab, page
    lab.close()
