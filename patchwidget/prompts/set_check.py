"""A set of pairs put to the test on one model: what fits, whether the model does the task, and whether the pairs differ in no more than they need."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from patchwidget.errors import PatchError, PromptError
from patchwidget.models.wrapped import WrappedModel

from .pair import PromptPair, tokenize_pair
from .token_pair import TokenPair

NEEDLESS = 0.2  # a stretch is not needed if the gap without it is the same but for this share
AT_ONCE = 16  # prompts in one forward
STRETCHES = 8  # pairs with more than so many are plainly not minimal


@dataclass(frozen=True, eq=False)
class SetCheck:
    """What a set of pairs is good for on one model.

    Attributes:
        fitting: the pairs that fit; an Experiment takes them.
        dropped: (number, reason) of those that do not.
        clean_accuracy, corrupted_accuracy: the share of pairs whose answer is likelier than the distractor after the clean prompt, and the
            distractor likelier than the answer after the corrupted one; NaN where there are none to compare.
        top_accuracy: the share of pairs whose answer is the likeliest of all tokens after the clean prompt.
        gaps: by fitting pair, logit difference of the clean run minus that of the corrupted run.
        warnings: sentences about pairs that differ in more than they need, and about gaps that are none.
    """

    fitting: Sequence[PromptPair]
    dropped: list[tuple[int, str]]
    clean_accuracy: float
    corrupted_accuracy: float
    top_accuracy: float
    gaps: np.ndarray
    warnings: list[str] = field(default_factory=list)

    def to_frame(self) -> pd.DataFrame:
        """One row per fitting pair: its prompts, answers, further columns and gap."""
        names = ("clean", "corrupted", "answer", "distractor")
        rows = [{name: getattr(pair, name) for name in names} | dict(pair.meta or {}) for pair in self.fitting]
        return pd.DataFrame(rows).assign(gap=self.gaps)

    def __repr__(self) -> str:
        total = len(self.fitting) + len(self.dropped)
        lines = [f"{len(self.fitting)} of {total} pairs fit."]
        reasons = Counter(reason.split("\n")[0] for _, reason in self.dropped)
        lines += [f"  dropped {count}: {reason}" for reason, count in reasons.most_common(3)]
        if len(self.fitting):
            lines.append(
                f"Accuracy: clean {self.clean_accuracy:.0%}, corrupted {self.corrupted_accuracy:.0%}; "
                f"the answer is the likeliest token of all in {self.top_accuracy:.0%}."
            )
            lines.append(f"Logit-difference gap: mean {np.mean(self.gaps):.2f}, from {np.min(self.gaps):.2f} to {np.max(self.gaps):.2f}.")
        return "\n".join(lines + [f"Warning: {text}" for text in self.warnings])


def check_set(model: WrappedModel, prompts: Sequence[PromptPair]) -> SetCheck:
    """See `PromptSet.check`.

    Raises:
        PromptError: the set is empty, or no pair of it fits.
    """
    fitting, dropped = split_fitting(model, prompts)
    pairs = [pair for _, pair, _ in fitting]
    contrasted = [i for i, pair in enumerate(pairs) if pair.answers and pair.distractors]
    clean, corrupted, top = _differences(model, pairs).T
    right, wrong = clean[contrasted] > 0, corrupted[contrasted] < 0
    gaps = clean - corrupted
    kept = [prompt for _, _, prompt in fitting]
    warnings = [*_gap_warnings(gaps), *_warnings_of_difference(model, [(i, pair) for i, pair, _ in fitting], gaps)]
    share = lambda found: float(np.mean(found)) if len(found) else float("nan")  # noqa: E731
    return SetCheck(kept, dropped, share(right), share(wrong), share(top == 1), gaps, warnings)


def split_fitting(
    model: WrappedModel, prompts: Sequence[PromptPair]
) -> tuple[list[tuple[int, TokenPair, PromptPair]], list[tuple[int, str]]]:
    """The pairs that fit, with their numbers and as tokens, and the numbers of those that do not, with why; PromptError if none fits."""
    fitting, dropped = [], []
    for number, prompt in enumerate(prompts):
        try:
            fitting.append((number, tokenize_pair(model, prompt), prompt))
        except PatchError as error:
            dropped.append((number, error.message))
    if not fitting:
        first = f" The first: {dropped[0][1]}" if dropped else ""
        hint = "Choose words that its tokenizer knows as single tokens, and prompts of equal length."
        raise PromptError(f"None of the {len(prompts)} pairs fits {model.name}.{first}", hint)
    return fitting, dropped


def _differences(model: WrappedModel, pairs: Sequence[TokenPair]) -> np.ndarray:
    """[pairs, 3]: logit difference of the clean and of the corrupted run, and 1 if an answer is the likeliest token after the clean prompt."""
    by_length: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for i, pair in enumerate(pairs):
        for run in ("clean", "corrupted"):
            by_length[pair.length_of(run)].append((i, run))
    found = np.zeros((len(pairs), 3))
    for alike in by_length.values():
        for some in (alike[k : k + AT_ONCE] for k in range(0, len(alike), AT_ONCE)):
            for (i, run), logits in zip(some, _last_logits(model, [getattr(pairs[i], run) for i, run in some]), strict=True):
                found[i, int(run == "corrupted")] = _contrast(logits, pairs[i])
                if run == "clean":
                    found[i, 2] = int(logits.argmax()) in pairs[i].answers
    return found


def _last_logits(model: WrappedModel, prompts: Sequence[Sequence[int] | torch.Tensor]) -> torch.Tensor:
    """[prompts, vocabulary], for prompts of equal length."""
    inputs = torch.cat([model.inputs(tokens) for tokens in prompts])
    last = 0 if inputs.ndim == 2 and inputs.is_floating_point() else inputs.shape[1] - 1
    with torch.no_grad(), model.lock:
        return model.logits_at(inputs, (last,))[:, 0]


def _contrast(logits: torch.Tensor, pair: TokenPair) -> float:
    """Mean logit of the answers minus mean logit of the distractors, or of all tokens where there are none."""
    answers = logits[list(pair.answers)].mean() if pair.answers else logits.max()
    return float(answers - (logits[list(pair.distractors)].mean() if pair.distractors else logits.mean()))


def _gap_warnings(gaps: np.ndarray) -> Iterator[str]:
    without = [i for i, gap in enumerate(gaps) if not gap > 0]
    if without:
        yield f"{len(without)} of {len(gaps)} pairs have no gap to recover: the clean prompt does not favour the answer more than the corrupted one."


def _warnings_of_difference(model: WrappedModel, pairs: Sequence[tuple[int, TokenPair]], gaps: np.ndarray) -> Iterator[str]:
    """Clean and corrupted prompt should differ in as little as changes the answer: in what else they differ is measured along."""
    needless: dict[int, str] = {}
    for (number, pair), gap in zip(pairs, gaps, strict=True):
        if found := _needless(model, pair, float(gap)):
            needless[number] = found
    if needless:
        number, found = next(iter(needless.items()))
        yield f"{len(needless)} of {len(pairs)} pairs differ in more than they need; pair {number}: {found}."


def _needless(model: WrappedModel, pair: TokenPair, gap: float) -> str | None:
    """What a pair differs in without need: a stretch that can be made equal and the gap stays."""
    if isinstance(pair.clean, torch.Tensor) or pair.shifted:
        return None
    stretches = _stretches(pair.differs)
    if len(stretches) > STRETCHES or sum(pair.differs) > len(pair.differs) / 2:
        return f"{sum(pair.differs)} of its {len(pair.differs)} tokens differ"
    if len(stretches) < 2:
        return None
    restored = [[*pair.corrupted[:a], *pair.clean[a:b], *pair.corrupted[b:]] for a, b in stretches]
    clean, *rest = (_contrast(logits, pair) for logits in _last_logits(model, [list(pair.clean), *restored]))
    for (a, b), value in zip(stretches, rest, strict=True):
        if abs((clean - value) - gap) <= NEEDLESS * abs(gap):
            words = "".join(pair.clean_tokens[a:b]), "".join(pair.corrupted_tokens[a:b])
            return f"the gap is much the same where both have {words[0]!r} instead of {words[1]!r}"
    return None


def _stretches(differs: Sequence[bool]) -> list[tuple[int, int]]:
    """The stretches of differing tokens, (first, end)."""
    edges = [i for i, (before, now) in enumerate(zip([False, *differs], [*differs, False], strict=True)) if before != now]
    return list(zip(edges[::2], edges[1::2], strict=True))
