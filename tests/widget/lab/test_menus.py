"""Every site, metric and question has its words in the lab, and every method that makes a vector in the steering panel."""

from patchwidget.engine.sites import SITES
from patchwidget.runs.metrics import METRICS
from patchwidget.steering import methods
from patchwidget.widget.lab import explanations, menus, questions
from patchwidget.widget.steer import session
from patchwidget.widget.transport import protocol


def test_every_site_has_words():
    assert set(explanations._WHAT) == set(SITES)
    offered = {site for site in SITES if not site.endswith("_per_head")}  # those are reached from a head
    assert set(menus._SITES) == offered


def test_every_metric_has_a_name():
    assert set(menus._METRICS) == set(METRICS)


def test_every_question_can_be_asked():
    assert set(questions._MAKERS) <= set(protocol.METHODS)


def test_every_way_to_make_a_vector_has_words():
    assert set(session._METHODS) == set(methods.METHODS)
