"""Text from transformers' own `generate`, whole or token by token, steered or not.

A generation takes turns with others on the same model: the lock is held from the beginning of each forward until its token is chosen, not
in between, so a long text does not keep a sweep waiting. With a seed, torch's random numbers are the generation's own during its turns and
everybody else's between them: two texts that are streamed side by side are each what they would have been alone.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any

import torch
from torch import Tensor, nn
from transformers import StoppingCriteria, StoppingCriteriaList

from patchwidget.errors import ModelError
from patchwidget.models.hooks import Hooks
from patchwidget.models.wrapped import WrappedModel

from .steering import Steering, steered


@dataclass(frozen=True, eq=False)
class Request:
    """What to generate.

    Attributes:
        prompts: token ids.
        steerings: what is steered meanwhile.
        seed: of the random numbers; torch's own, as they stand, if None.
        options: for transformers' `generate`.
    """

    prompts: Sequence[Sequence[int]]
    steerings: Sequence[Steering] = ()
    seed: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


def check_generates(model: WrappedModel) -> None:
    """Raise ModelError unless the model continues a text."""
    can = getattr(model.hf, "can_generate", lambda: False)()  # type: ignore[operator]
    if not can or model.hf.config.is_encoder_decoder:  # type: ignore[union-attr]
        raise ModelError(f"{model.name} does not generate text by continuing a prompt.", "Use a causal language model.")


def generate(model: WrappedModel, request: Request) -> list[list[int]]:
    """The tokens that follow each prompt, cut behind the end-of-text token or the stop string; several per prompt in a row where asked.

    Raises:
        ModelError: a steered place was never passed.
    """
    return _run(model, request, lambda sequences: False)  # noqa: ARG005


class Stream:
    """A generation of one prompt that hands out its tokens one by one; it waits until each is taken.

    Iterate it for token ids. `stop` ends it at the next token; leaving the `with` block does so too. Whatever happens, nothing stays on the
    model. An error of the model is raised where the next token would have come.

    Attributes:
        tokens: what has been handed out so far.
    """

    def __init__(self, model: WrappedModel, request: Request) -> None:
        self.tokens: list[int] = []
        self._handed: Queue[int | BaseException | None] = Queue(1)
        self._stop = Event()
        self._model, self._request = model, request
        # the hooks fire only in the context of the thread that opens them; other context variables are the caller's
        self._thread = Thread(target=copy_context().run, args=(self._work,), name="patchwidget-stream", daemon=True)
        self._started = False

    def __iter__(self) -> Iterator[int]:
        try:
            while (token := self._next()) is not None:
                yield token
        finally:
            self.stop()

    def __enter__(self) -> "Stream":  # noqa: PYI034 - a runtime type checker knows Self only where it checks the whole class
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the generation, and return when the model is free of it: after the forward under way. May be called from any thread."""
        self._stop.set()
        while self._started and self._thread.is_alive():
            with suppress(Empty):
                self._handed.get(timeout=0.01)
        with suppress(Full):
            self._handed.put_nowait(None)  # for who waits for a token in another thread

    def _next(self) -> int | None:
        if not self._started:
            if self._stop.is_set():
                return None
            self._started = True
            self._thread.start()
        elif not self._thread.is_alive() and self._handed.empty():
            return None
        item = self._handed.get()
        if isinstance(item, BaseException):
            raise item
        if item is not None:
            self.tokens.append(item)
        return item

    def _work(self) -> None:
        end: BaseException | None = None
        try:
            _run(self._model, self._request, self._hand)
        except BaseException as error:  # noqa: BLE001 - it is raised again where the next token is waited for
            end = error
        self._handed.put(end)

    def _hand(self, sequences: Tensor) -> bool:
        """Hand out the newest token; whether to stop there."""
        if not self._stop.is_set():
            self._handed.put(int(sequences[0, -1]))
        return self._stop.is_set()


