"""Nothing stays on the model, and nobody else's forward is patched."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import patchwidget as pw
from patchwidget.experiments.results.data import PENDING
from patchwidget.models.hooks import Hooks
from tests.zoo import CORRUPTED, PAIR, tiny_experiment, tiny_model, tiny_module


def traces_of(hf: torch.nn.Module) -> dict[str, object]:
    """Everything an engine could leave behind: hooks, attention settings, modes, gradients' flags."""
    return {
        "hooks": [(name, len(m._forward_hooks), len(m._forward_pre_hooks)) for name, m in hf.named_modules()],
        "attention": [m.config._attn_implementation for m in hf.modules() if hasattr(m, "config")],
        "training": hf.training,
        "grad": [p.requires_grad for p in hf.parameters()],
        "forward": [name for name, m in hf.named_modules() if "forward" in vars(m)],
    }


@pytest.fixture(params=["eager", "sdpa"])
def experiment(request) -> pw.Experiment:
    hf = tiny_module("llama")
    hf.set_attn_implementation(request.param)
    return pw.Experiment(pw.wrap(hf), PAIR)


@pytest.mark.parametrize("executor", ["packed", "hooked"])
def test_after_success(experiment, executor):
    hf = experiment.model.hf
    before, logits = traces_of(hf), hf(torch.tensor([CORRUPTED])).logits
    for site in ("resid_mid", "z"):
        experiment.sweep(site, executor=executor)
    assert traces_of(hf) == before
    assert torch.equal(hf(torch.tensor([CORRUPTED])).logits, logits)


@pytest.mark.parametrize("executor", ["packed", "hooked"])
def test_after_an_error_in_mid_walk(executor):
    calls = []

    def fragile(logits: torch.Tensor) -> torch.Tensor:
        calls.append(len(logits))
        if len(calls) > 3:
            raise ZeroDivisionError("in the metric")
        return logits[:, 0]

    experiment = tiny_experiment(metric=fragile)
    hf = experiment.model.hf
    before = traces_of(hf)
    with pytest.raises(ZeroDivisionError):
        experiment.sweep("z", executor=executor)
    assert traces_of(hf) == before


@pytest.mark.parametrize("executor", ["packed", "hooked"])
def test_between_batches_and_after_a_cancel(experiment, executor):
    hf = experiment.model.hf
    before = traces_of(hf)
    sweep = experiment.start("z", executor=executor)
    batches = iter(sweep)
    next(batches)
    assert traces_of(hf) == before
    sweep.close()
    assert traces_of(hf) == before
    partial = sweep.result
    assert 0 < sweep.done < sweep.total
    assert np.isfinite(partial.values.to_numpy()).sum() == sweep.done
    assert not partial.complete
    assert (partial.state == PENDING).sum() == sweep.total - sweep.done
    assert f"{sweep.done} of {sweep.total} cells known" in repr(partial)
    assert set(partial.to_frame()["state"]) == {"pending", "exact"}


@pytest.mark.parametrize("executor", ["packed", "hooked"])
def test_out_of_memory_in_the_middle_of_a_forward(experiment, executor):
    """The model's own code runs out of memory, with many rows and again with half of them: it goes on, and nothing of it shows."""
    hf = experiment.model.hf
    expected, before = experiment.sweep("z", executor=executor).values.to_numpy(), traces_of(hf)
    calls, failed, mlp = [], [], hf.model.layers[2].mlp
    plain = mlp.forward

    def tight(hidden):
        calls.append(hidden.shape[:-1].numel())
        if len(calls) in (1, 3):
            failed.append(calls[-1])
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(hidden)

    mlp.forward = tight
    result = experiment.sweep("z", executor=executor)
    del mlp.forward
    assert len(failed) == 2
    assert failed[1] <= failed[0]
    assert result.ok, result.checks
    np.testing.assert_allclose(result.values, expected, atol=1e-5)
    assert traces_of(hf) == before


