"""The lines of Python that do again what a steering panel shows."""

from typing import TYPE_CHECKING, Any

from patchwidget.experiments.steering.vector import SteeringVector

if TYPE_CHECKING:
    from .steer_rows import Row
    from .steer_settings import Settings


def code_of(model: Any, settings: "Settings", rows: "list[Row]", *, chat: bool) -> str:
    """Load the model, make the vectors, generate."""
    names = _names([row.source.id for row in rows])
    made = {names[row.source.id]: row.source.code.replace("{layer}", _layer(row)) for row in rows}
    steers = [_steer(row, names[row.source.id]) for row in rows]
    whole = "\n".join(f"    {steer}," for steer in steers)
    lines = ["import patchwidget as pw", "", f"model = {model.code}"]
    lines += [code.replace("vector =", f"{name} =") for name, code in made.items()]
    lines += [f"steer = [\n{whole}\n]" if len(steers) > 1 else f"steer = [{', '.join(steers)}]"]
    options = f"max_new_tokens={settings.length}, temperature={settings.temperature:g}, seed={settings.seed}" + (
        ", chat=True" if chat else ""
    )
    lines += [
        f"prompt = {settings.prompt!r}",
        f"text = model.generate(prompt, steer, {options})",
        "print(text, text.perplexity, text.kl.mean())",
    ]
    return "\n".join(lines) + "\n"


def code_of_vector(vector: SteeringVector) -> str:
    """The line that makes a vector, as far as it says where it comes from."""
    about = vector.provenance
    if {"positive", "negative"} <= about.keys() and "combined_with" not in about:
        extra = "" if vector.site == "resid_post" else f", site={vector.site!r}"
        extra += "" if vector.method in ("caa", "actadd") or vector.token_rule == "last" else f", token_rule={vector.token_rule!r}"  # noqa: S105  no password
        examples = f"{about['positive']!r}, {about['negative']!r}"
        return f"vector = pw.SteeringVector.from_pairs(model, {examples}, layer={{layer}}, method={vector.method!r}{extra})"
    return 'vector = pw.SteeringVector.load("vector.safetensors")  # the vector that the panel was given; vector.save(...) writes it'


def _names(sources: list[str]) -> dict[str, str]:
    different = list(dict.fromkeys(sources))
    return {source: "vector" if len(different) == 1 else f"vector{i}" for i, source in enumerate(different, 1)}


def _layer(row: "Row") -> str:
    own = row.source.vector.layers
    return str(row.layer if row.layer in own else own[0])


def _steer(row: "Row", name: str) -> str:
    steer = row.steer()
    parts = [name, f"{steer.strength:g}"]
    parts += [f"layers={row.layer}"] if row.layer is not None else []
    parts += [f"positions={steer.positions!r}"] if steer.positions != "all" else []
    parts += [f"operator={steer.operator!r}"] if steer.operator != "add" else []
    parts += [f"unit={steer.unit!r}"] if steer.unit != "absolute" else []
    return f"pw.Steer({', '.join(parts)})"
