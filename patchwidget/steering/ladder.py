"""A dose-response curve: what comes next after a prompt at each of many strengths."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import xarray as xr
from torch import Tensor

from patchwidget.engine.edits import Cell
from patchwidget.errors import PatchError, PromptError
from patchwidget.given import plain
from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.answers import Answer
from patchwidget.runs.checks import Check
from patchwidget.runs.pair_runs import PairRuns

from .finite import check_finite
from .generation import kl_divergence
from .plots import plot_ladder
from .prompts import Prompt, read_prompts
from .rungs import climb
from .steer import Steers, edits_of, in_order, steers_of


@dataclass(frozen=True, eq=False)
class Ladder:
    """The next-token distribution at each strength.

    Attributes:
        strengths: float32 [n].
        kl: D(unsteered || steered) of the next-token distributions, in nats; float32 [n].
        top: at each strength the likeliest next tokens, as (text, probability), likeliest first.
        base_top: the same without steering.
        probabilities: of the tokens that were asked for, or else of those that are likeliest somewhere; float32 (strength, token), the token's
            text and its id as coordinates.
        base_probabilities: the same without steering; float32 (token).
        info: model, prompt's tokens, executor ("packed" or "hooked"), what was steered.
        checks: what the numbers were checked by; `ok` tells whether all of them passed.
    """

    strengths: np.ndarray
    kl: np.ndarray
    top: list[list[tuple[str, float]]]
    base_top: list[tuple[str, float]]
    probabilities: xr.DataArray
    base_probabilities: xr.DataArray
    info: dict[str, Any] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)

    def to_frame(self) -> pd.DataFrame:
        """One row per strength: the likeliest token and its probability, KL, and the probability of each token followed."""
        frame = pd.DataFrame({"strength": self.strengths, "kl": self.kl})
        frame["likeliest"] = [top[0][0] for top in self.top]
        for column, text in enumerate(self.probabilities["token"].to_numpy().tolist()):
            frame[f"p({text!r})"] = self.probabilities.to_numpy()[:, column]
        return frame

    def plot(self) -> go.Figure:
        """A plotly figure: probabilities against strength, and the KL on an axis of its own."""
        return plot_ladder(self.strengths, self.probabilities, self.kl, self.info["model"])

    def __repr__(self) -> str:
        low, high = self.strengths.min(), self.strengths.max()
        failed = "" if self.ok else f", FAILED: {', '.join(check.name for check in self.checks if not check.ok)}"
        kl, executor = self.kl.max(), self.info.get("executor")
        return f"Ladder({len(self.strengths)} strengths from {low:g} to {high:g}, KL up to {kl:.3g} nats, {executor}{failed})"


def make_ladder(
    model: WrappedModel,
    prompt: Prompt,
    steer: Steers,
    strengths: Iterable[float],
    *,
    tokens: Answer | None = None,
    k: int = 10,
    vary: int = 0,
    chat: bool = False,
    executor: str = "auto",
    runs: PairRuns | None = None,
) -> Ladder:
    """What comes next after a prompt at each of many strengths.

    One run of the prompt is recorded; every strength is then a cell of the packed executor, computed from the first steered layer and position
    on, all in the same pass. The prompt without steering and one of the strengths are checked against plain forwards of the model as it is.
    Models that the packed executor can't run, or for which it does not pass the check, take one batched forward of each strength.

    Args:
        prompt: a text, token ids, or a conversation (list of {"role", "content"}).
        steer: a Steer or a vector, or several.
        strengths: finite numbers. They take the place of the steer's own.
        tokens: which tokens' probabilities to follow: a text of one token, several, or ids; or a number, for all that are among so many likeliest
            at any strength or without steering. Those that are the likeliest at any strength if not given, eight at most.
        k: how many likeliest tokens to keep at each strength.
        vary: which of several steers the strengths are for; the others keep theirs.
        executor: "auto", "packed" or "hooked"; "packed" insists, and a check that fails is told in `ok`.
        chat: a text is what the user says, and goes through the chat template.
        runs: what an earlier ladder of the same prompt had in `info["runs"]`, so that it need not be recorded again if the model is the same.

    Raises:
        PatchError: no strengths, one that is not finite, nothing to steer, or a vector that does not fit.
        PromptError: several prompts, or a token that is not one.
        ModelError: executor="packed" on a model that it can't run; or the logits are not finite at a strength.

    Warns where a check fails.
    """
    prompts, several = read_prompts(model, prompt, chat=chat)
    tokens = plain(tokens)
    if several:
        raise PromptError("A ladder is of one prompt, and a list was given.", "Make one ladder each.")
    steers, strengths = steers_of(steer), [float(strength) for strength in strengths]
    if not strengths or not all(map(math.isfinite, strengths)):
        raise PatchError(f"The strengths are {strengths}.", "Give at least one, all finite.")
    if k < 1 or (isinstance(tokens, int) and tokens < 1):
        raise PatchError(
            f"k={k} and tokens={tokens} can't be followed.", "Give numbers from 1 on; a single token by its id as tokens=[id]."
        )
    if not 0 <= vary < len(steers):
        raise PatchError(f"vary={vary}, and there are {len(steers)} steers.", "Give something to steer, and which of them varies.")
    length = len(prompts[0])
    bound = [steer.bound(model, [length]) for steer in steers]

    def cell(strength: float) -> Cell:
        chosen = [replace(item, strength=strength) if i == vary else item for i, items in enumerate(bound) for item in items]
        return Cell(edits_of(in_order(chosen), length))

    rungs = climb(model, prompts[0], [cell(strength) for strength in strengths], executor, runs)
    log_probs, runs = rungs.log_probs, rungs.runs
    for strength, row in zip([0.0, *strengths], log_probs, strict=True):
        check_finite(model, row, steered=strength != 0, where=f"at strength {strength:g}")
    tokens = [tokens] if isinstance(tokens, str) else tokens
    among = 1 if tokens is None else tokens if isinstance(tokens, int) else 0
    best = log_probs.topk(min(max(k, among), log_probs.shape[-1]))
    if isinstance(tokens, Sequence):
        followed = [_token(model, token) for token in tokens]
    else:
        followed = _likeliest(log_probs, best.indices[:, :among])[: 8 if tokens is None else None]
    texts = {token: model.token_text(token) for token in {*followed, *best.indices[:, :k].flatten().tolist()}}
    base_top, *top = (
        [(texts[token], p) for token, p in zip(*row, strict=True)]
        for row in zip(best.indices[:, :k].tolist(), best.values[:, :k].exp().tolist(), strict=True)
    )
    coords = {"token": [texts[token] for token in followed], "id": ("token", followed)}
    probabilities = log_probs[:, followed].exp().numpy()
    return Ladder(
        np.array(strengths, np.float32),
        kl_divergence(log_probs[0], log_probs[1:]).numpy(),
        top,
        base_top,
        xr.DataArray(probabilities[1:], dims=("strength", "token"), coords={"strength": strengths, **coords}, name="probability"),
        xr.DataArray(probabilities[0], dims="token", coords=coords, name="probability"),
        {
            "model": model.name,
            "tokens": runs.pair.corrupted_tokens,
            "executor": rungs.executor,
            "steers": steers,
            "vary": vary,
            "runs": runs,
        },
        rungs.checks,
    )


def _likeliest(log_probs: Tensor, best: Tensor) -> list[int]:
    """The tokens in `best`, each once; those with the highest probability anywhere first."""
    tokens = best.unique()
    return tokens[log_probs[:, tokens].amax(0).argsort(descending=True)].tolist()


def _token(model: WrappedModel, token: str | int) -> int:
    if isinstance(token, int):
        if not 0 <= token < model.vocab_size:
            raise PromptError(f"Token {token} does not exist: there are 0 to {model.vocab_size - 1}.", "Use the model's own tokenizer.")
        return token
    pieces = model.encode(token, special=False)
    if len(pieces) != 1:
        raise PromptError(
            f"{token!r} is {len(pieces)} tokens for this tokenizer, and it has to be one.", "Mind the leading space, or give an id."
        )
    return pieces[0]
