"""The worker of a model: what goes first, what is dropped, what is left over."""

import gc
import threading
import weakref

import pytest

from patchwidget.widget.transport.asker import PATIENCE, Asker
from patchwidget.widget.transport.presence import Standing
from patchwidget.widget.transport.worker import Job, Worker, worker_of
from tests.widget.fakes import FakeModel


def asker(told=None, clock=lambda: 0.0):
    """Somebody who has work done; what is ahead is written into `told`."""
    return Asker(lambda: ("a prompt", 0.375), lambda: None, lambda ahead, request: told.append(ahead) if told is not None else None, clock)


class Diary:
    """Jobs that write down each batch; the first one holds the worker until `go` is set."""

    def __init__(self):
        self.owner, self.gatekeeper = asker(), asker()
        self.worker, self.go, self.entries, self.errors, self.dropped = Worker(), threading.Event(), [], [], set()

    def job(self, name, batches=2, rank=0, owner=None, action=None):
        def work():
            try:
                for n in range(batches):
                    if action:
                        action()
                    self.entries.append(f"{name}{n}")
                    yield
            finally:
                self.entries.append(f"{name} closed")

        return Job(owner or self.owner, rank, work(), wanted=lambda: name not in self.dropped, failed=self.errors.append)

    def submit(self, *jobs):
        """All at once: the worker sees none before the last is there."""
        self.worker.submit(self.job("gate", batches=1, rank=-1, owner=self.gatekeeper, action=lambda: self.go.wait(20)))
        for job in jobs:
            self.worker.submit(job)
        self.go.set()
        assert self.worker.wait(self.owner, timeout=20.0)
        assert self.worker.wait(self.gatekeeper, timeout=20.0)
        return [entry for entry in self.entries if not entry.startswith("gate")]


def test_equals_go_in_order_and_the_urgent_first():
    diary = Diary()
    entries = diary.submit(diary.job("a", rank=2), diary.job("b", rank=2), diary.job("c", rank=1))
    assert entries == ["c0", "c1", "c closed", "a0", "a1", "a closed", "b0", "b1", "b closed"]


def test_an_urgent_job_goes_between_two_batches_of_another():
    diary = Diary()
    urgent = diary.job("click", rank=1)
    sweep = diary.job("sweep", batches=3, rank=2, action=lambda: diary.entries == ["sweep0"] and diary.worker.submit(urgent))
    diary.worker.submit(sweep)
    assert diary.worker.wait(diary.owner, timeout=20.0)
    assert diary.entries == ["sweep0", "sweep1", "click0", "click1", "click closed", "sweep2", "sweep closed"]


@pytest.mark.parametrize(("first", "second"), [("visible", "hidden"), ("visible", "gone"), ("hidden", "gone")])
def test_what_somebody_looks_at_goes_before_all_that_nobody_does_and_that_goes_on_afterwards(first, second):
    diary, seen, unseen = Diary(), asker(), asker()
    seen.presence.hear("p", Standing(first))
    unseen.presence.hear("p", Standing(second))
    entries = diary.submit(diary.job("click", rank=1, owner=unseen), diary.job("sweep", rank=2, owner=seen), diary.job("last", rank=3))
    assert diary.worker.wait(unseen, timeout=20.0)
    finished = [entry for entry in diary.entries if entry.endswith("closed")]
    assert finished.index("sweep closed") < finished.index("click closed")
    assert {"click0", "click1"} <= set(diary.entries)
    assert entries


def test_of_equals_the_owner_who_was_asked_last_goes_first_and_may_change_between_batches():
    diary, older, newer = Diary(), asker(), asker()
    swept = diary.job("newer", batches=3, rank=2, owner=newer, action=lambda: diary.entries[-1] == "newer0" and older.presence.ask())
    diary.submit(diary.job("older", batches=1, rank=2, owner=older), swept, diary.job("click", batches=1, rank=1, owner=older))
    assert diary.worker.wait(older, timeout=20.0)
    assert diary.worker.wait(newer, timeout=20.0)
    assert [entry for entry in diary.entries if entry[-1].isdigit()] == ["gate0", "click0", "newer0", "newer1", "older0", "newer2"]


def test_who_waits_is_told_for_whom_after_a_moment_and_when_it_is_over():
    told, seen, now = [], [], [0.0]
    diary, waiting, first = Diary(), asker(told, lambda: now[0]), asker(clock=lambda: now[0])
    first.name = "lab 1"

    def work():
        seen.append(list(told))
        now[0] += PATIENCE / 2

    diary.submit(diary.job("a", batches=4, owner=first, rank=0, action=work), diary.job("b", batches=1, owner=waiting, rank=1))
    assert diary.worker.wait(waiting, timeout=20.0)
    ahead = {"lab": "lab 1", "name": "a prompt", "percent": 37}
    assert seen == [[], [], [ahead], [ahead]]
    assert told == [ahead, None]