@pytest.mark.parametrize(
    "ask",
    [
        lambda exp: exp.sweep("resid_pree"),
        lambda exp: exp.sweep("z", layers=[9]),
        lambda exp: exp.sweep("z", heads=[9]),
        lambda exp: exp.sweep("mlp_post", neurons=[64]),
        lambda exp: exp.sweep("z", positions=[12]),
        lambda exp: exp.sweep("resid_pre", source=torch.zeros(31)),
        lambda exp: pw.Experiment(exp.model, PAIR, lambda logits: logits.mean()).sweep("z"),
        lambda exp: exp.paths(pw.Node("q", 0, 1)),
        lambda exp: pw.Experiment(exp.model, PAIR, "rank").attribute("z"),
        lambda exp: exp.patch(pw.Patch("pattern", 1, head=0, pos=3, src_pos=5)),
    ],
)
def test_after_a_bad_question(experiment, ask):
    hf = experiment.model.hf
    before = traces_of(hf)
    with pytest.raises(pw.PatchError) as error:
        ask(experiment)
    assert error.value.hint
    assert traces_of(hf) == before
    assert experiment.sweep("z", positions="all").ok


def test_a_forward_of_the_users_meanwhile_is_not_patched():
    experiment = tiny_experiment("gpt2")
    hf, tokens = experiment.model.hf, torch.tensor([CORRUPTED])
    with torch.no_grad():
        plain = hf(tokens).logits
    stop, seen = threading.Event(), []

    def user() -> None:
        with torch.no_grad():
            while not stop.is_set():
                seen.append(float((hf(tokens).logits - plain).abs().max()))

    thread = threading.Thread(target=user)
    thread.start()
    try:
        for executor in ("packed", "hooked"):
            for site in ("resid_pre", "z"):
                experiment.sweep(site, executor=executor)
    finally:
        stop.set()
        thread.join()
    assert len(seen) > 10
    assert max(seen) < 1e-4


def test_a_forward_under_way_while_hooks_come_and_go_is_not_disturbed():
    """Torch looks up whether a hook takes keyword arguments after it has listed the hooks: one that was removed between is called without."""
    module, opened, closed = torch.nn.Linear(2, 2), threading.Event(), threading.Event()

    def wait(*_: object) -> None:
        opened.set()
        assert closed.wait(20)

    module.register_forward_pre_hook(wait)
    with ThreadPoolExecutor(1) as other:
        with Hooks() as hooks:
            hooks.before(module, lambda *_: pytest.fail("it was of another context"))
            forward = other.submit(module, torch.ones(2))
            assert opened.wait(20)
        closed.set()
        assert forward.result().shape == (2,)


def test_two_experiments_on_two_models_in_two_threads():
    experiments = [tiny_experiment("llama"), pw.Experiment(tiny_model("gemma2", seed=1), PAIR)]
    alone = [experiment.sweep("z").values.to_numpy() for experiment in experiments]
    found: dict[int, list[np.ndarray]] = {0: [], 1: []}

    def work(i: int) -> None:
        for _ in range(4):
            found[i].append(experiments[i].sweep("z").values.to_numpy())

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(2):
        assert len(found[i]) == 4
        for values in found[i]:
            np.testing.assert_allclose(values, alone[i], atol=1e-6)


def test_two_experiments_on_one_model_take_turns():
    model = tiny_model("qwen3")
    experiments = [pw.Experiment(model, PAIR), pw.Experiment(pw.wrap(model.hf), PAIR, direction="noise")]
    alone = [experiment.sweep("attn_out").values.to_numpy() for experiment in experiments]
    found: dict[int, np.ndarray] = {}
    threads = [threading.Thread(target=lambda i=i: found.update({i: experiments[i].sweep("attn_out").values.to_numpy()})) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(2):
        np.testing.assert_allclose(found[i], alone[i], atol=1e-6)
