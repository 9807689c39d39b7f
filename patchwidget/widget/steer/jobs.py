"""The work behind a steering panel, as generators that yield between batches: what the runner steps through.

Each looks at the session before every step for what is wanting now, so that the newest settings win: an older text ends at its next token.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from patchwidget.steering.ladder import make_ladder
from patchwidget.steering.vector import SteeringVector
from patchwidget.widget.lab.code import script
from patchwidget.widget.transport.protocol import Message
from patchwidget.widget.transport.worker import DETAIL, SELECTION

from .code import code_of_vector
from .rows import Source, wrong
from .session import SteerSession

MAKE, LADDER, TEXT = SELECTION, SELECTION, DETAIL
"""Ranks: a text lets a click in a lab on the same model go before its next token."""

Batches = Generator[None, None, None]


def make_vector(session: SteerSession, request: str, fields: Message, then: Callable[[], None]) -> Batches:
    """A vector from prompts, at every layer, so that the layer can be chosen afterwards; and a row with it. `then` is called at the end."""
    sides = {name: [line for line in fields[name].splitlines() if line.strip()] for name in ("positive", "negative")}
    for name, examples in sides.items():
        if not examples:
            raise wrong(name, f"There is no {name} example.", "Type at least one prompt, one a line.")
    model = session.model
    vector = SteeringVector.from_pairs(model, sides["positive"], sides["negative"], layers=range(model.n_layers), method=fields["method"])
    name = " − ".join(_short(examples[0]) + (f" (+{len(examples) - 1})" if len(examples) > 1 else "") for examples in sides.values())
    source = session.add_source(Source("", name, vector, code_of_vector(vector)))
    session.add(request, source, layer=min(max(fields["layer"], 0), model.n_layers - 1))
    then()
    yield


def take_cell(session: SteerSession, experiment: Any, layer: int, pos: int, site: str, then: Callable[[], None]) -> Batches:
    """A vector from a cell of a grid, and a row with it."""
    add_cell(session, None, experiment, layer, pos, site)
    then()
    yield


def add_cell(session: SteerSession, request: str | None, experiment: Any, layer: int, pos: int, site: str) -> None:
    """The clean minus the corrupted activation at one cell, and a row with it. Errors as in `SteeringVector.from_patch`."""
    vector = SteeringVector.from_patch(experiment, layer=layer, pos=pos, site=site)

    def code(name: str, layers: Sequence[int]) -> str:
        made = f"{name} = pw.SteeringVector.from_patch(exp, layer={layer}, pos={pos}, site={site!r})"
        lines = script(experiment, made).rstrip("\n")
        return lines[lines.index("pair = ") :]  # the model is loaded by then

    session.add(request, session.add_source(Source("", f"layer {layer}, position {pos} ({site})", vector, code)))


def fill_ladders(session: SteerSession) -> Batches:
    """Every ladder that is wanting, one after the other."""
    runs: dict[tuple[int, ...], Any] = {}
    for source in session.sources_without_norms():
        session.know_norms(source, source.vector.with_norms(session.model, [list(session.settings.tokens)]))
        yield
    while (wanted := session.wanted_ladder()) is not None:
        prompt, options = wanted.prompt, {"vary": wanted.vary, "tokens": wanted.tokens, "k": 1}
        try:
            ladder = make_ladder(session.model, list(prompt), wanted.steers, wanted.strengths, runs=runs.get(prompt), **options)
            runs = {prompt: ladder.info["runs"]}
            session.know_ladder(wanted, ladder)
        except Exception as error:  # noqa: BLE001  the page is told, and the next row goes on
            session.fail_ladder(wanted, error)
        yield


@dataclass
class _Writer:
    """One text under way."""

    key: str
    stream: Any
    pieces: Iterator[str] = field(init=False)

    def __post_init__(self) -> None:
        self.pieces = iter(self.stream)


def write_texts(session: SteerSession) -> Batches:
    """Both texts, a token of the one and a token of the other, for as long as something is wanting."""
    writers: dict[str, _Writer] = {}
    try:
        while wanted := session.wanted_texts():
            for side in writers.keys() - {side for side, *_ in wanted}:
                writers.pop(side).stream.stop()
            for side, key, steers, settings in wanted:
                try:
                    _advance(session, writers, side, key, steers, settings)
                except Exception as error:  # noqa: BLE001  the page is told, and the other text goes on
                    session.texts.fail(side, key, error)
                yield
    finally:
        for writer in writers.values():
            writer.stream.stop()


def _advance(session: SteerSession, writers: dict[str, _Writer], side: str, key: str, steers: list[Any], settings: Any) -> None:
    """One token more of one text; its damage at the end."""
    if side in writers and writers[side].key != key:
        writers.pop(side).stream.stop()
    if side not in writers:
        options = {"max_new_tokens": settings.length, "temperature": settings.temperature, "seed": settings.seed}
        writers[side] = _Writer(key, session.model.stream(list(settings.tokens), steers, **options))
        session.texts.begin(side, key)
    writer = writers[side]
    piece = next(writer.pieces, None)
    if piece is not None:
        return session.texts.add(side, key, [piece])
    made = writers.pop(side).stream.result
    kl = float(made.kl.mean()) if made.tokens else 0.0
    return session.texts.end(side, key, {"perplexity": made.perplexity, "kl": kl, "tokens": len(made.tokens)})


def _short(text: str, length: int = 24) -> str:
    words = " ".join(text.split())
    return words if len(words) <= length else f"{words[: length - 1]}…"
