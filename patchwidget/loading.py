"""Getting a model: the default one, one by name or folder, or one that the user holds already."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from .errors import ModelError
from .model import Model
from .models.default_model import DEFAULT_MODEL_NAME, default_model_folder
from .models.unwrap import unwrap
from .public import public


@public
def load(
    name: str | Path | None = None, *, device: str | None = None, dtype: str | torch.dtype = "auto", device_map: Any = None, **kwargs: Any
) -> Model:
    """Load a decoder and its tokenizer.

    Args:
        name: a Hugging Face hub name or a local folder; None for the default model, which needs no network.
        device: where it runs, such as "cuda"; the CPU if not given.
        dtype: "float32", "bfloat16", "float16", a torch dtype, or "auto" for that of the checkpoint.
        device_map: as in transformers, for a model over several devices.
        **kwargs: passed on to `AutoModelForCausalLM.from_pretrained`.

    Raises:
        ModelError: the name is unknown, the files can't be read, or the dtype, the device or an option does not exist.
    """
    folder = default_model_folder() if name is None else name
    shown, code = (DEFAULT_MODEL_NAME, "pw.load()") if name is None else (str(name), f"pw.load({str(name)!r})")
    place = _device(device)
    try:
        hf = AutoModelForCausalLM.from_pretrained(folder, dtype=_dtype(dtype), device_map=device_map, **kwargs)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except TypeError as error:
        raise ModelError(f"The model {shown!r} could not be made: {error}.", "Check the names of the options.") from error
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"The model {shown!r} could not be loaded: {reason}",
            "Check the name, the folder and the connection; pw.load() needs none of them.",
        ) from error
    if place is not None and device_map is None:
        nn.Module.to(hf, place)
    model = Model(hf.eval(), tokenizer, shown, code)
    model.examine()
    return model


@public
def wrap(model: nn.Module | object, tokenizer: Any = None, *, name: str | None = None) -> Model:
    """Use a model that is in memory already, as it is: weights, device, dtype and attention setting stay the user's.

    Args:
        model: a Hugging Face causal language model; an nnsight `LanguageModel`, a TransformerLens `TransformerBridge` or a PEFT model, of which
            the Hugging Face module inside is used; or any torch module, which can then be patched at its modules.
        tokenizer: its tokenizer; None if prompts and answers will be given as token ids (or it is the foreign model's own).
        name: shown in titles and results; the configuration's name if not given.

    Raises:
        ModelError: `model` is not a module, and holds none; or `tokenizer` is none.
    """
    if tokenizer is not None and not callable(tokenizer):
        raise ModelError(
            f"A tokenizer was expected, and this is a {type(tokenizer).__name__}: {tokenizer!r}.",
            "Make one: transformers.AutoTokenizer.from_pretrained(name).",
        )
    return Model(*unwrap(model, tokenizer), name)


def _device(device: str | None) -> torch.device | None:
    """The device of this name, tried out, so that what is wrong is said before anything is loaded."""
    if device is None:
        return None
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"The device {device!r} can't be used here: {reason.rstrip('.')}.", "Leave it out for the CPU.") from error


def _dtype(dtype: str | torch.dtype) -> str | torch.dtype:
    found = getattr(torch, dtype, None) if isinstance(dtype, str) and dtype != "auto" else dtype
    if found != "auto" and not isinstance(found, torch.dtype):
        raise ModelError(f"There is no dtype {dtype!r}.", 'Use "float32", "bfloat16", "float16" or "auto".')
    return found
