"""Gradients at sites against finite differences: the same run, patched by a little of each cell's change, through whole hooked forwards."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import patchwidget as pw
from patchwidget.engine.edits import Cell, Edit
from patchwidget.engine.gradients.backward import gradients_by_block, gradients_of_network, metric_seeds
from patchwidget.engine.sites import SITES
from patchwidget.experiments.attribution import Method, estimate_cells
from tests.engine.executors.test_hooked_families import FAMILIES, family_experiment
from tests.engine.test_isolation import traces_of
from tests.zoo import EXPERTS, OLD, PACKED, PAIR, PARALLEL, telling_pair, tiny_experiment, tiny_model, tiny_module

POSITIONS = [[4], [11]]
EPSILON = 2e-3


def some_cells(experiment: pw.Experiment, site: str, **options) -> list[Cell]:
    """The cells of a sweep over some positions."""
    few = {"neurons": [0, 17]} if site == "mlp_post" else {}
    options = {"positions": POSITIONS, **few, **options}
    return [cell for cell in experiment.start(site, **options)._make_cells([0]) if cell is not None]


def own(experiment: pw.Experiment, edit: Edit) -> torch.Tensor:
    """What the base run has where an edit goes."""
    raw = edit.site.removesuffix("_per_head")
    found = experiment.runs.recording(experiment.runs.base, raw).at(raw, edit.layer)[list(edit.positions)]
    if edit.index is None:
        return found
    found = found[:, edit.index * found.shape[1] // experiment.model.n_heads if raw != edit.site else edit.index]
    return found if edit.columns is None else found[:, list(edit.columns)]


def slopes(experiment: pw.Experiment, cells: list[Cell], held: tuple[Edit, ...] = (), epsilon: float = EPSILON) -> np.ndarray:
    """How fast the metric changes as each cell's patch is begun, by central differences; with other edits held in all the runs."""

    def part(cell: Cell, share: float) -> Cell:
        begun = [replace(edit, value=share * (edit.value - own(experiment, edit)), operator="add") for edit in cell.edits]
        return replace(cell, edits=(*held, *begun))

    values = np.zeros(2 * len(cells))
    executor = experiment.runs.make_executor("hooked")
    for batch in executor.run([part(cell, share) for share in (epsilon, -epsilon) for cell in cells]):
        values[batch.cells] = batch.values[:, 0]
    forth, back = values.reshape(2, -1)
    return (forth - back) / (2 * epsilon)


def estimated(experiment: pw.Experiment, cells: list[Cell], **method) -> np.ndarray:
    return estimate_cells(experiment.runs, cells, Method(**method))[:, 0] - experiment.runs.value_of(experiment.runs.base)


def precise(experiment: pw.Experiment) -> pw.Experiment:
    """The same in float64, so that differences of small changes are exact enough; where there is one: not of mixtures of experts in torch, nor of
    MPT in transformers 4."""
    if experiment.model.name in EXPERTS or (OLD and experiment.model.name == "mpt"):
        return experiment
    experiment.model.hf.double()
    return pw.Experiment(pw.wrap(experiment.model.hf, name=experiment.model.name), experiment.prompts[0], direction=experiment.direction)


def has(architecture: str, site: str) -> bool:
    return not (site == "resid_mid" and architecture in PARALLEL) and not (site == "mlp_post" and architecture in EXPERTS)


