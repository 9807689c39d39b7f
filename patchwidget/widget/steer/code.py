"""The lines of Python that do again what a steering panel shows."""

from collections.abc import Sequence
from typing import Any

from patchwidget.steering.vector import SteeringVector

from .rows import Code, Row
from .settings import Settings


def code_of(model: Any, settings: Settings, rows: list[Row], *, chat: bool) -> str:
    """Load the model, make the vectors, generate."""
    names = _numbered("vector", [row.source.id for row in rows])
    schedules = _numbered("schedule", [id(row.given.schedule) for row in rows if row.given and row.given.schedule])
    lines = ["import patchwidget as pw", "", f"model = {model.code}"]
    for source, name in names.items():
        users = [row for row in rows if row.source.id == source]
        lines.append(users[0].source.code(name, sorted({layer for row in users for layer in _layers_of_its_own(row)})))
    lines += [f"# {name}: the function that the panel's Steer was given; define it here" for name in schedules.values()]
    steers = [_steer(row, names[row.source.id], schedules) for row in rows]
    whole = "\n".join(f"    {steer}," for steer in steers)
    lines += [f"steer = [\n{whole}\n]" if len(steers) > 1 else f"steer = [{', '.join(steers)}]"]
    prompt = settings.prompt if isinstance(settings.prompt, str | list) else list(settings.tokens)
    options = f"max_new_tokens={settings.length}, temperature={_short(settings.temperature)}, seed={settings.seed}"
    lines += [
        f"prompt = {prompt!r}",
        f"text = model.generate(prompt, steer, {options}{', chat=True' if chat else ''})",
        "print(text, text.perplexity, text.kl.mean())",
    ]
    return "\n".join(lines) + "\n"


def code_of_vector(vector: SteeringVector) -> Code:
    """The line that makes a vector, as far as it says where it comes from."""
    about = vector.provenance
    if not {"positive", "negative"} <= about.keys() or about.keys() & {"combined_with", "scaled", "normalized"}:
        return lambda name, layers: (  # noqa: ARG005
            f'{name} = pw.SteeringVector.load("{name}.safetensors")  # the vector that the panel was given; its save(...) writes it'
        )
    extra = "" if vector.site == "resid_post" else f", site={vector.site!r}"
    extra += "" if vector.method in ("caa", "actadd") or vector.token_rule == "last" else f", token_rule={vector.token_rule!r}"  # noqa: S105  no password
    examples = f"{about['positive']!r}, {about['negative']!r}"

    def lines(name: str, layers: Sequence[int]) -> str:
        chosen = f"layer={layers[0]}" if len(layers) == 1 else f"layers={list(layers)}"
        return f"{name} = pw.SteeringVector.from_pairs(model, {examples}, {chosen}, method={vector.method!r}{extra})"

    return lines


def _numbered(word: str, items: Sequence[Any]) -> dict[Any, str]:
    """A name for each different item."""
    different = list(dict.fromkeys(items))
    return {item: word if len(different) == 1 else f"{word}{i}" for i, item in enumerate(different, 1)}


def _layers_of_its_own(row: Row) -> Sequence[int]:
    """Those layers of its vector that a row uses: where one is applied, the vector's there, or its only one."""
    own, applied = row.source.vector.layers, row.steer().layers
    chosen = own if applied is None else [applied] if isinstance(applied, int) else list(applied)
    return [layer for layer in chosen if layer in own] or own[:1]


def _steer(row: Row, name: str, schedules: dict[int, str]) -> str:
    steer = row.steer()
    parts = [name, _short(steer.strength)]
    parts += [f"layers={steer.layers!r}"] if steer.layers is not None else []
    parts += [f"positions={steer.positions!r}"] if steer.positions != "all" else []
    parts += [f"operator={steer.operator!r}"] if steer.operator != "add" else []
    parts += [f"unit={steer.unit!r}"] if steer.unit != "absolute" else []
    parts += [f"schedule={schedules[id(steer.schedule)]}"] if steer.schedule else []
    return f"pw.Steer({', '.join(parts)})"


def _short(number: float) -> str:
    """All of its digits, and no ".0"."""
    return repr(float(number)).removesuffix(".0")
