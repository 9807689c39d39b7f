"""The work behind what a lab shows, as generators that yield between batches: what the runner steps through."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from patchwidget.errors import PatchError
from patchwidget.widget.transport import protocol
from patchwidget.widget.transport.worker import DETAIL, MAIN, Batches

from .attention import AttentionView
from .experiment_pool import Setting
from .pair_means import significance
from .prompt_editor import TypedPair
from .selection import Selection
from .session import Session
from .tasks import Work
from .views import GridView, View


def fill(session: Session, view: View) -> tuple[int, Batches]:
    """What fills a view, and its rank."""
    if isinstance(view, AttentionView):
        return DETAIL, _read_attention(session, view)
    assert isinstance(view, GridView)  # noqa: S101  for the type checker
    return DETAIL if view.parent else MAIN, _measure(session, view)


def _measure(session: Session, view: GridView) -> Batches:
    """Both runs, then the view's sweeps."""
    setting = view.question.setting
    experiment = session.bench.experiment(setting)
    with _noticing_change(session, setting, view):
        session.know_baselines(setting, experiment.baselines)
        yield
        if view.pairs:
            yield from _measure_runs(session, view, experiment)
        pace = Pace()
        for work in view.work:
            if not view.has(work.places):
                yield from _sweep(session, view, work, pace)
    if view.pairs:
        yield  # it may take a second
        session.know_significant(view, *significance(view.result))
    session.complete(view)


@contextmanager
def _noticing_change(session: Session, setting: Setting, view: View | None = None) -> Iterator[None]:
    """What was measured before is doubted if it turns out in here that the model has changed since; what `view` gets is of the model as it is."""
    experiment = session.bench.experiment(setting)
    before = experiment.runs.renewed
    try:
        yield
    finally:
        if experiment.runs.renewed != before:
            session.bench.forget(experiment)
            session.doubt(view)
            session.know_baselines(setting, experiment.baselines)


def _measure_runs(session: Session, view: GridView, experiment: Any) -> Batches:
    """Both runs of each pair: one at a time, for others wait."""
    for pair in range(len(experiment.pairs)):
        session.know_recorded(view, pair)
        for run in ("clean", "corrupted"):
            experiment.runs.value_of(run, pair)
        yield
    session.know_recorded(view, len(experiment.pairs))


def _sweep(session: Session, view: GridView, work: Work, pace: "Pace") -> Batches:
    resumed, known = time.perf_counter(), view.done
    for sweep in _batches(work, session.bench.most_rows):
        seconds = time.perf_counter() - resumed
        session.advance(view, sweep.result, work.places, pace.seconds_left(view.total - view.done))
        pace.count(view.done - known, seconds)
        yield
        resumed, known = time.perf_counter(), view.done
        final = sweep
    session.take_final(view, final.result, work.places)


def _batches(work: Work, most_rows: int | None) -> Iterator[Any]:
    """The sweep, after each of its batches of so many rows at most. Where it can't be estimated first (a metric without a gradient), it is exact
    from the start."""
    sweep = work.start()
    sweep.most_rows = most_rows
    try:
        batches = iter(sweep)
        try:
            next(batches, None)
        except PatchError:
            sweep.close()
            sweep = work.start(plain=True)
            sweep.most_rows = most_rows
            batches = iter(sweep)
        yield sweep
        for _ in batches:
            yield sweep
    finally:
        sweep.close()


def _read_attention(session: Session, view: AttentionView) -> Batches:
    """Where a head looks in both runs."""
    setting = view.question.setting
    with _noticing_change(session, setting, view):
        session.complete(view, session.bench.experiment(setting).attention(view.layer, view.head, view.pos))
    yield from ()


def measure_selection(session: Session, selection: Selection) -> Batches:
    """The joint effect of the selected cells, then each by itself."""
    assert selection.setting  # noqa: S101  for the type checker
    experiment = session.bench.experiment(selection.setting)
    session.know_selection(selection, status="running")
    with _noticing_change(session, selection.setting):
        joint, noise_floor = selection.measure_joint(experiment)
    session.know_selection(selection, joint=joint, noise_floor=noise_floor)
    parts = []
    for part in selection.measure_parts(experiment, joint, session.grids(selection.setting)):
        parts.append(part)
        yield
    session.know_selection(selection, parts=parts, status="done")


def preview_pair(session: Session, request: str, fields: protocol.Message) -> Batches:
    """What typed prompts would be."""
    typed = TypedPair(session.bench.model, **fields)
    for told in typed.describe(partial(session.bench.try_pair, metric=session.setting.metric)):
        session.post(protocol.preview(request, told))
        yield


class Pace:
    """How long the rest will take, from what the batches so far took.

    The first batch does not count: it may be cells that are known without computing, and it pays for what is prepared once.
    """

    def __init__(self) -> None:
        self._batches = 0
        self._cells = 0
        self._seconds = 0.0

    def count(self, cells: int, seconds: float) -> None:
        """A batch of so many cells took so many seconds, without the time others had the model."""
        self._batches += 1
        if self._batches > 1:
            self._cells += cells
            self._seconds += seconds

    def seconds_left(self, cells: int) -> float | None:
        """Seconds for so many cells more; None while unknown."""
        return self._seconds / self._cells * cells if self._cells else None
