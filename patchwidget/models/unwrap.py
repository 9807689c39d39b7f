"""Models that other libraries hold: the Hugging Face module inside is used. They are recognised by name, so that none of them is imported."""

import copy
from typing import Any

from torch import nn

from patchwidget.errors import ModelError


def unwrap(model: Any, tokenizer: Any) -> tuple[nn.Module, Any]:
    """The torch module inside an nnsight `LanguageModel`, a TransformerLens `TransformerBridge`, a PEFT model or a compiled one,
    and the tokenizer.

    Anything else is returned as it is.

    Raises:
        ModelError: it is not a module, and holds none.
    """
    model = getattr(model, "_orig_mod", model)  # what torch.compile wraps: hooks need the module as it is
    if _is_from(model, "nnsight"):
        if getattr(model, "dispatched", True) is False:
            model.dispatch()  # its weights are not loaded before
        model, tokenizer = model._module, tokenizer or getattr(model, "tokenizer", None)  # noqa: SLF001 - nnsight has no public name for it
    elif _is_from(model, "transformer_lens"):
        if not hasattr(model, "original_model"):
            raise ModelError(
                f"A TransformerLens {type(model).__name__} holds no Hugging Face model.",
                "Use TransformerBridge, or the Hugging Face model itself.",
            )
        model, tokenizer = _without_bridges(model.original_model), tokenizer or getattr(model, "tokenizer", None)
    elif _is_from(model, "peft"):
        model = model.get_base_model()
    if not isinstance(model, nn.Module):
        message = f"A torch module was expected, and this is a {type(model).__name__}."
        raise ModelError(message, "Pass the model object itself; to load one by name use pw.load(name).")
    return model, tokenizer


def _without_bridges(module: nn.Module) -> nn.Module:
    """The module tree as it was before TransformerLens put a stand-in in the place of each part. Weights are shared, not copied."""
    while _is_from(module, "transformer_lens"):
        module = module.original_component  # type: ignore[assignment]
    plain = copy.copy(module)
    plain._modules = {name: child if child is None else _without_bridges(child) for name, child in module._modules.items()}  # noqa: SLF001
    return plain


def _is_from(value: Any, library: str) -> bool:
    return any(cls.__module__.partition(".")[0] == library for cls in type(value).__mro__)
