"""How fast path patching is: this engine against whole forwards in which hooks hold everything, in one run on the default model.

python -m benchmarks.paths               every head and MLP to the logits, every head to one head's query, under both rules
python -m benchmarks.paths --sample 0    every sender by the hooked way too, which takes minutes

The hooked way is the usual one: for each sender one forward of the base run with its activation changed and everything else held by hooks,
in which the receiver's input is read; and one more with this input put in. To the logits the first of them is enough. It is timed on a
sample of senders drawn at random and scaled up; the last column tells how far the two ways' numbers lie apart on these. Timings of this
engine are of the whole question: both prompts recorded, every sender, the checks. Machines are noisy, so the best of several counts.
"""

import argparse
import platform
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import product
from operator import itemgetter
from typing import Any

import numpy as np
import torch

import patchwidget as pw
from benchmarks.sweep import PAIRS, timed
from patchwidget.model import Model
from patchwidget.models.attention import intercepted

PAIR = PAIRS["indirect object"]
LOGITS, QUERY = pw.Node("resid_post"), pw.Node("q", layer=23, head=0)
QUESTIONS = [(LOGITS, "z"), (LOGITS, "mlp_out"), (QUERY, "z")]


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description="Time path patching against forwards with hooks.")
    parser.add_argument("--repeat", type=int, default=3, help="runs by this engine, of which the best counts")
    parser.add_argument("--sample", type=int, default=10, help="senders by the hooked way; 0 for all of them")
    given = parser.parse_args()
    model = pw.load()
    print(f"{model}\n{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    by_hooks = ByHooks(model)
    print(f"{'receiver':15}{'senders':>14}{'freeze':>8}{'hooked, s':>11}{'this engine, s':>16}{'ratio':>7}{'difference':>12}")
    for (receiver, senders), freeze in product(QUESTIONS, ("heads", "all")):
        seconds, values = min(
            (timed(partial(ask_afresh, model, receiver, senders, freeze)) for _ in range(given.repeat)), key=itemgetter(0)
        )
        earlier = [place for place in np.ndindex(values.shape) if receiver is LOGITS or place[0] < (receiver.layer or 0)]
        chosen = random.Random(0).sample(earlier, min(given.sample, len(earlier)) or len(earlier))
        hooked, expected = timed(partial(by_hooks.values, receiver, senders, chosen, freeze))
        hooked *= len(earlier) / len(chosen)
        apart = np.abs(np.array([values[place] for place in chosen]) - expected).max()
        what = f"{len(earlier)} {senders}"
        print(f"{receiver!s:15}{what:>14}{freeze:>8}{hooked:11.1f}{seconds:16.2f}{hooked / seconds:6.0f}x{apart:12.1e}", flush=True)
    layers, heads = range(model.n_layers), range(model.n_heads)
    every = [*(pw.Node("z", layer, head) for layer in layers for head in heads), *(pw.Node("mlp_out", layer) for layer in layers)]
    seconds = min(timed(partial(ask_afresh, model, LOGITS, every, "heads"))[0] for _ in range(given.repeat))
    print(f"{LOGITS!s:15}{f'all {len(every)}':>14}{'heads':>8}{'':11}{seconds:16.2f}", flush=True)


def ask_afresh(model: Model, receiver: pw.Node, senders: str | list[pw.Node], freeze: str) -> np.ndarray:
    """The whole of a question, from the prompts on."""
    return pw.Experiment(model, PAIR).paths(receiver, senders, freeze, progress=False).values.to_numpy()


class ByHooks:
    """The usual way, to the letter."""

    def __init__(self, model: Model) -> None:
        self.model, pair = model, pw.Experiment(model, PAIR).pair
        self.base_tokens, self.answers, self.distractors = torch.tensor([pair.corrupted]), pair.answers, pair.distractors
        self.base, self.source = self.record(self.base_tokens), self.record(torch.tensor([pair.clean]))

    def values(self, receiver: pw.Node, site: str, places: Sequence[tuple[int, ...]], freeze: str) -> np.ndarray:
        """The metric for each of these senders, by layer and head."""
        return np.array([self.value(receiver, site, place, freeze) for place in places])

    def value(self, receiver: pw.Node, site: str, place: tuple[int, ...], freeze: str) -> float:
        kinds = {"z", "mlp_out"} if freeze == "all" else {"z"}
        writes = {(kind, layer): self.base[kind, layer] for kind in kinds for layer in range(self.model.n_layers)}
        changed = self.base[site, place[0]].clone()
        own = slice(place[1] * self.model.d_head, (place[1] + 1) * self.model.d_head) if site == "z" else slice(None)
        changed[..., own] = self.source[site, place[0]][..., own]
        writes[site, place[0]] = changed
        queries: list[torch.Tensor] = []
        with self.writing(writes), intercepted(self.model.hf, _reading(queries)):
            logits = self.model.hf(self.base_tokens, use_cache=False).logits[0, -1]
        if receiver.site == "q" and receiver.layer is not None:
            with intercepted(self.model.hf, _reading([], receiver, queries[receiver.layer])):
                logits = self.model.hf(self.base_tokens, use_cache=False).logits[0, -1]
        return float(logits[list(self.answers)].mean() - logits[list(self.distractors)].mean())

    def record(self, tokens: torch.Tensor) -> dict[tuple[str, int], torch.Tensor]:
        seen: dict[tuple[str, int], torch.Tensor] = {}
        with ExitStack() as stack:
            for layer, block in enumerate(self.model.hf.model.layers):  # type: ignore[union-attr,arg-type]
                stack.callback(block.self_attn.o_proj.register_forward_pre_hook(_keep_input(seen, layer)).remove)
                stack.callback(block.mlp.register_forward_hook(_keep_output(seen, layer)).remove)
            self.model.hf(tokens, use_cache=False)
        return seen

    @contextmanager
    def writing(self, writes: dict[tuple[str, int], torch.Tensor]) -> Iterator[None]:
        """Hooks that put these in."""
        with ExitStack() as stack:
            for (kind, layer), value in writes.items():
                block: Any = self.model.hf.model.layers[layer]  # type: ignore[union-attr,index]
                if kind == "z":
                    handle = block.self_attn.o_proj.register_forward_pre_hook(_put_in(value))
                else:
                    handle = block.mlp.register_forward_hook(_put_out(value))
                stack.callback(handle.remove)
            yield


def _keep_input(seen: dict[tuple[str, int], torch.Tensor], layer: int) -> Callable[..., None]:
    def hook(module: Any, args: tuple[torch.Tensor, ...]) -> None:
        seen["z", layer] = args[0]

    return hook


def _keep_output(seen: dict[tuple[str, int], torch.Tensor], layer: int) -> Callable[..., None]:
    def hook(module: Any, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen["mlp_out", layer] = output

    return hook


def _put_in(value: torch.Tensor) -> Callable[..., tuple[torch.Tensor]]:
    def hook(module: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        return (value,)

    return hook


def _put_out(value: torch.Tensor) -> Callable[..., torch.Tensor]:
    def hook(module: Any, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        return value

    return hook


def _reading(queries: list[torch.Tensor], receiver: pw.Node | None = None, put: torch.Tensor | None = None) -> Callable[..., Any]:
    """An attention function that keeps each layer's queries, or puts others in at one head."""
    layers = iter(range(10**6))

    def attend(own: Any, module: Any, query: torch.Tensor, *rest: Any, **kw: Any) -> Any:
        queries.append(query)
        if next(layers) == (receiver.layer if receiver else None) and receiver and put is not None:
            query = query.clone()
            query[:, receiver.head] = put[:, receiver.head]
        return own(module, query, *rest, **kw)

    return attend


if __name__ == "__main__":
    main()
