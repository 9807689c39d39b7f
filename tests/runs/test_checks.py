"""Every kind of question carries its checks, and faults that are planted into the engine are caught by them."""

from functools import cache

import pytest
import torch
from torch import nn

import patchwidget as pw
from patchwidget.engine.executors import hooked, packed
from patchwidget.engine.executors.packed import PackedExecutor
from patchwidget.engine.sites import SITES
from patchwidget.runs.metrics import METRICS
from tests.zoo import CLEAN, CORRUPTED, telling_pair, tiny_model

ALL = ["identity patch", "full patch", "hooks fired", "logits"]
ROLES = {"subject": 4, "end": -1}
FEW = {"neurons": [0, 17, 63]}


@cache
def model() -> pw.Model:
    return tiny_model()


@cache
def experiment(**options) -> pw.Experiment:
    return pw.Experiment(model(), telling_pair(model()), **options)


def several() -> pw.Experiment:
    model = tiny_model("mistral")
    return pw.Experiment(model, [telling_pair(model), telling_pair(model, CLEAN[:7], [*CLEAN[:3], 44, *CLEAN[4:7]])])


def with_roles() -> pw.Experiment:
    return pw.Experiment(model(), pw.PromptPair(CLEAN, CORRUPTED, 5, 7, roles=ROLES))


SWEEPS = {
    **{site: (site, FEW if site == "mlp_post" else {}) for site in SITES},
    "entries": ("pattern", {"positions": "entries", "layers": [2], "heads": [1]}),
    "all positions": ("z", {"positions": "all"}),
    "a list": ("attn_out", {"positions": [4, 7]}),
    "spans": ("mlp_out", {"positions": [[4, 5], [7, 8, 9]]}),
    "groups": ("z", {"heads": [[0, 1], [3]]}),
    "neurons": ("mlp_post", {"neurons": [[0, 5], [9]]}),
    "a window": ("mlp_out", {"window": 3}),
    "zero": ("z", {"source": "zero"}),
    "a mean": ("resid_mid", {"source": pw.Mean([CLEAN, CORRUPTED])}),
    "another prompt": ("v", {"source": pw.Resample(CORRUPTED[::-1])}),
    "noise": ("resid_pre", {"source": pw.Noise(3.0)}),
    "a placebo": ("q", {"source": pw.Placebo()}),
    "a tensor": ("resid_post", {"source": torch.linspace(-1, 1, 32)}),
    "adding": ("k", {"source": 0.3, "operator": "add"}),
    "a module": ("module:model.layers.1.mlp", {}),
    "a module in no block": ("module:model.embed_tokens", {}),
    "in order": ("z", {"order": "attribution"}),
    **{f"{site}, hooked": (site, {"executor": "hooked"}) for site in ("resid_mid", "z", "q", "pattern", "v_per_head")},
}


@pytest.mark.parametrize("kind", SWEEPS)
def test_every_kind_of_sweep_has_them(kind):
    site, options = SWEEPS[kind]
    result = experiment().sweep(site, progress=False, **options)
    assert [check.name for check in result.checks] == ALL
    assert result.ok, result.checks
    assert all(check.value <= check.limit and check.text for check in result.checks)
    assert 0 < result.noise_floor < 1e-4


@pytest.mark.parametrize("metric", [name for name in METRICS if name != "answer_log_prob"])
@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_whatever_is_measured(metric, direction):
    result = experiment(metric=metric, direction=direction).sweep("attn_out", progress=False)
    assert [check.name for check in result.checks] == ALL
    assert result.ok, result.checks


