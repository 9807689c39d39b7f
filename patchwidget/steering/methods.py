"""Making directions from examples: the activations of positive and negative prompts, and the methods that tell them apart."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from patchwidget.engine.recording import Recording, record
from patchwidget.engine.sites import check_site, layers_with
from patchwidget.errors import PatchError, PromptError, SiteError
from patchwidget.models.wrapped import WrappedModel
from patchwidget.prompts.pair import Text, tokenize_prompt

# "last", "mean", "all", "answer", "positions", or a span (start, stop) of positions as in a Python slice
TokenRule = str | tuple[int | None, int | None]

# What is as wide as the residual stream: vectors live at these sites only.
STEERED_SITES = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out")

TOKEN_RULES = {
    "last": "the last token of each prompt",
    "mean": "the mean over the tokens of each prompt",
    "all": "every token of every prompt, each an example of its own",
    "answer": "the last token in which the two prompts of a pair differ, counted from their ends",
    "positions": "every position by itself: the vector has one row per position",
}


@dataclass(frozen=True)
class Method:
    """How a direction is made.

    Attributes:
        direction: (positive [n, d], negative [m, d]), float64 -> [d].
        paired: example i of one side belongs to example i of the other.
        token_rule: the one it is defined with; None where any will do.
    """

    direction: Callable[[Tensor, Tensor], Tensor]
    paired: bool = False
    token_rule: str | None = None


@dataclass(frozen=True, eq=False)
class Extracted:
    """Directions by layer, the residual stream's median norm by layer, and the rule by which tokens were read."""

    vectors: dict[int, Tensor]
    residual_norms: dict[int, float]
    token_rule: TokenRule


def extract(
    model: WrappedModel,
    positive: Sequence[Text],
    negative: Sequence[Text],
    layers: Sequence[int],
    *,
    method: str,
    site: str,
    token_rule: TokenRule | None,
) -> Extracted:
    """Run the examples and make one direction [d_model] per layer; [positions, d_model] with the rule "positions".

    Raises:
        PromptError: a side is empty, both are the same or have the same activations, or do not form pairs where pairs are needed.
        SiteError: no such layer or site.
        PatchError: no such method or rule, or activations that are not finite.
        ModelError: the model is in training mode.
    """
    how = find_method(method)
    rule = _checked_rule(method, how, token_rule)
    check_steered_site(site)
    for layer in layers:
        check_site(model, site, layer)
    sides = [_tokens(model, examples, name) for examples, name in [(positive, "positive"), (negative, "negative")]]
    if sorted(sides[0]) == sorted(sides[1]):
        raise PromptError("The positive and the negative examples are the same, so nothing tells them apart.", "Change one side.")
    if how.paired or rule in ("answer", "positions"):
        _check_paired(sides, method, rule)
    if rule == "positions":
        sides = _padded_pair(model, sides)
    model.check_ready()
    # paired rules look at the partner's tokens
    partners = [sides[1], sides[0]] if len(sides[0]) == len(sides[1]) else [sides[0], sides[1]]
    runs = [[record(model, tokens, kept_sites(site)) for tokens in side] for side in sides]
    norms = residual_norms(model, [run for side in runs for run in side], site)
    vectors: dict[int, Tensor] = {}
    for layer in layers:
        acts = [
            torch.cat([_read(run.at(site, layer), tokens, partner, rule) for run, tokens, partner in zip(*columns, strict=True)])
            for columns in zip(runs, sides, partners, strict=True)
        ]
        if how.paired and len(acts[0]) != len(acts[1]):
            raise PromptError(
                f"{method} compares pairs token by token, and with the rule {rule!r} the sides have {len(acts[0])} and {len(acts[1])}.",
                "Give pairs of equally many tokens, or use the rule 'last' or 'mean'.",
            )
        vectors[layer] = how.direction(acts[0].double().cpu(), acts[1].double().cpu()).float()
        if not torch.isfinite(vectors[layer]).all():
            raise PatchError(
                f"The activations of layer {layer} are not finite (NaN or infinite), so no vector can be made.",
                "Load the model in float32 or bfloat16, or check its weights.",
            )
        if not vectors[layer].any():
            raise PromptError(
                f"The positive and the negative examples have the same activations at layer {layer} ({site}, rule {rule!r}).",
                "With the rule 'last' the two sides have to differ at or before their last token.",
            )
    return Extracted(vectors, norms, rule)