@pytest.mark.parametrize("architecture", PACKED)
def test_attribution_is_the_slope_at_the_base_run(architecture):
    experiment = precise(tiny_experiment(architecture))
    cells = [cell for site in SITES if has(architecture, site) for cell in some_cells(experiment, site, layers=[1, 3])]
    found, expected = estimated(experiment, cells), slopes(experiment, cells)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(found, expected, atol=2e-3 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_the_base_run_is_the_corrupted_one_when_denoising_and_the_clean_one_when_noising(direction):
    experiment = precise(tiny_experiment("qwen3", direction=direction))
    assert experiment.runs.base == ("corrupted" if direction == "denoise" else "clean")
    cells = some_cells(experiment, "resid_pre")
    np.testing.assert_allclose(estimated(experiment, cells), slopes(experiment, cells), atol=3e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_models_whose_attention_cannot_be_intercepted(family):
    experiment = precise(family_experiment(family))
    cells = []
    for site in ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z", "mlp_post"):
        try:
            cells += some_cells(experiment, site)
        except pw.SiteError:
            assert site not in ("resid_pre", "resid_post")
    expected = slopes(experiment, cells)
    np.testing.assert_allclose(estimated(experiment, cells), expected, atol=2e-3 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox"])
def test_integrated_gradients_are_the_mean_slope_between_the_runs(architecture):
    experiment = precise(tiny_experiment(architecture))
    cells = [
        cell
        for site in ("resid_mid", "z", "k", "mlp_out")
        if has(architecture, site)
        for cell in some_cells(experiment, site, layers=[1, 3])
    ]
    base, source = (experiment.runs.recording(run).resid[0] for run in ("corrupted", "clean"))
    steps = 3
    between = [base + (i + 0.5) / steps * (source - base) for i in range(steps)]
    expected = np.mean([slopes(experiment, cells, (Edit("resid_pre", 0, tuple(range(12)), start),)) for start in between], 0)
    np.testing.assert_allclose(estimated(experiment, cells, name="ig", steps=steps), expected, atol=2e-3 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox", "olmo2"])
def test_grad_drop_is_the_mean_size_of_the_slopes_with_one_layer_held_each(architecture):
    """Holding what a block adds to the stream lets no change go through it, as dropping its gradient does."""
    experiment = precise(tiny_experiment(architecture))
    n_layers, everywhere = experiment.model.n_layers, tuple(range(12))

    def held(layer: int) -> tuple[Edit, ...]:
        return tuple(Edit(s, layer, everywhere, experiment.runs.recording("corrupted", s).at(s, layer)) for s in ("attn_out", "mlp_out"))

    for site in ("z", "v", "resid_pre", "resid_mid", "resid_post"):
        if not has(architecture, site):
            continue
        cells = some_cells(experiment, site, layers=[1, 2])
        by_layer = np.stack([slopes(experiment, cells, held(layer)) for layer in range(n_layers)])
        inside = not site.startswith("resid")
        if inside:
            for i, cell in enumerate(cells):
                by_layer[cell.edits[0].layer, i] = 0
        expected = np.sign(by_layer.sum(0)) * np.abs(by_layer).sum(0) / (n_layers - inside)
        found = estimated(experiment, cells, name="atp*", grad_drop=True)
        np.testing.assert_allclose(found, expected, atol=3e-3 * max(1, np.abs(expected).max()), err_msg=site)


def test_grad_drop_of_layers_that_are_patched_together():
    """The sizes are of whole cells: what a cell does in two layers is added up before its size is taken."""
    experiment = precise(tiny_experiment("llama"))
    cells = some_cells(experiment, "mlp_out", window=2)
    found = estimated(experiment, cells, name="atp*", grad_drop=True)
    parts = [estimated(experiment, [replace(cell, edits=(edit,)) for cell in cells for edit in cell.edits], name="atp*", grad_drop=True)]
    sums, at = [], 0
    for cell in cells:
        sums.append(np.abs(parts[0][at : at + len(cell.edits)]).sum())
        at += len(cell.edits)
    assert (np.abs(found) <= np.array(sums) + 1e-5).all()
    assert (np.abs(found) < np.array(sums) - 1e-3).any()


def attention_by_hand(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Causal softmax attention of grouped queries: [T, H, d] and [T, Hkv, d] -> pattern [dest, H, src]."""
    key = key.repeat_interleave(query.shape[1] // key.shape[1], 1)
    scores = torch.einsum("thd,shd->ths", query, key) / query.shape[-1] ** 0.5
    later = torch.ones(len(query), len(query), dtype=torch.bool).triu(1)
    return scores.masked_fill(later[:, None], -torch.inf).softmax(-1)


@pytest.mark.parametrize("site", ["q", "k", "k_per_head"])
def test_the_qk_fix_is_the_change_of_the_pattern_times_the_slope_along_it(site):
    experiment = precise(tiny_experiment("llama"))
    query, key = (experiment.runs.recording("corrupted", s).at(s, 2) for s in "qk")
    before = experiment.runs.recording("corrupted", "pattern").at("pattern", 2)
    torch.testing.assert_close(attention_by_hand(query, key), before)
    cells, as_patterns = some_cells(experiment, site, layers=[2], positions=[[4], [7, 9]]), []
    for cell in cells:
        q, k, (edit,) = query.clone(), key.clone(), cell.edits
        if site == "q":
            q[list(edit.positions), edit.index] = edit.value
        else:
            k[list(edit.positions), edit.index // (2 if site == "k_per_head" else 1)] = edit.value
        after = attention_by_hand(q, k)
        heads = [edit.index] if site != "k" else [2 * edit.index, 2 * edit.index + 1]
        as_patterns.append(Cell(tuple(Edit("pattern", 2, tuple(range(12)), after[:, head], head) for head in heads)))
    expected = slopes(experiment, as_patterns)
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(estimated(experiment, cells, name="atp*", qk_fix=True), expected, atol=1e-3)


@pytest.mark.parametrize("architecture", ["gpt2", "phi", "gemma2", "gpt_oss"])
def test_block_by_block_is_the_gradient_of_the_whole_network(architecture):
    experiment = tiny_experiment(architecture, metric=["logit_diff", "kl"])
    model, measure, base = experiment.model, experiment.runs.measures[0], experiment.runs.recording("corrupted")
    sites = {site: [1, 3] for site in [*SITES, "attended"] if has(architecture, site)}
    found, seeds = gradients_of_network(model, base.tokens, measure, [(site, layer) for site, layers in sites.items() for layer in layers])
    whole = {gradients.place: gradients.gradient for gradients in found}
    by_block = {g.place: g.gradient for g in gradients_by_block(model, base, metric_seeds(model, base, measure), sites)}
    assert len(seeds) == 2
    assert set(by_block) == set(whole)
    for place, gradient in by_block.items():
        assert gradient.shape[:3] == (2, 1, 12), place
        torch.testing.assert_close(gradient, whole[place], atol=1e-4, rtol=1e-3, msg=str(place))


def everything(experiment: pw.Experiment) -> np.ndarray:
    return np.concatenate(
        [experiment.attribute(site, method).values.to_numpy().ravel() for site in "zqk" for method in ("atp", "atp*", "ig")]
    )


@pytest.mark.parametrize("architecture", ["llama", "bloom"])
def test_nothing_is_left_on_the_model(architecture):
    hf = tiny_module(architecture)
    for i, weight in enumerate(hf.parameters()):
        weight.requires_grad = i % 2 == 0
    experiment = pw.Experiment(pw.wrap(hf), PAIR)
    before = traces_of(hf)
    experiment.attribute("z")
    experiment.attribute("z", "ig")
    assert traces_of(hf) == before
    assert all(weight.grad is None for weight in hf.parameters())


def test_nothing_is_left_after_an_error():
    def fragile(logits: torch.Tensor) -> torch.Tensor:
        if logits.requires_grad:
            raise ZeroDivisionError("in the metric")
        return logits[:, 0]

    experiment = tiny_experiment(metric=fragile)
    before = traces_of(experiment.model.hf)
    with pytest.raises(ZeroDivisionError):
        experiment.attribute("z")
    assert traces_of(experiment.model.hf) == before

    def fragile_module(module: torch.nn.Module, args: tuple, output: torch.Tensor) -> None:
        fragile(output)

    handle = experiment.model.hf.model.layers[1].mlp.register_forward_hook(fragile_module)
    with pytest.raises(ZeroDivisionError):
        tiny_like(experiment).attribute("z")
    handle.remove()
    assert traces_of(experiment.model.hf) == before


def tiny_like(experiment: pw.Experiment) -> pw.Experiment:
    """An experiment on the same model with a metric that does not fail."""
    return pw.Experiment(experiment.model, experiment.prompts[0])


def test_with_frozen_weights_and_where_the_caller_wants_no_gradients():
    expected = everything(tiny_experiment())
    experiment = tiny_experiment()
    experiment.model.hf.requires_grad_(False)
    np.testing.assert_array_equal(everything(experiment), expected)
    for switched_off in (torch.no_grad, torch.inference_mode):
        again = tiny_like(experiment)
        with switched_off():
            np.testing.assert_allclose(everything(again), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    model = tiny_model("llama")
    pair = telling_pair(model)
    expected = {method: pw.Experiment(model, pair).attribute("z", method) for method in ("atp", "atp*", "ig")}
    half = pw.Experiment(pw.wrap(model.hf.to(dtype)), pair)
    for method, exact in expected.items():
        found = half.attribute("z", method)
        assert found.values.dtype == np.float32
        assert np.corrcoef(found.effect.to_numpy().ravel(), exact.effect.to_numpy().ravel())[0, 1] > 0.98, method
    # a probability so small that float16 could not hold its gradient
    unlikely = pw.Experiment(half.model, replace(pair, answer=3, distractor=None), lambda logits: logits.softmax(-1)[:, 3] * 1e-6)
    assert np.ptp(unlikely.attribute("resid_pre").values.to_numpy()) > 0


def test_the_graph_in_memory_is_of_one_block():
    """However deep the model is, and whatever of its weights want gradients."""
    most = {}
    for n_layers in (2, 8):
        experiment = pw.Experiment(tiny_model("llama", num_hidden_layers=n_layers), PAIR)
        experiment.attribute("z")
        alive: list[int] = [0, 0]

        class Kept:
            def __init__(self, tensor: torch.Tensor, alive: list[int] = alive) -> None:
                self.tensor, self.alive = tensor.detach(), alive  # what it came from would keep the graph alive
                alive[0] += 1
                alive[1] = max(alive)

            def __del__(self) -> None:
                self.alive[0] -= 1

        with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
            experiment.attribute("mlp_out")  # another site: the gradients of the first one are kept
        most[n_layers] = alive[1]
    assert most[8] == most[2] > 0
