"""One worker for each model: it takes jobs batch by batch, the most urgent first.

A job is a generator that yields between batches, where the model is as it was. So a click does not wait for a long sweep: the worker simply
takes its next batch from the click's job, and goes on with the sweep when that is done.

What goes first: the work of owners whom somebody looks at; of that, what is quickest to answer; of that, the work of the owner who was asked
last; and of one owner's, what came first.
"""

import atexit
import logging
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from .asker import Asker

logger = logging.getLogger("patchwidget")

SELECTION, PREVIEW, DETAIL, MAIN = 0, 1, 2, 3
"""Ranks. The finer the question, the sooner it is answered: it is the one just asked, and the quickest."""

Batches = Generator[None, None, None]


@dataclass(eq=False)
class Job:
    """Some work on a model.

    Attributes:
        owner: who asked for it.
        rank: the lowest goes first.
        batches: the work; it is always closed, in the worker's thread.
        wanted: asked before each batch; the job ends where it says no.
        failed: told the error that ended the job.
    """

    owner: Asker
    rank: int
    batches: Generator[None, None, None]
    wanted: Callable[[], bool]
    failed: Callable[[BaseException], None]

    @property
    def urgency(self) -> tuple[bool, int, int, int]:
        """The lowest goes first; what is not wanted any more is cleared away before all else."""
        presence = self.owner.presence
        return self.wanted(), presence.standing.rank, self.rank, -presence.asked

    def step(self) -> bool:
        """Do one batch; False when the job is over."""
        try:
            if self.wanted():
                next(self.batches)
                return True
            self.batches.close()
        except StopIteration:
            pass
        except BaseException as error:  # noqa: BLE001  there is nobody above this thread who could deal with it
            self._report(error)
        return False

    def _report(self, error: BaseException) -> None:
        try:
            self.failed(error)
        except Exception:
            logger.exception("The failure of a job could not be reported")


class Worker:
    """The jobs of one model, and the thread that lives while there are any."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._halted = False

    def submit(self, job: Job) -> None:
        """Take on a job; returns at once."""
        with self._changed:
            self._jobs.append(job)
            if self._thread is None and not self._halted:
                self._thread = threading.Thread(target=self._run, name="patchwidget-worker", daemon=True)
                self._thread.start()

    def wait(self, owner: Asker, timeout: float | None = None) -> bool:
        """Wait until no job of this owner is left; False if some are after `timeout` seconds.

        Raises RuntimeError in the worker's own thread, which would wait for itself.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("A job can't wait for the jobs to be done: call wait() from another thread.")
        with self._changed:
            return self._changed.wait_for(lambda: owner not in self._owners(), timeout)

    def stop(self, name: str) -> None:
        """Stop what the owner of that name has under way; nothing happens where there is none."""
        with self._changed:
            named = [owner for owner in self._owners() if owner.name == name]
        for owner in named:
            owner.stop()

    def halt(self, timeout: float) -> None:
        """Stop after the batch under way, and take nothing more."""
        with self._changed:
            self._halted = True
            thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def _run(self) -> None:
        while (job := self._most_urgent()) is not None:
            if job.wanted():
                self._tell_who_waits(job.owner)
            if not job.step():
                self._remove(job)

    def _most_urgent(self) -> Job | None:
        with self._changed:
            if not self._jobs or self._halted:
                self._thread = None
                return None
            return min(self._jobs, key=lambda job: job.urgency)

    def _tell_who_waits(self, first: Asker) -> None:
        with self._changed:
            owners = self._owners()
        for owner in owners:
            owner.wait_for(None if owner is first else first)

    def _remove(self, job: Job) -> None:
        with self._changed:
            others = [one.owner for one in self._jobs if one is not job]
        if job.owner not in others:
            job.owner.wait_for(None)
        with self._changed:
            self._jobs.remove(job)
            self._changed.notify_all()

    def _owners(self) -> list[Asker]:
        """Each once, in the order in which their oldest jobs came."""
        return list({id(job.owner): job.owner for job in self._jobs}.values())


_workers: WeakKeyDictionary[Any, Worker] = WeakKeyDictionary()
_workers_lock = threading.Lock()


def worker_of(model: object) -> Worker:
    """The one worker of a model, made when it is first asked for; it goes when the model does."""
    with _workers_lock:
        return _workers.setdefault(model, Worker())


@atexit.register
def _halt_all() -> None:
    """A daemon thread that is inside torch while Python goes down may crash it."""
    for worker in list(_workers.values()):
        worker.halt(timeout=5.0)
