"""Who looks at a widget, by what its pages say and by the clock."""

import pytest

from patchwidget.widget.transport.presence import LEASE, Presence, Standing


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def presence(clock):
    return Presence(clock)


def test_what_was_just_made_or_displayed_is_looked_at_until_its_page_could_have_said_so(presence, clock):
    assert presence.standing == Standing.VISIBLE
    clock.now = LEASE + 1
    assert presence.standing == Standing.GONE
    presence.show()
    assert presence.standing == Standing.VISIBLE


def test_what_pages_say_counts_the_best_of_several(presence):
    presence.hear("p", Standing.GONE)
    assert presence.standing == Standing.GONE
    presence.hear("q", Standing.HIDDEN)
    assert presence.standing == Standing.HIDDEN
    presence.hear("p")
    assert presence.standing == Standing.VISIBLE
    presence.hear("p", Standing.GONE)
    assert presence.standing == Standing.HIDDEN


def test_a_page_that_was_hidden_and_says_something_is_still_hidden(presence):
    presence.hear("p", Standing.HIDDEN)
    presence.hear("p")
    assert presence.standing == Standing.HIDDEN


def test_a_visible_page_that_falls_silent_is_gone_and_a_hidden_one_is_not(presence, clock):
    presence.hear("p", Standing.VISIBLE)
    presence.hear("q", Standing.HIDDEN)
    clock.now = LEASE - 1
    assert presence.standing == Standing.VISIBLE
    clock.now = LEASE + 1
    assert presence.standing == Standing.HIDDEN
    presence.hear("p")
    assert presence.standing == Standing.VISIBLE


def test_a_page_need_not_have_said_anything_while_there_was_nothing_to_do(presence, clock):
    presence.hear("p", Standing.VISIBLE)
    clock.now = 10 * LEASE
    presence.ask()
    assert presence.standing == Standing.VISIBLE
    presence.hear("p", Standing.GONE)
    presence.ask()
    assert presence.standing == Standing.GONE


def test_a_thread_that_waits_counts_as_a_page(presence):
    presence.hear("p", Standing.GONE)
    with presence.waiting():
        assert presence.standing == Standing.VISIBLE
    assert presence.standing == Standing.GONE


def test_the_number_of_the_latest_question_grows_over_all_widgets(presence, clock):
    other = Presence(clock)
    assert other.asked > presence.asked
    presence.ask()
    assert presence.asked > other.asked
    with other.waiting():
        assert other.asked > presence.asked
