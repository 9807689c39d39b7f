"""Panels on a small model, each with its page."""

import pytest

import patchwidget as pw
from tests.widget.steer.page import PROMPT, BarePanel, SteerPage


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


@pytest.fixture
def shown(open_panel, model, vector):
    panel, page = open_panel(model, PROMPT, vector)
    page.hello()
    assert panel.wait(timeout=60.0)
    return panel, page
