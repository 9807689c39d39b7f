"""A Hugging Face model as patchwidget sees it. The module inside runs untouched."""

from functools import cached_property
from inspect import signature
from threading import RLock
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from patchwidget.errors import ModelError, PromptError

from .anatomy import Anatomy, find_anatomy

# One lock for each module, however often it is wrapped: two experiments on one model take turns.
_locks: WeakKeyDictionary[nn.Module, RLock] = WeakKeyDictionary()


class Model:
    """A decoder and its tokenizer. Made by `pw.load` or `pw.wrap`.

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

    def __repr__(self) -> str:
        heads = f"{self.n_heads} heads, {self.n_kv_heads} key/value heads"
        return f"Model({self.name!r}, {self.n_layers} layers, {heads}, d_model {self.d_model}, {self.dtype}, {self.device})"

    @cached_property
    def anatomy(self) -> Anatomy:
        """Where blocks, attention, MLP, norms and head are, found by watching one forward of three tokens."""
        with self.lock:
            return find_anatomy(self.hf, {"input_ids": torch.arange(3, device=self.device)[None] % self.vocab_size, "use_cache": False})

    @property
    def n_layers(self) -> int:
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
    def vocab_size(self) -> int:
        return self.hf.get_input_embeddings().num_embeddings  # type: ignore[operator,union-attr]

    @property
    def device(self) -> torch.device:
        """Where token ids go: the device of the embedding."""
        return self.hf.get_input_embeddings().weight.device  # type: ignore[operator,union-attr]

    @property
    def dtype(self) -> torch.dtype:
        return next(self.hf.parameters()).dtype

    @property
    def context_length(self) -> int | None:
        """The longest prompt the model was made for, in tokens, if its configuration tells."""
        config = self.hf.config.get_text_config() if hasattr(self.hf.config, "get_text_config") else self.hf.config  # type: ignore[union-attr]
        return getattr(config, "max_position_embeddings", None)

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

    def logits_at(self, tokens: torch.Tensor, positions: tuple[int, ...]) -> torch.Tensor:
        """The model's own logits after each prompt, float32 [prompts, positions, vocabulary].

        Args:
            tokens: ids, [prompts, T].
        """
        keep = torch.tensor(positions, device=tokens.device) % tokens.shape[1]
        if "logits_to_keep" in signature(self.hf.forward).parameters:
            return self.hf(input_ids=tokens, use_cache=False, logits_to_keep=keep).logits.float()
        return self.hf(input_ids=tokens, use_cache=False).logits[:, keep].float()

    def check_ready(self) -> None:
        """Raise ModelError where runs of this model would not repeat, or not mean anything: dropout on, weights not a number."""
        if self.hf.training:
            raise ModelError("The model is in training mode, where dropout makes each run different.", "Call model.hf.eval() first.")
        head = self.anatomy.head.weight
        if isinstance(head, torch.Tensor) and head.device.type != "meta" and not torch.isfinite(head).all():
            raise ModelError(
                "The model's unembedding holds NaN or infinite weights.", "Load the model again, or check how it was trained or converted."
            )
