"""Each question that can be asked of an experiment, as a view: its axes, its words, and the sweeps that fill it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from patchwidget.errors import PatchError, SiteError
from patchwidget.experiments.paths.nodes import Node
from patchwidget.experiments.reproduce import script_with
from patchwidget.widget.transport.protocol import Message

from .attention import AttentionView
from .axes import check_place, head_axis, place_axis, site_name, token_labels, token_name
from .drilldown import ONE_PAIR, ONE_PAIR_ONLY, Steps
from .experiment_pool import Setting
from .explanations import explain_attention, explain_parts, explain_paths
from .grid_questions import LETTERS, Asked, best_first, canonical, swept_grid
from .menus import NEURONS_ARE_DEEPER
from .steer_step import steer_step
from .tasks import Once, Work
from .views import Axis, GridView, View

_PARTS = {"q": "q", "k": "k_per_head", "v": "v_per_head", "pattern": "pattern", "z": "z"}
_PLACES = {"pos": "token", "dest_pos": "token", "role": "role"}

LAYERS_AT_ONCE = 5
"""Of senders, in one pass of path patching."""


def make_view(experiment: Any, steps: Steps, setting: Setting, view: str, method: str, params: Message) -> View:
    """The view that answers a question, not yet filled.

    Raises:
        PatchError: there is no such place in this model or these prompts.
    """
    asked = (experiment, steps.at(experiment), setting, view)
    for name, place in params.items():
        if isinstance(place, int):
            check_place(experiment, name, place)
    if experiment.runs.several and method in ONE_PAIR:
        raise PatchError(f"There is no mean of {ONE_PAIR[method]} over several pairs.", ONE_PAIR_ONLY)
    return _MAKERS[method](asked, **params)


def _main(asked: Asked) -> GridView:
    experiment, steps, setting, _ = asked
    site = setting.site
    if site == "mlp_post":
        raise SiteError("Neurons can't be the main grid's site.", NEURONS_ARE_DEEPER)
    free = [dim for dim in experiment.start(site).dims if dim != "pair"]
    positions = "all" if len(free) > 2 else "roles" if place_axis(experiment) == "role" else "each"
    rows, cols = ("", *(dim for dim in experiment.start(site, positions=positions).dims if dim != "pair"))[-2:]
    if (rows, cols) in (("layer", "pos"), ("layer", "role")):
        offered, words = [*steps.of_tokens(), *steer_step(experiment, site)], f"at one layer and one {_PLACES[cols]}"
    elif cols in ("head", "kv_head"):
        offered, words = steps.of_heads(None, cols), "at all tokens at once"
    else:
        offered, words = [], f"at one {_PLACES[cols]}"
    names = [{**_PLACES, "kv_head": "key/value head"}.get(dim, dim) for dim in (rows, cols) if dim]
    title = f"Recovery by {' and '.join(names)}"
    return swept_grid(
        asked, "set", {}, site, {"positions": positions}, rows, cols, title=title, crumb=site, words=words, steps=offered, patch={}
    )


def _heads(asked: Asked, site: str, pos: int | str | None) -> GridView:
    experiment, steps, *_ = asked
    where = {"positions": "all" if pos is None else [pos]}
    axis = head_axis(experiment, site)
    named = "Heads" if site == "z" else f"Heads' {site_name(site)}"
    words = f"at {token_name(experiment, pos)}"
    return swept_grid(
        asked,
        "heads",
        {"site": site, "pos": pos},
        site,
        where,
        "layer",
        axis,
        title=f"{named} {words}",
        crumb=named.lower(),
        words=words,
        steps=steps.of_heads(pos, axis),
        patch=None if isinstance(pos, str) else {} if pos is None else {"pos": pos},
    )


def _positions(asked: Asked, site: str, layer: int) -> GridView:
    experiment, steps, *_ = asked
    axis, place = head_axis(experiment, site), place_axis(experiment)
    if site == "pattern" and place == "pos":
        place = "dest_pos"
    named = "Heads" if site == "z" else f"Heads' {site_name(site)}"
    return swept_grid(
        asked,
        "positions",
        {"site": site, "layer": layer},
        site,
        {"layers": [layer], "positions": "roles" if place == "role" else "each"},
        axis,
        place,
        title=f"{named} of layer {layer} by {_PLACES[place]}",
        crumb=f"{named.lower()} by {_PLACES[place]}",
        words=f"at one {_PLACES[place]}",
        steps=steps.of_positions(layer, axis, place),
        patch={"layer": layer},
    )


def _entries(asked: Asked, layer: int, head: int) -> GridView:
    experiment, steps, *_ = asked
    if place_axis(experiment) == "role":
        raise PatchError(
            "Entries of a pattern can't be counted by roles: the prompts are of unequal length.", "Choose one pair in the menu."
        )
    params = {"layer": layer, "head": head}
    return swept_grid(
        asked,
        "entries",
        params,
        "pattern",
        {"layers": [layer], "heads": [head], "positions": "entries"},
        "dest_pos",
        "src_pos",
        title=f"Pattern of head {layer}.{head}, entry by entry",
        crumb="entries",
        words="from one token (rows) to another (columns)",
        steps=steps.of_head(params, {"pos": "dest_pos"})[:-1],  # all but these entries
        patch=params,
    )


def _neurons(asked: Asked, layer: int, pos: int | str | None) -> GridView:
    words = f"at {token_name(asked[0], pos)}"
    return swept_grid(
        asked,
        "neurons",
        {"layer": layer, "pos": pos},
        "mlp_post",
        {"layers": [layer], "positions": "all" if pos is None else [pos]},
        "layer",
        "neuron",
        title=f"Neurons of layer {layer} {words}",
        crumb="neurons",
        words=words,
        steps=[],
        patch=None if isinstance(pos, str) else {"layer": layer} | ({} if pos is None else {"pos": pos}),
    )


def _parts(asked: Asked, layer: int, head: int) -> GridView:
    experiment, steps, setting, view = asked
    tokens = token_labels(experiment)
    sites = tuple(_PARTS.values())
    return GridView(
        id=view,
        question=canonical("parts", {"layer": layer, "head": head}, setting),
        title=f"Head {layer}.{head} by part and token",
        crumb=f"head {layer}.{head}",
        explain=explain_parts(layer, head, experiment),
        code=script_with(experiment, f"parts = {{site: exp.sweep(site, layers=[{layer}], heads=[{head}]) for site in {sites}}}"),
        steps=steps.of_parts(layer, head),
        rows=Axis("site", len(sites), sites, tuple(_PARTS)),
        cols=Axis("pos", len(tokens), None, tokens),
        patch={"layer": layer, "head": head},
        work=[
            Work(best_first(experiment, site, len(tokens), layers=[layer], heads=[head]), np.arange(len(tokens)) + row * len(tokens))
            for row, site in enumerate(sites)
        ],
    )


def _paths(asked: Asked, layer: int, head: int, site: str) -> GridView:
    experiment, steps, setting, view = asked
    if site not in LETTERS:
        raise SiteError(f"Paths lead into a head's queries, keys or values, not into {site!r}.", "Choose q, k or v.")
    if layer == 0:
        raise SiteError(f"Head {layer}.{head} is in the first layer: nothing comes before it.", "Choose a head of a later layer.")
    letter, model = LETTERS[site], experiment.model
    columns = model.n_heads + 1
    return GridView(
        id=view,
        question=canonical("paths", {"layer": layer, "head": head, "site": letter}, setting),
        title=f"Paths into the {site_name(letter)} of head {layer}.{head}",
        crumb=f"into {letter} of {layer}.{head}",
        explain=explain_paths(layer, head, letter, experiment),
        code=script_with(
            experiment,
            f"receiver = pw.Node({_PARTS[letter]!r}, layer={layer}, head={head})",
            "heads, mlps = (exp.paths(receiver=receiver, senders=senders) for senders in ('z', 'mlp_out'))",
        ),
        steps=steps.of_sender(model.n_heads),
        rows=Axis("layer", layer),
        cols=Axis("sender", columns, (*range(model.n_heads), "mlp"), (*map(str, range(model.n_heads)), "MLP")),
        patch=None,
        work=[
            Work(
                partial(_senders_of, experiment, _PARTS[letter], layer, head, senders),
                np.arange(len(senders) * columns) + senders[0] * columns,
            )
            for senders in _chunks(layer)
        ],
    )


def _attention(asked: Asked, layer: int, head: int, pos: int | None) -> AttentionView:
    experiment, steps, setting, view = asked
    pair = experiment.pair
    return AttentionView(
        id=view,
        question=canonical("attention", {"layer": layer, "head": head, "pos": pos}, setting),
        title=f"Pattern of head {layer}.{head}" if pos is None else f"Head {layer}.{head} attends from {token_name(experiment, pos)}",
        crumb=f"head {layer}.{head}",
        explain=explain_attention(pos),
        code=script_with(experiment, f"row = exp.attention({layer}, {head}, {pos})"),
        steps=steps.of_head({"layer": layer, "head": head}, {})[1:],  # all but where it looks
        layer=layer,
        head=head,
        pos=pos,
        tokens=pair.corrupted_tokens,
        tokens_clean=pair.clean_tokens,
    )


_MAKERS: dict[str, Callable[..., View]] = {
    "set": _main,
    "heads": _heads,
    "positions": _positions,
    "parts": _parts,
    "entries": _entries,
    "neurons": _neurons,
    "paths": _paths,
    "attention": _attention,
}


def _chunks(layers: int) -> list[range]:
    """The layers in runs of a few, the latest first: those are sooner done, and clicks are answered between them."""
    return [range(max(0, end - LAYERS_AT_ONCE), end) for end in range(layers, 0, -LAYERS_AT_ONCE)]


def _senders_of(experiment: Any, site: str, layer: int, head: int, senders: range, *, plain: bool = True) -> Once:
    """The heads and the MLPs of some layers, by the paths from them."""
    heads = range(experiment.model.n_heads)
    nodes = [node for sender in senders for node in (*(Node("z", sender, h) for h in heads), Node("mlp_out", sender))]
    return Once(lambda: experiment.paths(receiver=Node(site, layer, head), senders=nodes, progress=False))
