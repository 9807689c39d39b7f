"""What each kind of view measures and how to read it: one paragraph each, shown under the view."""

from typing import Any

from .menus import metric_label

_WHAT = {
    "resid_pre": "the residual stream entering one layer",
    "resid_mid": "the residual stream between attention and MLP of one layer",
    "resid_post": "the residual stream leaving one layer",
    "attn_out": "what one layer's attention adds to the residual stream",
    "mlp_out": "what one layer's MLP adds to the residual stream",
    "z": "one head's output",
    "q": "one head's queries",
    "k": "one key/value head's keys",
    "v": "one key/value head's values",
    "k_per_head": "the keys that one head sees",
    "v_per_head": "the values that one head sees",
    "pattern": "one head's attention pattern",
    "mlp_post": "one neuron's activation",
}

_READ = {
    "denoise": (
        "1: it brings back the whole difference between the two prompts, so it suffices by itself; 0: it changes nothing; above 1: it goes "
        "beyond the clean run; below 0: it pushes the other way. What suffices need not be necessary: the same information may run "
        "elsewhere too, which the noise direction shows."
    ),
    "noise": (
        "1: nothing is lost; 0: the whole difference between the two prompts is lost, so the answer can't do without it: it is necessary; "
        "below 0: it goes beyond the corrupted run; above 1: the clean answer gets even stronger. What is necessary need not suffice by "
        "itself, which the denoise direction shows."
    ),
}

_ESTIMATES = "Marked cells are estimates from one backward pass, until the exact run takes their place."


def explain_grid(site: str, where: str, experiment: Any) -> str:
    """Of a grid whose cells are patches of a site; `where` says at which place each one is."""
    what = _WHAT.get(site, "the output of one module")
    ends = explain_mean(experiment) if experiment.runs.several else _ESTIMATES
    source, base = ("clean", "corrupted") if experiment.direction == "denoise" else ("corrupted", "clean")
    return (
        f"Each cell is a run of the {base} prompt in which {what}, {where}, is replaced by what it is in the {source} run. "
        f"Recovery says where the {metric_label(experiment.runs.metric_name)} ends up between the two: {_READ[experiment.direction]} {ends}"
    )


def over_pairs(n: int) -> str:
    """What a grid over so many pairs shows."""
    return f"mean of {n} pair{'s' if n > 1 else ''}"


def explain_mean(experiment: Any) -> str:
    """Of a grid over several pairs: what is added up, what an outline says."""
    return (
        f"The grid is the {over_pairs(len(experiment.pairs))}: where the mean {metric_label(experiment.runs.metric_name)} of the patched runs lies "
        "between the means of both runs. Until all pairs are in, it is the mean of those done, and marked as an estimate. What is outlined moves "
        "the metric beyond chance: in a paired permutation test that flips the sign of each pair's change, with about 5 % of the outlined cells "
        "expected to be there by chance all the same (Benjamini-Hochberg)."
    )


def explain_parts(layer: int, head: int, experiment: Any) -> str:
    """Of the parts of one head by position."""
    source, base = ("clean", "corrupted") if experiment.direction == "denoise" else ("corrupted", "clean")
    return (
        f"What head {layer}.{head} does depends on its queries (what it looks for), keys (what it finds), values (what it takes along) and the "
        f"pattern that queries and keys make. Each cell is a run of the {base} prompt in which one of these, at one token, is what it is in "
        f"the {source} run: it tells whether the head's effect comes from where it looks or from what is there. {_READ[experiment.direction]}"
    )


def explain_paths(layer: int, head: int, letter: str, experiment: Any) -> str:
    """Of the paths into one input of a head."""
    name = {"q": "queries", "k": "keys", "v": "values"}[letter]
    source, base = ("clean", "corrupted") if experiment.direction == "denoise" else ("corrupted", "clean")
    return (
        f"Each cell is a path: one earlier head or MLP is given its activation from the {source} run, the other heads are held as they are in "
        f"the {base} run, and only the {name} of head {layer}.{head} hear of it (path patching, Wang et al. 2022). It tells which earlier "
        f"component the {name} get their information from. {_READ[experiment.direction]}"
    )


def explain_attention(pos: int | None) -> str:
    """Of where a head looks."""
    shown = "from one token to each token up to it" if pos is not None else "from each token (rows) to each token up to it (columns)"
    return (
        f"The head's attention after the softmax, {shown}, in both runs; each row sums to 1. It shows where the head looks, not what its looking "
        "there does: for that, patch single entries, or look at the paths into its queries, keys and values."
    )


def explain_selection(effect: float, parts: list[float], direction: str) -> str:
    """Of a joint effect beside the effects of its parts."""
    verb = "recovers" if direction == "denoise" else "takes away"
    if len(parts) == 1:
        return f"Patching this place alone {verb} {effect:.2f} of the difference between the two prompts."
    synergy = effect - sum(parts)
    if abs(synergy) <= 0.05:
        meaning = "The parts work independently."
    elif synergy > 0:
        meaning = "The whole is more than its parts: they need one another."
    else:
        meaning = "The whole is less than its parts: they do some of the same work."
    return (
        f"Patching these {len(parts)} places together {verb} {effect:.2f} of the difference between the two prompts; "
        f"one by one they add up to {sum(parts):.2f}. {meaning}"
    )
