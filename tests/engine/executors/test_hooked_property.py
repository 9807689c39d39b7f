"""Whatever is asked of models that the packed executor can't run: each cell is one plain forward, with torch's own hooks at modules by their names."""

from contextlib import ExitStack
from functools import cache

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForMaskedLM, BertConfig

import patchwidget as pw
from tests.engine.executors.test_hooked_families import family_experiment
from tests.zoo import OLD, telling_pair

# family: its blocks; and site -> the module in a block at whose input ("<") or output (">") it is
MODULES = {
    "gptj": (
        "transformer.h",
        {"attn_out": "> attn", "mlp_out": "> mlp", "z": "< attn.out_proj", "mlp_post": "< mlp.fc_out"},
    ),
    "bloom": ("transformer.h", {"resid_mid": "> self_attention", "z": "< self_attention.dense"}),
    "falcon": (
        "transformer.h",
        {"attn_out": "> self_attention", "mlp_out": "> mlp", "z": "< self_attention.dense", "mlp_post": "< mlp.dense_4h_to_h"},
    ),
    "gpt_neo": (
        "transformer.h",
        {"attn_out": "> attn", "mlp_out": "> mlp", "z": "< attn.attention.out_proj", "mlp_post": "< mlp.c_proj", "resid_mid": "+ attn"},
    ),
    "mpt": ("transformer.blocks", {"attn_out": "> attn", "z": "< attn.out_proj", "resid_mid": "+ attn"}),
    "mamba": ("backbone.layers", {"attn_out": "> mixer"}),
    "bert": (
        "bert.encoder.layer",
        {
            "resid_mid": "> attention",
            "z": "< attention.output.dense",
            "q": "> attention.self.query",
            "k": "> attention.self.key",
            "v": "> attention.self.value",
        },
    ),
}
if OLD:  # its attention does not go through the interface there
    MODULES["bert"] = (MODULES["bert"][0], {site: where for site, where in MODULES["bert"][1].items() if site not in "qkv"})
EVERYWHERE = {"resid_pre": "< ", "resid_post": "> "}
HEADS = {"z", "q", "k", "v"}
LENGTH, D_HEAD, LAYERS = 12, 8, 3


@cache
def experiment_on(family: str, direction: str) -> pw.Experiment:
    """On masked words in BERT: the measured position is in the middle of the sentence."""
    if family != "bert":
        plain = family_experiment(family)
        return pw.Experiment(plain.model, plain.prompts[0], direction=direction)
    torch.manual_seed(0)
    sizes = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
    model = pw.wrap(AutoModelForMaskedLM.from_config(BertConfig(**sizes, initializer_range=0.3)).eval(), name="bert")
    return pw.Experiment(model, telling_pair(model), direction=direction, answer_pos=5)


def tensor_of(value):
    return value[0] if isinstance(value, tuple) else value


def changed(value, new):
    return (new, *value[1:]) if isinstance(value, tuple) else new


def forward(experiment, tokens, layer, where, edit=None):
    """The metric, and what is at a place of one block; or with what `edit(tensor [T, d])` makes of it."""
    blocks, path = MODULES[experiment.model.name][0], where[2:]
    block = experiment.model.hf.get_submodule(blocks)[layer]
    module = block.get_submodule(path) if path else block
    seen, entering = {}, {}

    def at(tensor):
        seen["x"] = tensor.clone()
        if edit is None:
            return tensor
        new = tensor.clone()
        edit(new[0])
        return new

    def before(module, args, kwargs):
        name = next(iter(kwargs)) if not args else None
        new = at(kwargs[name] if name else args[0])
        return ((), {**kwargs, name: new}) if name else ((new, *args[1:]), kwargs)

    def after(module, args, output):
        if where[0] == ">":
            return changed(output, at(tensor_of(output)))
        residual = entering["x"]
        return changed(output, at(residual + tensor_of(output)) - residual)

    with ExitStack() as stack, torch.no_grad():
        keep = block.register_forward_pre_hook(lambda m, args: entering.update(x=args[0].clone())) if where[0] == "+" else None
        own = module.register_forward_pre_hook(before, with_kwargs=True) if where[0] == "<" else module.register_forward_hook(after)
        for handle in (keep, own):
            if handle is not None:
                stack.callback(handle.remove)
        position = -1 if experiment.runs.answer_pos is None else experiment.runs.answer_pos
        logits = experiment.model.hf(torch.tensor([tokens])).logits[0, position]
    pair = experiment.pair
    return float(logits[pair.answers[0]] - logits[pair.distractors[0]]), seen["x"][0]


@st.composite
def cells(draw: st.DrawFn, family: str) -> tuple:
    site = draw(st.sampled_from([*EVERYWHERE, *MODULES[family][1]]))
    positions = draw(st.lists(st.integers(0, LENGTH - 1), min_size=1, max_size=4, unique=True))
    part = st.integers(0, 3) if site in HEADS else st.integers(0, 63) if site == "mlp_post" else st.none()
    choices = st.sampled_from([None, "zero"]), st.sampled_from(["replace", "add"])
    return site, draw(st.integers(0, LAYERS - 1)), positions, draw(part), *map(draw, choices), draw(st.sampled_from(["denoise", "noise"]))


@pytest.mark.parametrize("family", MODULES)
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_cell_is_a_forward_by_hand(family, data):
    site, layer, positions, part, source, operator, direction = data.draw(cells(family))
    experiment, where = experiment_on(family, direction), {**EVERYWHERE, **MODULES[family][1]}[site]
    base, other = (getattr(experiment.pair, run) for run in (experiment.runs.base, experiment.runs.source))
    value = forward(experiment, other, layer, where)[1]
    value = torch.zeros_like(value) if source == "zero" else value
    width = D_HEAD if site in HEADS else 1
    columns = slice(None) if part is None else slice(part * width, (part + 1) * width)

    def edit(rows):
        own = rows[positions, columns] if operator == "add" else 0
        rows[positions, columns] = own + value[positions, columns]

    expected = forward(experiment, base, layer, where, edit)[0]
    axis = {} if part is None else {"heads" if site in HEADS else "neurons": [part]}
    options = {"layers": [layer], "positions": positions, "source": source, "operator": operator, **axis}
    result = experiment.sweep(site, progress=False, **options)
    assert result.info["executor"] == "hooked"
    assert result.ok, result.checks
    assert result.values.item() == pytest.approx(expected, abs=1e-4 * max(1, abs(result.clean - result.corrupted)))


@pytest.mark.parametrize("family", MODULES)
def test_what_there_is_in_each_family(family):
    """No site is left out above, and what is not there says so."""
    experiment = experiment_on(family, "denoise")
    for site in ("resid_mid", "attn_out", "mlp_out", "z", "mlp_post", "q", "k", "v", "pattern"):
        if site in MODULES[family][1]:
            experiment.start(site)
        elif OLD or (family, site) != ("bert", "pattern"):  # read by the same way as q, k and v, and no module's output
            with pytest.raises(pw.SiteError, match=f"{site} of {family} can't be reached|has no {site}"):
                experiment.start(site)
