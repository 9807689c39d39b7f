"""Prompts to be continued: texts, token ids and conversations, as token ids."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from patchwidget.errors import PromptError
from patchwidget.given import Array, token_ids
from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.pair import tokenize_prompt

# {"role": "user", "content": "..."}
Message = Mapping[str, Any]
# a text; token ids, [T] or [1, T]; or a conversation
Prompt = str | Sequence[int] | Array | Sequence[Message]


def read_prompts(model: WrappedModel, prompt: Prompt | Sequence[Prompt], *, chat: bool = False) -> tuple[list[list[int]], bool]:
    """Prompts as token ids, and whether a list of them was given.

    Args:
        prompt: a text, token ids, a conversation (list of {"role", "content"}), or a list of these.
        chat: a text is what the user says, and goes through the chat template.

    Raises:
        PromptError: a prompt is empty, too long or not understood, or there is no chat template.
    """
    given = token_ids(prompt)
    several = isinstance(given, Sequence) and not isinstance(given, str) and not _is_one(given)
    prompts = list(given) if several else [given]
    if not prompts:
        raise PromptError("The list of prompts is empty.", "Give at least one.")
    return [_tokens(model, one, chat=chat) for one in prompts], several


def conversation_tokens(model: WrappedModel, messages: Sequence[Message]) -> list[int]:
    """A conversation as the model's chat template writes it.

    Raises:
        PromptError: there is no template, a message is not {"role", "content"}, or the template refuses the conversation.
    """
    from jinja2 import TemplateError

    if getattr(model.tokenizer, "chat_template", None) is None:
        raise PromptError(f"{model.name} has no chat template.", "Give the prompt as plain text.")
    for message in messages:
        if not isinstance(message, Mapping) or not {"role", "content"} <= set(message):
            raise PromptError(f"{message!r} is no message of a conversation.", 'Give {"role": "user", "content": "..."}.')
    try:
        text = model.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    except (TemplateError, TypeError) as error:
        raise PromptError(f"The chat template of {model.name} refuses the conversation: {error}.", "Check roles and contents.") from error
    return model.encode(text, special=False)


def _is_one(prompt: Sequence[Any]) -> bool:
    """Whether a sequence is one prompt: token ids, or a conversation."""
    return bool(prompt) and all(isinstance(item, int | Mapping) for item in prompt)


def _is_conversation(prompt: Prompt) -> TypeGuard[Sequence[Message]]:
    return isinstance(prompt, Sequence) and bool(prompt) and isinstance(prompt[0], Mapping)


def _tokens(model: WrappedModel, prompt: Prompt, *, chat: bool) -> list[int]:
    if chat and isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    if _is_conversation(prompt):
        return tokenize_prompt(model, conversation_tokens(model, prompt), "chat")
    return tokenize_prompt(model, prompt, "given")
