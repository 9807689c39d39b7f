"""Where one stands: at the cell that was clicked, whichever view answers it."""

from itertools import permutations, product

import pytest

from patchwidget.widget.lab import ways
from patchwidget.widget.lab.ways import Stop, Ways, described
from tests.widget.fakes import FakeExperiment

CELLS = list(product(range(2), range(3)))
STEPS = {
    "heads": lambda row, col: {"site": "z", "pos": col},
    "neurons": lambda row, col: {"layer": row, "pos": col},
    "positions": lambda row, col: {"site": "z", "layer": row},
}


def stop(view, row=None, col=None):
    return {"view": view, "row": row, "col": col}


@pytest.fixture
def shown(open_lab):
    lab, page = open_lab()
    page.hello()
    lab.wait(timeout=20.0)
    return lab, page


def click(page, step, row, col):
    """Ask a step at a cell of the first main grid; the view that answers."""
    return page.over(page.request(step, **STEPS[step](row, col), parent=[stop("v1", row, col)]))["view"]


def way(lab, page):
    lab._publisher.drain()
    return page.lab_state["way"]


@pytest.mark.parametrize("step", list(STEPS))
def test_of_any_two_cells_one_stands_at_the_one_clicked_last(shown, step):
    lab, page = shown
    for one, other in permutations(CELLS, 2):
        for cell in (one, other, one):
            view = click(page, step, *cell)
            assert described(lab._session._tree.ways.here) == [stop("v1", *cell), stop(view)]
    assert way(lab, page) == [stop("v1", *cell), stop(view)]
    assert len({tuple(sorted(STEPS[step](*cell).items())) for cell in CELLS}) == len(page.lab_state["views"]) - 1  # none computed twice


def test_the_history_has_each_cell_of_a_column_and_a_way_back_to_it(shown):
    lab, page = shown
    heads = click(page, "heads", 0, 2)
    page.over(page.request("attention", layer=1, head=0, pos=2, parent=[stop("v1", 0, 2), stop(heads, 1, 0)]))
    assert click(page, "heads", 1, 2) == heads
    here = way(lab, page)
    taken = page.lab_state["ways"]
    first = [stop("v1", 0, 2), stop(heads, 1, 0)]
    assert taken == [[stop("v1", 1, 2)], first, [*first, stop("v3")], here]
    page.over(page.request("show", view=heads, way=first))
    assert way(lab, page) == first  # with the cell that was chosen there
    click(page, "heads", 1, 2)
    click(page, "heads", 0, 2)
    assert way(lab, page) == first


def test_a_question_asked_by_another_row_of_the_heads_is_answered_beyond_them(shown):
    lab, page = shown
    neurons = click(page, "neurons", 1, 2)
    heads = click(page, "heads", 0, 2)
    parent = [stop("v1", 0, 2), stop(heads, 1, 0)]
    assert page.over(page.request("neurons", layer=1, pos=2, parent=parent))["view"] == neurons
    assert way(lab, page) == [*parent, stop(neurons)]


def test_a_view_that_is_on_the_way_is_gone_back_to(shown):
    lab, page = shown
    heads = click(page, "heads", 0, 2)
    parent = [stop("v1", 0, 2), stop(heads, 1, 0)]
    row = page.over(page.request("attention", layer=1, head=0, pos=2, parent=parent))["view"]
    parts = page.over(page.request("parts", layer=1, head=0, parent=[*parent, stop(row)]))["view"]
    page.over(page.request("attention", layer=1, head=0, pos=2, parent=[*parent, stop(row), stop(parts, 0, 2)]))
    assert way(lab, page) == [*parent, stop(row)]


def test_a_cell_alone_is_reached_by_the_way_last_taken(shown):
    lab, page = shown
    heads = click(page, "heads", 0, 2)
    click(page, "heads", 1, 2)
    row = page.over(page.request("attention", layer=0, head=1, pos=2, parent=stop(heads, 0, 1)))["view"]
    assert way(lab, page) == [stop("v1", 1, 2), stop(heads, 0, 1), stop(row)]


