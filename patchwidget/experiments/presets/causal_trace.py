"""Causal tracing: where a noised subject has to be restored for a fact to come back (Meng et al. 2022, arXiv:2202.05262)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from typing import Any

import numpy as np
import torch
import xarray as xr
from tqdm.auto import tqdm

from patchwidget.errors import PatchError, PromptError
from patchwidget.experiments.question import Where, start_sweep
from patchwidget.experiments.reproduce import shown
from patchwidget.experiments.results.data import NOT_MEASURABLE
from patchwidget.experiments.results.result import PatchResult
from patchwidget.experiments.sweeps.spec import Choices
from patchwidget.experiments.sweeps.sweep import run_through
from patchwidget.given import Index, as_list, plain, token_ids, whole
from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.alignment import Span, both_spans, find_span
from patchwidget.prompts.pair import Answer, PromptPair, Text, tokenize_pair, tokenize_prompt
from patchwidget.prompts.prompt_set import PromptSet
from patchwidget.public import public
from patchwidget.runs.checks import worst_checks
from patchwidget.runs.pair_runs import PairRuns

from .embedding_noise import NoisedEmbeddings

SITES = {"hidden": "resid_post", "mlp": "mlp_out", "attn": "attn_out"}
ROLES = ("first subject token", "middle subject tokens", "last subject token", "first subsequent token", "further tokens", "last token")


@dataclass(frozen=True, eq=False)
class _Fact:
    """One prompt as tokens: where its subject is, what the model answers, and the subject by itself, as the noise is scaled by."""

    prompt: Text
    tokens: list[int]
    subject: tuple[int, ...]
    alone: list[int]
    answer: int


@public
def causal_trace(
    model: WrappedModel,
    prompt: Text | PromptSet | Sequence[PromptPair],
    subject: Span | None = None,
    answer: Answer | None = None,
    *,
    noise: float = 3.0,
    samples: Index = 10,
    window: Index = 10,
    kinds: Sequence[str] = ("hidden", "mlp", "attn"),
    layers: Choices | None = None,
    sigma: float | None = None,
    metric: str = "prob",
    seed: int = 1,
    executor: str = "auto",
    progress: bool = True,
) -> PatchResult:
    """Noise the subject, restore one state, and see how much of the answer's probability comes back.

    The corrupted run has Gaussian noise on the embeddings of all subject tokens, `noise` times the standard deviation of the embeddings of all
    elements of the subjects' tokens; the same `samples` for each cell. Restored are the residual stream after one layer ("hidden"), or what
    the MLPs ("mlp") or the attention ("attn") of a `window` of layers around it add, at one token. The value of a cell is the mean of P(answer)
    over the samples; value - corrupted is the indirect effect, clean - corrupted the total effect.

    Args:
        prompt: one prompt; or a set of facts, whose `clean` prompts are traced, with a role "subject".
        subject: in one prompt, the subject: a text, (text, occurrence) or positions.
        answer: what the model is expected to answer; its likeliest token if not given. A prompt that the model answers differently is
            refused, in a set dropped (as the paper does).
        layers: all by default.
        sigma: the standard deviation of the embeddings, if it is known from elsewhere (the paper takes it from the subjects of 1000 facts).
        metric: "prob" in the paper; any name that needs an answer only.
        seed: of numpy's RandomState; 1 in the authors' code.
        executor: as in `Experiment.sweep`.

    Returns:
        A PatchResult with axes (kind, layer, pos); for a set (pair, kind, layer, role), whose roles are the six of the paper's figure: the
        mean over the tokens of each role, NaN where a prompt has none. A subject of one token counts as its last token.
        `plot()` draws a panel for each kind.

    Raises:
        PromptError: there is no subject, or no prompt is answered as expected.
        PatchError: a kind or a number is not known.
    """
    samples, window = whole(samples, "samples"), whole(window, "window")
    given, layers, subject, answer = token_ids(prompt), as_list(layers), plain(subject), plain(answer)
    _check_kinds(kinds)
    alone = isinstance(given, str) or all(isinstance(item, int) for item in given)
    if alone and subject is None:
        raise PromptError("No subject was given.", "Name the words that are noised: subject='The Space Needle'.")
    rows = [(given, subject, answer)] if alone else [_subject_of(pair, i) for i, pair in enumerate(given)]  # type: ignore[arg-type]
    facts, dropped = _facts(model, rows)
    numbers = {"noise": noise, "sigma": sigma, "samples": samples, "metric": metric, "seed": seed}
    sigma = _embedding_std(model, facts) if sigma is None else sigma
    options = {"kinds": tuple(kinds), "window": window, "layers": layers, "executor": executor}
    how = partial(_trace, model, scale=noise * sigma, samples=samples, metric=metric, seed=seed, **options)
    bar = tqdm(facts, desc="causal trace", unit="prompt", delay=1, leave=False, disable=not progress)
    traces = [how(fact) for fact in bar]
    info = {"noise": noise, "sigma": sigma, "samples": samples, "window": window, "seed": seed, "dropped": dropped}
    info["code"] = _code(model, rows[0] if alone else list(prompt), {**numbers, **options})  # type: ignore[arg-type]
    if alone:
        return replace(traces[0], info={**traces[0].info, **info, "subject": list(facts[0].subject)})
    return _joined([_by_role(trace, fact) for trace, fact in zip(traces, facts, strict=True)], info)


def _trace(
    model: WrappedModel,
    fact: _Fact,
    *,
    scale: float,
    samples: int,
    metric: str,
    seed: int,
    kinds: Sequence[str],
    window: int,
    layers: Any,
    executor: str,
) -> PatchResult:
    """One prompt: the sweeps of all kinds as one result, the mean over the samples."""
    width = model.hf.get_input_embeddings().weight.shape[1]  # type: ignore[operator,union-attr]
    # drawn as the authors do
    drawn = np.random.RandomState(seed).randn(samples, len(fact.subject), width) * scale
    noised = NoisedEmbeddings(model, fact.subject, drawn)
    runs = PairRuns(model, [PromptPair(fact.tokens, answer=fact.answer)] * samples, metric, corruption=noised)
    swept = {}
    for kind in kinds:
        where = Where(layers=layers, window=1 if kind == "hidden" else window)
        swept[kind] = run_through(start_sweep(runs, SITES[kind], where, executor=executor), kind, progress=False)
    results = {kind: result.mean() for kind, result in swept.items()}
    first = next(iter(results.values()))
    parts: list[xr.DataArray] = [result.values for result in results.values()]
    values = xr.concat(parts, xr.DataArray(list(kinds), dims="kind", name="kind"))
    tokens = [model.token_text(token) for token in fact.tokens]
    info = {**first.info, "site": "causal trace", "positions": "each", "source": "clean", "tokens": tokens}
    info |= {"answer": model.token_text(fact.answer), "tokens_by_pair": None}
    state = np.stack([result.state for result in results.values()])
    noise = max(result.noise for result in swept.values())
    return PatchResult(values, first.clean, first.corrupted, state, worst_checks([r.checks for r in swept.values()]), noise, info)


def _by_role(trace: PatchResult, fact: _Fact) -> PatchResult:
    """Positions as the six roles, each the mean over its tokens."""
    first, last, end = fact.subject[0], fact.subject[-1], len(fact.tokens) - 1
    places = [
        [first] if first != last else [],
        list(fact.subject[1:-1]),
        [last],
        [last + 1] if last + 1 < end else [],
        list(range(last + 2, end)),
        [end] if end != last else [],
    ]
    columns = [trace.values.isel(pos=where).mean("pos") if where else trace.values.isel(pos=0, drop=True) * np.nan for where in places]
    values = xr.concat(columns, xr.DataArray(list(ROLES), dims="role", name="role")).transpose("kind", "layer", "role").astype(np.float32)
    state = np.where(values.isnull(), NOT_MEASURABLE, trace.state[..., :1]).astype(np.uint8)
    return replace(trace, values=values, state=state)


def _joined(traces: Sequence[PatchResult], info: dict[str, Any]) -> PatchResult:
    pairs = xr.DataArray(range(len(traces)), dims="pair", name="pair")
    clean, corrupted = (xr.DataArray([float(getattr(trace, run)) for trace in traces], dims="pair") for run in ("clean", "corrupted"))
    told = {**traces[0].info, **info, "tokens": None, "positions": "roles", "answer": [trace.info["answer"] for trace in traces]}
    told["tokens_by_pair"] = [trace.info["tokens"] for trace in traces]
    state, checks = np.stack([trace.state for trace in traces]), worst_checks([trace.checks for trace in traces])
    values = xr.concat([trace.values for trace in traces], pairs)
    return PatchResult(values, clean, corrupted, state, checks, max(trace.noise for trace in traces), told)


def _facts(model: WrappedModel, rows: Sequence[tuple[Any, Any, Any]]) -> tuple[list[_Fact], list[str]]:
    """The prompts that the model answers as expected, and what is said of the others."""
    facts, dropped = [], []
    for prompt, subject, expected in rows:
        tokens = tokenize_prompt(model, prompt, "traced")
        with torch.no_grad(), model.lock:
            own = int(model.logits_at(model.inputs(tokens), (len(tokens) - 1,))[0, 0].argmax())
        wanted = tokenize_pair(model, PromptPair(tokens, answer=expected)).answers if expected is not None else (own,)
        if own not in wanted:
            shown = ", ".join(repr(model.token_text(token)) for token in wanted)
            dropped.append(f"The model answers {prompt!r} by {model.token_text(own)!r}, not by {shown}.")
            continue
        where = find_span(model, tokens, prompt, subject, "The subject")
        alone = model.encode(subject, special=False) if isinstance(subject, str) else [tokens[position] for position in where]
        facts.append(_Fact(prompt, tokens, where, alone, own))
    if not facts:
        raise PromptError(
            f"There is no fact to trace. {dropped[0] if dropped else ''}", "Leave answer out to trace the model's own answer."
        )
    return facts, dropped


def _subject_of(pair: PromptPair, number: int) -> tuple[Text, Span, Answer | None]:
    if not pair.roles or "subject" not in pair.roles:
        raise PromptError(f"Pair {number} has no subject.", "Give PromptPair(..., roles={'subject': 'The Space Needle'}).")
    return token_ids(pair.clean), both_spans(pair.roles["subject"])[0], pair.answer


def _embedding_std(model: WrappedModel, facts: Sequence[_Fact]) -> float:
    """Standard deviation of all elements of the embeddings of all subjects."""
    embedding = model.hf.get_input_embeddings()  # type: ignore[operator]
    with torch.no_grad(), model.lock:
        found = [embedding(torch.tensor([fact.alone], device=model.device))[0] for fact in facts]  # type: ignore[operator]
    return float(torch.cat(found).float().std())


def _code(model: WrappedModel, asked: Sequence[Any], options: Mapping[str, Any]) -> str:
    """The script that traces the same again.

    Args:
        asked: (prompt, subject, answer), or the pairs of a set.
        options: those of `causal_trace`; what is not its default is written down.
    """
    defaults = signature(causal_trace).parameters
    changed = [f", {name}={shown(value)}" for name, value in options.items() if shown(value) != shown(defaults[name].default)]
    if isinstance(asked, tuple):
        prompt, subject, answer = asked
        pairs, given = "", f"{(prompt if isinstance(prompt, str) else list(map(int, prompt)))!r}, {shown(subject)}"
        given += "" if answer is None else f", {shown(answer)}"
    else:
        pairs, given = f"pairs = {shown(list(asked))}\n", "pairs"
    return f"import patchwidget as pw\n\nmodel = {model.code}\n{pairs}result = pw.causal_trace(model, {given}{''.join(changed)})\n"


def _check_kinds(kinds: Sequence[str]) -> None:
    strange = [kind for kind in kinds if kind not in SITES]
    if strange or not kinds:
        raise PatchError(f"kinds={list(kinds)!r} is not known.", f"Choose of {', '.join(SITES)}.")
