"""A grid that one sweep fills; of several pairs it shows the mean."""

from collections.abc import Callable
from typing import Any

import numpy as np

from patchwidget.widget.transport.protocol import Message

from .axes import axis_of, token_labels
from .drilldown import Steps
from .experiment_pool import Question, Setting
from .explanations import explain_grid, over_pairs
from .tasks import Work
from .views import Axis, GridView

LETTERS = {"q": "q", "k": "k", "v": "v", "k_per_head": "k", "v_per_head": "v"}
"""Of a head's inputs; keys and values as one query head sees them are asked for by the same letters."""

WORTH_AN_ESTIMATE = 64
"""Cells: fewer are as soon measured as estimated."""

Asked = tuple[Any, Steps, Setting, str]
"""What every question needs: the experiment, the model's steps, the setting, and the id of the view to be."""


def canonical(method: str, params: Message, setting: Setting) -> Question:
    """The question as views are known by; its setting has the site that is measured."""
    if method == "paths" and params["site"] in LETTERS:
        params = {**params, "site": LETTERS[params["site"]]}
    site = params.get("site", {"set": setting.site, "neurons": "mlp_post", "parts": "z"}.get(method, "pattern"))
    return Question.of(method, params, Setting(setting.pair, site, setting.metric, setting.direction))


def swept_grid(
    asked: Asked,
    method: str,
    params: Message,
    site: str,
    where: Message,
    rows: str,
    cols: str,
    *,
    title: str,
    crumb: str,
    words: str,
    steps: list[Message],
    patch: Message | None,
) -> GridView:
    """A grid that one sweep fills: `where` says which, `rows` and `cols` which of its axes are shown; all others have one place."""
    experiment, _, setting, view = asked
    pairs = len(experiment.pairs) if experiment.runs.several else None
    sweep, tokens = experiment.start(site, **where), token_labels(experiment)
    sizes = {dim: size for dim, size in zip(sweep.dims, sweep.shape, strict=True) if dim != "pair"}
    index = dict(zip(sizes, np.indices(tuple(sizes.values())), strict=True))
    places = index[cols] + (index[rows] * sizes[cols] if rows else 0)
    return GridView(
        id=view,
        question=canonical(method, params, setting),
        title=f"{title}, {over_pairs(pairs)}" if pairs else title,
        crumb=crumb,
        explain=explain_grid(site, words, experiment),
        code=sweep.layout.info["code"],
        steps=steps,
        rows=axis_of(rows, sweep.coords[rows], tokens) if rows else Axis("site", 1, (site,)),
        cols=axis_of(cols, sweep.coords[cols], tokens),
        # a role is several tokens, other ones in each prompt: not what a patch can name
        patch=None if patch is None or cols == "role" else {"site": site, **patch},
        pairs=pairs,
        work=[Work(best_first(experiment, site, places.size, **where), places.ravel())],
    )


def best_first(experiment: Any, site: str, cells: int, **where: Any) -> Callable[[], Any]:
    """Starts the sweep that estimates first, where so many cells of one pair are worth it; called with `plain=True` the one that does not."""

    def start(*, plain: bool = False) -> Any:
        order = {} if plain or experiment.runs.several or cells < WORTH_AN_ESTIMATE else {"order": "attribution"}
        return experiment.start(site, **order, **where)

    return start