def test_a_question_that_can_not_be_asked_leaves_one_at_its_cell(shown):
    lab, page = shown
    click(page, "heads", 0, 2)
    error = page.over(page.request("positions", site="z", layer=99, parent=[stop("v1", 1, 1)]))
    assert "Layer 99" in error["message"]
    assert way(lab, page) == [stop("v1", 1, 1)]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"parent": [stop("v1", 2, 0)]}, "has no cell in row 2 and column 0"),
        ({"parent": [stop("v1", 0, -1)]}, "has no cell in row 0 and column -1"),
        ({"parent": [stop("v9", 0, 0)]}, "no view 'v9' any more"),
        ({"parent": []}, "'parent', a cell, or the way to one"),
    ],
)
def test_a_cell_that_is_not_there_is_refused_and_one_stays(shown, params, words):
    lab, page = shown
    click(page, "heads", 0, 2)
    before = way(lab, page)
    assert words in page.over(page.request("heads", site="z", pos=1, **params))["message"]
    assert way(lab, page) == before


def test_a_way_leads_to_the_view_that_is_shown(shown):
    _, page = shown
    click(page, "heads", 0, 2)
    assert "leads to 'v2', not to 'v1'" in page.over(page.request("show", view="v1", way=[stop("v1", 0, 2), stop("v2")]))["message"]


def test_another_main_grid_goes_on_to_the_same_heads(shown):
    """What is asked of heads does not depend on the grid from which it is asked."""
    lab, page = shown
    heads = click(page, "heads", 1, 2)
    other = page.over(page.request("set", site="mlp_out"))["view"]
    assert page.over(page.request("heads", site="z", pos=2, parent=[stop(other, 0, 2)]))["view"] == heads
    assert way(lab, page) == [stop(other, 0, 2), stop(heads)]
    assert page.lab_state["site"] == lab.site == "mlp_out"
    page.over(page.request("set", site="resid_pre"))
    assert way(lab, page) == [stop("v1", 1, 2)]  # as it was left


def test_measuring_again_does_not_lead_away(shown):
    lab, page = shown
    click(page, "heads", 1, 2)
    before = way(lab, page)
    page.over(page.request("sweep", view="v1"))
    assert way(lab, page) == before


def test_what_is_stored_stands_where_the_lab_stands(shown):
    lab, page = shown
    click(page, "heads", 0, 2)
    click(page, "heads", 1, 2)
    lab.wait(timeout=20.0)
    stored = lab._session.stored()["lab"]
    assert (stored["way"], stored["ways"]) == (way(lab, page), page.lab_state["ways"])
    assert stored["way"][0] == stop("v1", 1, 2)
    nothing = lab._session.stored(limit=0)["lab"]
    assert (nothing["way"], nothing["ways"], nothing["current"]) == ([], [], None)


def test_a_view_that_fails_leaves_one_at_the_cell_where_it_was_asked_for(open_lab):
    def refuse(site):
        if site == "z":
            raise ZeroDivisionError

    lab, page = open_lab(FakeExperiment(before_batch=refuse))
    page.hello()
    page.over(page.heads(1, 2))
    lab.wait(timeout=20.0)
    assert way(lab, page) == [stop("v1", 1, 2)]
    assert page.lab_state["ways"] == [[stop("v1", 1, 2)]]


def test_the_latest_ways_are_kept(monkeypatch):
    monkeypatch.setattr(ways, "WAYS_KEPT", 4)
    taken = Ways()
    for row in range(9):
        taken.take((Stop("v1", row, 0), Stop("v2")))
    assert [way[0].row for way in taken.taken] == [8, 6, 7, 8]
    assert taken.here == (Stop("v1", 8, 0), Stop("v2"))
