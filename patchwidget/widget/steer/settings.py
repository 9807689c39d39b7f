"""What a panel's texts are made with."""

from dataclasses import dataclass, replace
from typing import Any

from patchwidget.errors import PatchError
from patchwidget.steering.prompts import read_prompts
from patchwidget.widget.transport.errors import FieldError

from .rows import wrong


@dataclass(frozen=True)
class Settings:
    """What texts are made with. `prompt`: as it was given; `tokens`: its token ids."""

    prompt: Any
    tokens: tuple[int, ...]
    seed: int = 0
    temperature: float = 0.0
    length: int = 40


def checked(model: Any, settings: Settings, *, chat: bool) -> Settings:
    """With the prompt's tokens; FieldError where something can't be."""
    if not 0 <= settings.temperature <= 10:
        raise wrong("temperature", f"The temperature is {settings.temperature:g}.", "Choose 0 (the likeliest token each time) to 10.")
    if not 1 <= settings.length <= 1000:
        raise wrong("length", f"A text of {settings.length} new tokens can't be written.", "Choose 1 to 1000.")
    if not 0 <= settings.seed < 2**63:
        raise wrong("seed", f"The seed is {settings.seed}.", "Choose a whole number from 0 on.")
    try:
        prompts, several = read_prompts(model, settings.prompt, chat=chat)
    except PatchError as error:
        raise FieldError("prompt", error) from error
    if several:
        raise wrong("prompt", "The panel takes one prompt, and a list was given.", "Make one panel each.")
    tokens = prompts[0]
    context = model.context_length
    if context is not None and len(tokens) + settings.length > context:
        raise wrong(
            "length", f"{len(tokens)} tokens and {settings.length} new ones are more than {model.name} takes, {context}.", "Choose fewer."
        )
    return replace(settings, tokens=tuple(tokens))