def find_method(name: str) -> Method:
    """The method of this name; PatchError where there is none."""
    if name not in METHODS:
        raise PatchError(f"There is no method {name!r}.", f"Use one of {', '.join(METHODS)}.")
    return METHODS[name]


def check_steered_site(site: str) -> None:
    """Raise SiteError unless vectors live there."""
    if site not in STEERED_SITES:
        raise SiteError(f"A steering vector can't live at {site!r}.", f"Choose one of {', '.join(STEERED_SITES)}.")


def kept_sites(site: str) -> list[str]:
    """What `record` has to keep beside the residual stream between blocks, which is always there."""
    return [] if site in ("resid_pre", "resid_post") else [site]


def residual_norms(model: WrappedModel, runs: Sequence[Recording], site: str) -> dict[int, float]:
    """The residual stream's median L2 norm in each layer, over the tokens of all runs.

    Of the stream at the site itself; for attn_out and mlp_out, which are added to it, of the stream leaving the block. A median, since the
    first token of many models has a norm a hundred times that of the others.
    """
    stream = site if site.startswith("resid") else "resid_post"
    return {
        layer: float(torch.cat([run.at(stream, layer).float().norm(dim=-1).cpu() for run in runs]).median())
        for layer in layers_with(model, stream)
    }


# ---- which tokens


def check_rule(rule: TokenRule) -> None:
    """Raise PatchError unless it is a token rule."""
    if isinstance(rule, str) and rule not in TOKEN_RULES:
        known = "; ".join(f"{name!r} ({meaning})" for name, meaning in TOKEN_RULES.items())
        raise PatchError(f"There is no token rule {rule!r}.", f"Use {known}; or a span (start, stop).")


def _checked_rule(method: str, how: Method, rule: TokenRule | None) -> TokenRule:
    if how.token_rule is not None and rule not in (None, how.token_rule):
        raise PatchError(f"{method} is defined with the token rule {how.token_rule!r}, and {rule!r} was given.", "Leave token_rule out.")
    chosen = rule or how.token_rule or "last"
    check_rule(chosen)
    if chosen == "positions" and how.token_rule != chosen:
        raise PatchError(f"The token rule 'positions' is that of actadd, and the method is {method}.", "Use method='actadd'.")
    return chosen


def _read(rows: Tensor, tokens: list[int], partner: list[int], rule: TokenRule) -> Tensor:
    """The examples in one run: rows [T, d] -> [n, d]."""
    if rule == "last":
        return rows[-1:]
    if rule == "mean":
        return rows.mean(0, keepdim=True)
    if rule in ("all", "positions"):
        return rows
    if rule == "answer":
        place = _answer_place(tokens, partner)
        return rows[place : place + 1 or None]
    span = rows[slice(*rule)]
    if not len(span):
        raise PromptError(f"The span {rule} holds no token of an example of {len(tokens)} tokens.", "Choose one inside of every example.")
    return span.mean(0, keepdim=True)


def _answer_place(tokens: list[int], partner: list[int]) -> int:
    """The last place, as a negative index, at which two prompts differ."""
    for place in range(-1, -1 - min(len(tokens), len(partner)), -1):
        if tokens[place] != partner[place]:
            return place
    raise PromptError("The prompts of a pair are the same up to their beginning, so there is no answer token.", "Let them differ in it.")