OTHERS = {
    "several pairs": lambda: several().sweep("z"),
    "roles": lambda: with_roles().sweep("resid_pre", positions="roles"),
    "a long answer": lambda: pw.Experiment(model(), pw.PromptPair(CLEAN, CORRUPTED, [5, 6]), "answer_log_prob").sweep("resid_pre"),
    "joint patches": lambda: experiment().patch([pw.Patch("z", 1, head=2), pw.Patch("mlp_out", 0, pos=7)]),
    "interaction": lambda: experiment().interaction([pw.Patch("z", 1, head=2), pw.Patch("mlp_out", 0, pos=7)]).result,
    "necessity": lambda: pw.both_directions(model(), telling_pair(model()), "z").necessary,
    "causal trace": lambda: pw.causal_trace(model(), CLEAN, [3, 4], samples=2, window=2),
    "mediation": lambda: pw.mediation(model(), [pw.PromptPair(CLEAN, CORRUPTED, 5, 7)], components=["heads"])["heads"],
    "paths": lambda: experiment().paths(pw.Node("q", 2, 1)),
    "a path": lambda: experiment().path([pw.Node("z", 0, 1), pw.Node("q", 2, 1), pw.Node("resid_post")]),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_so_has_everything_else(kind):
    result = OTHERS[kind]()
    assert set(ALL) <= {check.name for check in result.checks}
    assert result.ok, result.checks


def test_what_has_no_proof_says_less():
    """Estimates are checked by the run that they start from; prompts of unequal length and plain networks have no full patch."""
    assert [check.name for check in experiment().attribute("z").checks] == ["logits"]
    unequal = pw.PromptPair(CLEAN, [*CORRUPTED[:5], 9, *CORRUPTED[5:]], 5, 7, align="diff")
    net = nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 3)).eval()
    plain = pw.Experiment(pw.wrap(net), pw.PromptPair(torch.ones(6), torch.zeros(6), answer=0, distractor=1))
    for result in (pw.Experiment(model(), unequal).sweep("z"), plain.sweep("module:0", positions="all")):
        assert [check.name for check in result.checks] == ["identity patch", "hooks fired", "logits"]
        assert result.ok, result.checks


# ---- faults

BROKEN = pytest.mark.filterwarnings("ignore:These numbers can't be relied on")


def not_written(monkeypatch):
    """Hooks that never fire."""
    for module in (packed, hooked):
        monkeypatch.setattr(module, "on_edits", lambda *args, **kwargs: None)


def attention_untouched(monkeypatch):
    for module in (packed, hooked):
        monkeypatch.setattr(module, "edit_heads", lambda edits, site, layer, heads, *rest: heads)
        monkeypatch.setattr(module, "attend_edited", lambda attend, query, key, value, *rest: attend(query, key, value)[0])


def stream_untouched(monkeypatch):
    monkeypatch.setattr(PackedExecutor, "_write", lambda self, place, groups, edits: None)
    monkeypatch.setattr(hooked, "on_edits", lambda *args, **kwargs: None)


@BROKEN
@pytest.mark.parametrize("executor", ["packed", "hooked"])
@pytest.mark.parametrize(
    ("fault", "site"),
    [
        *((not_written, site) for site in ("resid_mid", "attn_out", "mlp_out", "z", "mlp_post", "module:model.layers.1.mlp")),
        *((attention_untouched, site) for site in ("q", "k", "v", "k_per_head", "v_per_head", "pattern")),
        *((stream_untouched, site) for site in ("resid_pre", "resid_post")),
    ],
)
def test_a_patch_that_never_happens(monkeypatch, fault, site, executor):
    fault(monkeypatch)
    broken = experiment().sweep(site, executor=executor, progress=False, **(FEW if site == "mlp_post" else {}))
    failed = {check.name: check for check in broken.checks if not check.ok}
    assert not broken.ok
    assert f"{site} of layer" in failed["hooks fired"].text
    assert "FAILED: " in repr(broken)


@BROKEN
@pytest.mark.parametrize("executor", ["packed", "hooked"])
def test_a_patch_that_goes_to_another_position(monkeypatch, executor):
    from patchwidget.engine.edits import EditTable

    write = EditTable.write

    def shifted(self, place, rows, rows_of, numbers=None):
        write(self, place, rows, lambda cell, positions: rows_of(cell, [*positions[1:], positions[0]]), numbers)

    monkeypatch.setattr(EditTable, "write", shifted)
    broken = experiment().sweep("z", executor=executor, progress=False)
    assert {"identity patch", "full patch"} <= {check.name for check in broken.checks if not check.ok}


def test_logits_that_are_not_the_models():
    """The engine believes that this model scales its logits, and it does not: then the packed executor is not chosen."""
    odd = tiny_model()
    odd.hf.config.logits_scaling = 2.0
    fresh = pw.Experiment(odd, telling_pair(odd))
    with pytest.warns(UserWarning, match="can't be relied on: logits"):
        assert fresh.sweep("z", progress=False).info["executor"] == "hooked"
    with pytest.warns(UserWarning, match="can't be relied on: .*logits"):
        insisted = fresh.sweep("z", executor="packed", progress=False)
    assert "logits" in {check.name for check in insisted.checks if not check.ok}