def test_who_has_no_more_work_waits_for_nobody():
    told, now = [], [0.0]
    diary, other = Diary(), asker(told, lambda: now[0])
    other.wait_for(diary.owner)
    now[0] = PATIENCE
    other.wait_for(diary.owner)
    diary.dropped.add("a")
    diary.submit(diary.job("a", owner=other))
    assert diary.worker.wait(other, timeout=20.0)
    assert [ahead is None for ahead in told] == [False, True]


def test_an_owner_is_stopped_by_its_name():
    diary, stopped = Diary(), []
    one, other = asker(), asker()
    one.name, other.name = "one", "other"
    one.stop, other.stop = (lambda: stopped.append("one")), (lambda: stopped.append("other"))
    stop = diary.job("a", batches=1, owner=one, action=lambda: [diary.worker.stop(name) for name in ("one", "nobody")])
    diary.submit(stop, diary.job("b", owner=other))
    assert diary.worker.wait(one, timeout=20.0)
    assert stopped == ["one"]


def test_what_is_no_longer_wanted_ends_between_batches_and_is_closed():
    diary = Diary()
    entries = diary.submit(diary.job("a", batches=5, action=lambda: diary.dropped.add("a")), diary.job("b", batches=1))
    assert entries == ["a0", "a closed", "b0", "b closed"]
    assert diary.errors == []


def test_what_is_unwanted_before_it_began_never_runs():
    diary = Diary()
    diary.dropped.add("a")
    assert diary.submit(diary.job("a"), diary.job("b", batches=1)) == ["b0", "b closed"]


def test_an_error_ends_its_job_only_and_is_told():
    diary = Diary()
    broken = ZeroDivisionError("oh")

    def explode():
        raise broken

    entries = diary.submit(diary.job("a", action=explode), diary.job("b", batches=1))
    assert entries == ["a closed", "b0", "b closed"]
    assert diary.errors == [broken]


def test_not_even_an_exit_kills_the_worker():
    diary = Diary()

    def leave():
        raise SystemExit

    diary.submit(diary.job("a", action=leave))
    assert [type(error) for error in diary.errors] == [SystemExit]
    assert diary.submit(diary.job("b", batches=1))[-2:] == ["b0", "b closed"]


def test_an_error_that_can_not_be_told_is_logged(caplog):
    diary = Diary()

    def explode():
        raise ZeroDivisionError

    def fail(error):
        raise LookupError

    job = diary.job("a", action=explode)
    job.failed = fail
    diary.submit(job)
    assert "could not be reported" in caplog.text


def test_waiting_is_for_one_owner_and_has_an_end():
    diary = Diary()
    other, blocked = asker(), threading.Event()
    diary.worker.submit(diary.job("a", batches=1, owner=other, action=lambda: blocked.wait(20)))
    assert diary.worker.wait(diary.owner, timeout=0.0)
    assert not diary.worker.wait(other, timeout=0.01)
    blocked.set()
    assert diary.worker.wait(other, timeout=20.0)


def test_waiting_inside_a_job_is_an_error_and_no_deadlock():
    diary = Diary()
    diary.submit(diary.job("a", action=lambda: diary.worker.wait(diary.owner)))
    assert [type(error) for error in diary.errors] == [RuntimeError]


def test_no_thread_stays_when_all_is_done():
    diary = Diary()
    diary.submit(diary.job("a"))
    assert diary.worker._thread is None


def test_a_halted_worker_takes_no_further_batch():
    diary = Diary()
    inside = threading.Event()

    def hold():
        inside.set()
        diary.go.wait(20)

    diary.worker.submit(diary.job("a", batches=5, action=hold))
    assert inside.wait(20)
    thread = diary.worker._thread
    assert thread is not None
    diary.worker.halt(timeout=0.0)
    diary.go.set()
    thread.join(20)
    assert not thread.is_alive()
    assert diary.entries == ["a0"]


def test_a_model_has_one_worker_which_goes_with_it():
    model, other = FakeModel(), FakeModel()
    assert worker_of(model) is worker_of(model)
    assert worker_of(model) is not worker_of(other)
    worker, gone = weakref.ref(worker_of(model)), weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
    assert worker() is None