def _tokens(model: WrappedModel, examples: Sequence[Text], name: str) -> list[list[int]]:
    several = [examples] if isinstance(examples, str) else list(examples)
    if not several:
        raise PromptError(f"The list of {name} examples is empty.", "Give at least one prompt on each side.")
    if all(isinstance(item, int) for item in several):
        raise PromptError(f"The {name} examples are numbers.", "Give a list of prompts: texts, or lists of token ids.")
    return [tokenize_prompt(model, text, name) for text in several]


def _check_paired(sides: Sequence[list[list[int]]], method: str, rule: TokenRule) -> None:
    positive, negative = sides
    if len(positive) != len(negative):
        raise PromptError(
            f"{method} (token rule {rule!r}) takes pairs, and there are {len(positive)} positive and {len(negative)} negative examples.",
            "Give equally many; the first belongs to the first, and so on.",
        )
    same = [i for i, (a, b) in enumerate(zip(positive, negative, strict=True)) if a == b]
    if same:
        raise PromptError(f"Pair {same[0]} has the same positive and negative prompt.", "Change one of them.")
    if method == "actadd" and len(positive) > 1:
        raise PromptError(f"actadd takes one pair, and {len(positive)} were given.", "Use mean_diff for several.")


def _padded_pair(model: WrappedModel, sides: Sequence[list[list[int]]]) -> list[list[list[int]]]:
    """One pair, the shorter prompt padded with spaces on the right to the length of the other (Turner et al., section 3)."""
    longest = max(len(side[0]) for side in sides)
    if all(len(side[0]) == longest for side in sides):
        return list(sides)
    space = model.encode(" ", special=False) if model.tokenizer is not None else []
    if len(space) != 1:
        raise PromptError(
            f"The prompts have {' and '.join(str(len(side[0])) for side in sides)} tokens, and a space is not one token here to pad with.",
            "Choose prompts of equally many tokens.",
        )
    return [[side[0] + space * (longest - len(side[0]))] for side in sides]


# ---- which direction


def _mean_difference(positive: Tensor, negative: Tensor) -> Tensor:
    return positive.mean(0) - negative.mean(0)


def _by_position(positive: Tensor, negative: Tensor) -> Tensor:
    return positive - negative


def _principal(positive: Tensor, negative: Tensor) -> Tensor:
    """First principal direction of the pairs' differences, not centred: centring would take out the mean, which is what is looked for.

    As long as the root mean square of the differences along it, and pointing the way of their mean.
    """
    differences = positive - negative
    _, sizes, directions = torch.linalg.svd(differences, full_matrices=False)
    sign = -1.0 if differences.mean(0) @ directions[0] < 0 else 1.0
    return sign * directions[0] * sizes[0] / len(differences) ** 0.5


def _probe_normal(positive: Tensor, negative: Tensor) -> Tensor:
    """The normal of a logistic-regression probe (L2, C = 1, activations centred and divided by their overall standard deviation).

    As long as the mean difference along it, so that strengths compare with those of `mean_diff`.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise PatchError("The method logistic needs scikit-learn.", "Run: pip install 'patchwidget[probe]'") from error
    examples = torch.cat([positive, negative])
    examples = examples - examples.mean(0)
    spread = examples.std()
    if not (torch.isfinite(spread) and spread > 0):
        return _mean_difference(positive, negative)  # zero or not finite, which is told where all methods' results are looked at
    labels = [1] * len(positive) + [0] * len(negative)
    probe = LogisticRegression(max_iter=10_000).fit((examples / spread).numpy(), labels)
    normal = torch.from_numpy(probe.coef_[0]).to(positive)
    normal = normal / normal.norm()
    return normal * (_mean_difference(positive, negative) @ normal)


METHODS: Mapping[str, Method] = {
    "mean_diff": Method(_mean_difference),
    "pca": Method(_principal, paired=True),
    "caa": Method(_mean_difference, paired=True, token_rule="answer"),  # noqa: S106 - no password
    "actadd": Method(_by_position, paired=True, token_rule="positions"),  # noqa: S106 - no password
    "logistic": Method(_probe_normal),
}
