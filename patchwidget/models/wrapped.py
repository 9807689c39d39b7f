"""A torch network as the engine sees it: shapes, device, tokens, lock and logits. The module inside runs untouched."""

from collections.abc import Callable, Sequence
from functools import cached_property
from inspect import signature
from threading import RLock
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn

from patchwidget.errors import ModelError, PromptError
from patchwidget.given import token_ids

from .anatomy import Anatomy, find_anatomy
from .eager import uncompiled
from .hooks import foreign_hooks
from .state import training_modules
from .tokens import Tokens
from .trace import Trace, main_tensor, trace_forward

_T = TypeVar("_T")

# How long a prompt is tried where a hook of the user's fails on a few tokens.
_LONGER = (8, 32, 128)

# One lock for each module, however often it is wrapped: two experiments on one model take turns.
_locks: WeakKeyDictionary[nn.Module, RLock] = WeakKeyDictionary()


class WrappedModel:
    """A network and its tokenizer. What users hold is a `pw.Model`, which can write text too.

    Attributes:
        hf: the Hugging Face module, as it was given.
        tokenizer: its tokenizer, or None where prompts are given as token ids.
        name: the model's name, for titles and provenance.
        code: the Python expression that gives it.
    """

    def __init__(self, hf: nn.Module, tokenizer: Any = None, name: str | None = None, code: str = "pw.wrap(hf, tokenizer)") -> None:
        self.hf, self.code = hf, code
        self.tokenizer = tokenizer
        self.name = name or getattr(getattr(hf, "config", None), "_name_or_path", "") or type(hf).__name__
        self.lock = _locks.setdefault(hf, RLock())

    def __getstate__(self) -> dict[str, Any]:
        raise ModelError(
            "A model can't be copied or pickled: it holds a lock, and hooks come and go on its weights.",
            f"Make it anew where it is needed: {self.code}. What it gave can be taken along: result.save(path), vector.save(path).",
        )

    def __repr__(self) -> str:
        if not self.has_blocks:
            return f"Model({self.name!r}, a {type(self.hf).__name__}, patched at its modules, {self.device})"
        heads = f"{self.n_heads} heads, {self.n_kv_heads} key/value heads"
        return f"Model({self.name!r}, {self.n_layers} layers, {heads}, d_model {self.d_model}, {self.dtype}, {self.device})"

    @cached_property
    def anatomy(self) -> Anatomy:
        """Where blocks, attention, MLP, norms and head are, found by watching one forward of three tokens."""
        with self.lock:
            return self._probe(3, lambda tokens: find_anatomy(self.hf, {"input_ids": tokens, **self._no_cache}))

    def trace(self) -> Trace:
        """What happens in one forward of three tokens: which modules ran, in which order, on which tensors."""
        with self.lock:
            return self._probe(3, lambda tokens: trace_forward(self.hf, {"input_ids": tokens, **self._no_cache}))

    def examine(self) -> None:
        """Find out now, in forwards of a few tokens, what the first question would have to wait for."""
        _ = self.has_blocks and self.causal

    @property
    def n_layers(self) -> int:
        """How many blocks it has."""
        return len(self.anatomy.blocks)

    @property
    def n_heads(self) -> int:
        """Query heads of each layer."""
        return self.anatomy.n_heads

    @property
    def n_kv_heads(self) -> int:
        """Key/value heads of each layer: fewer than `n_heads` under grouped-query attention."""
        return self.anatomy.n_kv_heads

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.anatomy.d_model

    @property
    def d_head(self) -> int:
        """Width of one head's value vector."""
        return self.anatomy.d_head

    @cached_property
    def takes_tokens(self) -> bool:
        """Whether prompts are token ids; other networks take tensors."""
        try:
            return hasattr(self.hf.get_input_embeddings(), "num_embeddings")  # type: ignore[operator]
        except (AttributeError, NotImplementedError):
            return False

    @cached_property
    def vocab_size(self) -> int:
        """How many tokens there are: the rows of its embedding. ModelError for a network that takes no tokens."""
        if not self.takes_tokens:
            raise ModelError(f"{self.name} takes no tokens.", "Give tensors as prompts.")
        return self.hf.get_input_embeddings().num_embeddings  # type: ignore[operator,union-attr]

    @property
    def device(self) -> torch.device:
        """Where inputs go: the device of the embedding, or of the first parameter."""
        if not hasattr(self.hf, "get_input_embeddings"):
            return next(self.hf.parameters()).device
        embedding = self.hf.get_input_embeddings()  # type: ignore[operator]
        if embedding.weight.is_meta:  # accelerate has put it aside until the module is called
            return torch.device(embedding._hf_hook.execution_device)  # noqa: SLF001
        return embedding.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Of its first parameter, in which activations are recorded and patched."""
        return next(self.hf.parameters()).dtype

    @property
    def context_length(self) -> int | None:
        """The longest prompt the model was made for, in tokens, if its configuration tells."""
        config = getattr(self.hf, "config", None)
        return getattr(config.get_text_config() if hasattr(config, "get_text_config") else config, "max_position_embeddings", None)  # type: ignore[union-attr]

    def inputs(self, prompt: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """A prompt as the network takes it, with a batch axis of one: token ids [1, T], or a tensor as it is."""
        return (prompt if isinstance(prompt, torch.Tensor) else torch.tensor(list(prompt))).to(self.device)[None]

    @cached_property
    def _no_cache(self) -> dict[str, bool]:
        return {"use_cache": False} if "use_cache" in signature(self.hf.forward).parameters else {}

    def encode(self, text: str, special: bool = True) -> list[int]:
        """Token ids of a text; `special` lets the tokenizer add what it adds by itself (BOS)."""
        if self.tokenizer is None:
            raise PromptError(
                f"This model has no tokenizer, and a text was given: {text!r}.", "Give token ids, or wrap the model with its tokenizer."
            )
        return list(self.tokenizer(text, add_special_tokens=special)["input_ids"])

    def token_text(self, token: int) -> str:
        """One token as text, with its leading space; its number where there is no tokenizer."""
        return self.tokenizer.decode([token], clean_up_tokenization_spaces=False) if self.tokenizer is not None else str(token)

    def tokens(self, prompt: Any, *, special: bool = True) -> Tokens:
        """How a prompt is cut into tokens: the text, the id and the position of each. Sweeps and patches name positions by these numbers.

        Args:
            prompt: a text, or token ids.
            special: whether the tokenizer adds what it adds by itself (BOS), as it does to prompts.

        Raises:
            PromptError: a text, and there is no tokenizer.
        """
        ids = self.encode(prompt, special) if isinstance(prompt, str) else token_ids(prompt)
        return Tokens(tuple(map(self.token_text, ids)), tuple(ids))

    @cached_property
    def has_blocks(self) -> bool:
        """Whether it is a language model whose blocks were found; any other network is patched at its modules only."""
        try:
            return bool(self.anatomy.blocks)
        except (ModelError, TypeError):
            return False

    @cached_property
    def causal(self) -> bool:
        """Whether a token changes nothing before its own position: False for encoders, and for networks that take no tokens."""
        if not hasattr(self.hf, "get_input_embeddings"):
            return False

        def changes_nothing_before(tokens: torch.Tensor) -> bool:
            tokens = tokens.repeat(2, 1)
            tokens[1, -1] = (tokens[1, -1] + 1) % self.vocab_size
            logits = self.logits_at(tokens, tuple(range(tokens.shape[1] - 1)))
            change, size = (float(x.abs().max()) for x in (logits[0] - logits[1], logits))
            return not change > 64 * torch.finfo(self.dtype).eps * size

        with torch.no_grad(), self.lock:
            return self._probe(4, changes_nothing_before)

    def _probe(self, length: int, run: Callable[[torch.Tensor], _T]) -> _T:
        """What `run` gives for a prompt of a few tokens [1, length]; of more of them where a hook of the user's fails on so few."""
        hooked = [name for name, module in self.hf.named_modules() if foreign_hooks(module)]
        lengths = (length, *_LONGER) if hooked else (length,)
        for tried in lengths:
            try:
                return run(torch.arange(tried, device=self.device)[None] % self.vocab_size)
            except Exception as error:
                if not hooked or isinstance(error, ModelError):
                    raise
                if tried == lengths[-1]:
                    message = (
                        f"A forward hook of yours, on {' or '.join(hooked[:3])}, fails on prompts of {length} to {tried} tokens: {error}"
                    )
                    raise ModelError(message, "Take it off, or let it pass prompts that are too short for it.") from error
        raise AssertionError  # the last one has returned or raised

    @uncompiled()
    def logits_at(self, inputs: torch.Tensor, positions: tuple[int, ...]) -> torch.Tensor:
        """The model's own logits after each prompt, float32 [prompts, positions, vocabulary].

        Args:
            inputs: token ids [prompts, T]; or what else the network takes, [prompts, ...]. Outputs without positions count as one.
        """
        parameters = signature(self.hf.forward).parameters
        if inputs.is_floating_point() or "input_ids" not in parameters:
            outputs = self.hf(inputs)
        elif "logits_to_keep" in parameters:
            keep = torch.tensor(positions, device=inputs.device) % inputs.shape[1]
            return self.hf(input_ids=inputs, use_cache=False, logits_to_keep=keep).logits.float()
        else:
            outputs = self.hf(input_ids=inputs, **self._no_cache)
        logits = main_tensor(outputs.logits if hasattr(outputs, "logits") else outputs)
        if logits is None or logits.ndim not in (2, 3):
            shape = "no tensor" if logits is None else f"shape {list(logits.shape)}"
            raise ModelError(f"{self.name} returned {shape}.", "Outputs have to be [batch, features] or [batch, position, features].")
        return (logits[:, None] if logits.ndim == 2 else logits[:, list(positions)]).float()

    def check_ready(self) -> None:
        """Raise ModelError where runs of this model would not repeat: where it, or a module in it, is in training mode."""
        training = training_modules(self.hf)
        if training:
            what = f"The module {training[0]}" if training[0] else "The model"
            raise ModelError(f"{what} is in training mode, where dropout makes each run different.", "Call model.hf.eval() first.")

    def examine_anew(self) -> None:
        """Forget what was found out by watching it run: a module has been put in another's place."""
        for name in ("anatomy", "has_blocks", "causal", "vocab_size"):
            vars(self).pop(name, None)