def _run(model: WrappedModel, request: Request, each_step: Callable[[Tensor], bool]) -> list[list[int]]:
    """Generate; `each_step(sequences so far [rows, tokens])` is called after each token, and ends the generation by True."""
    check_generates(model)
    model.check_ready()
    options = dict(request.options)
    stops = _Stops(model, options)
    longest = max(map(len, request.prompts))
    pads = [longest - len(prompt) for prompt in request.prompts]
    pad = options.pop("pad_token_id", stops.pad)
    tokens = torch.tensor([[pad] * n + list(prompt) for n, prompt in zip(pads, request.prompts, strict=True)], device=model.device)
    mask = torch.tensor([[0] * n + [1] * len(prompt) for n, prompt in zip(pads, request.prompts, strict=True)], device=model.device)
    turns = _Turns(model, request.seed)
    options["stopping_criteria"] = StoppingCriteriaList([*options.get("stopping_criteria", []), _EachStep(turns, each_step)])
    if stops.strings:
        options["tokenizer"] = model.tokenizer
    with steered(model, request.steerings, pads), turns.taken():
        made = model.hf.generate(input_ids=tokens, attention_mask=mask, pad_token_id=pad, **options)  # type: ignore[operator]
    rows = made if isinstance(made, Tensor) else made.sequences
    copies = len(rows) // len(pads)
    return [stops.cut(request.prompts[i // copies], row[longest:].tolist()) for i, row in enumerate(rows)]


class _Turns:
    """Holds the model's lock, and brings in the generation's own random numbers, from each forward's beginning until its token is chosen."""

    def __init__(self, model: WrappedModel, seed: int | None) -> None:
        self._model, self._mine = model, False
        devices = [torch.device("cpu"), *([] if model.device.type == "cpu" else [model.device])]
        self._random = {} if seed is None else {device: torch.Generator(device).manual_seed(seed).get_state() for device in devices}

    @contextmanager
    def taken(self) -> Iterator[None]:
        try:
            with Hooks() as hooks:
                hooks.before(self._model.hf, self._begin)
                yield
        finally:
            self.end()

    def _begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self._mine:
            self._model.lock.acquire()
            self._mine = True
            self._swap_random()

    def end(self) -> None:
        if self._mine:
            self._swap_random()
            self._mine = False
            self._model.lock.release()

    def _swap_random(self) -> None:
        for device, own in self._random.items():
            module = torch if device.type == "cpu" else getattr(torch, device.type)
            where = () if device.type == "cpu" else (device,)
            self._random[device] = module.get_rng_state(*where)
            module.set_rng_state(own, *where)


class _EachStep(StoppingCriteria):
    """Ends the turn after each token, then asks whether to go on."""

    def __init__(self, turns: _Turns, each_step: Callable[[Tensor], bool]) -> None:
        self._turns, self._each_step = turns, each_step

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:  # type: ignore[override]
        self._turns.end()
        return torch.full((len(input_ids),), self._each_step(input_ids), device=input_ids.device)


class _Stops:
    """Where a generated row ends: rows of a batch that end early are filled up by transformers."""

    def __init__(self, model: WrappedModel, options: dict[str, Any]) -> None:
        config: Any = options.get("generation_config") or model.hf.generation_config
        ends = options.get("eos_token_id", config.eos_token_id)
        strings = options.get("stop_strings", config.stop_strings)
        self.ends = set(torch.as_tensor([] if ends is None else ends).flatten().tolist())
        self.strings = [strings] if isinstance(strings, str) else list(strings or [])
        known = [config.pad_token_id, getattr(model.tokenizer, "pad_token_id", None), *sorted(self.ends), 0]
        self.pad = next(int(token) for token in known if token is not None)
        self._model = model

    def cut(self, prompt: Sequence[int], tokens: list[int]) -> list[int]:
        """The generated tokens up to and with the one that ended them."""
        for length, token in enumerate(tokens, 1):
            if token in self.ends or (self.strings and self._has_string(prompt, tokens[:length])):
                return tokens[:length]
        return tokens

    def _has_string(self, prompt: Sequence[int], tokens: list[int]) -> bool:
        before, whole = (self._model.tokenizer.decode(ids) for ids in (list(prompt), [*prompt, *tokens]))
        return any(whole.find(string, max(0, len(before) - len(string) + 1)) >= 0 for string in self.strings)
