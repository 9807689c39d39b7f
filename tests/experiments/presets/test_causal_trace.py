"""Causal tracing against the paper's own loop, written out: one forward of eleven rows for each cell."""

import numpy as np
import pytest
import torch
import xarray as xr

import patchwidget as pw
from patchwidget.experiments.presets.causal_trace import ROLES
from tests.small import small
from tests.zoo import CLEAN, tiny_model


def parts(hf):
    """(embedding, blocks, MLPs, attentions) by their names in two families."""
    if hasattr(hf, "transformer"):
        blocks = list(hf.transformer.h)
        return hf.transformer.wte, blocks, [b.mlp for b in blocks], [b.attn for b in blocks]
    blocks = list(hf.model.layers)
    return hf.model.embed_tokens, blocks, [b.mlp for b in blocks], [b.self_attn for b in blocks]


def literal_trace(hf, tokens, subject, answer, sigma, kind, layer, pos, window, samples=10):
    """Row 0 is clean; the other rows have noise on the subject, and at one token the states of row 0; mean P(answer) of these rows."""
    embedding, blocks, mlps, attentions = parts(hf)
    begin, end = subject[0], subject[-1] + 1
    noise = np.random.RandomState(1).randn(samples, end - begin, embedding.weight.shape[1]) * 3 * sigma
    chosen = {"hidden": blocks, "mlp": mlps, "attn": attentions}[kind]
    around = [layer] if kind == "hidden" else range(max(0, layer - window // 2), min(len(blocks), layer - (-window // 2)))

    def corrupt(module, args, output):
        output[1:, begin:end] += torch.tensor(noise, dtype=output.dtype)
        return output

    def restore(module, args, output):
        hidden = output[0] if isinstance(output, tuple) else output
        hidden[1:, pos] = hidden[0, pos]
        return output

    handles = [embedding.register_forward_hook(corrupt)]
    handles += [] if pos is None else [chosen[i].register_forward_hook(restore) for i in around]
    with torch.no_grad():
        logits = hf(torch.tensor([tokens] * (samples + 1))).logits[:, -1].float()
    for handle in handles:
        handle.remove()
    probabilities = logits.softmax(-1)[:, answer]
    return float(probabilities[0]), float(probabilities[1:].mean())


@pytest.mark.parametrize(("architecture", "executor"), [("gpt2", "packed"), ("llama", "packed"), ("llama", "hooked")])
def test_it_is_the_papers_loop(architecture, executor):
    model = tiny_model(architecture)
    subject = (3, 4, 5)
    result = pw.causal_trace(model, CLEAN, subject, window=3, executor=executor)
    assert result.values.sizes == {"kind": 3, "layer": 4, "pos": 12}
    assert result.info["executor"] == executor
    assert result.ok
    tokens = torch.tensor(CLEAN)
    with torch.no_grad():
        sigma = float(model.hf.get_input_embeddings()(tokens[list(subject)]).std())
        answer = int(model.hf(tokens[None]).logits[0, -1].argmax())
    assert result.info["sigma"] == pytest.approx(sigma)
    clean, corrupted = literal_trace(model.hf, CLEAN, subject, answer, sigma, "hidden", 0, None, 3)
    assert result.clean == pytest.approx(clean, abs=1e-5)
    assert result.corrupted == pytest.approx(corrupted, abs=1e-5)
    for kind in ("hidden", "mlp", "attn"):
        for layer in range(4):
            for pos in (0, 3, 4, 5, 8, 11):
                expected = literal_trace(model.hf, CLEAN, subject, answer, sigma, kind, layer, pos, 3)[1]
                assert float(result.values.sel(kind=kind, layer=layer, pos=pos)) == pytest.approx(expected, abs=1e-5)


def test_a_set_by_roles():
    model = tiny_model()
    pairs = [pw.PromptPair(CLEAN, roles={"subject": [1, 2, 3, 4]}), pw.PromptPair(CLEAN[:6], roles={"subject": [2]})]
    result = pw.causal_trace(model, pairs, window=2, samples=4, kinds=("hidden", "mlp"), sigma=0.3)
    assert result.values.dims == ("pair", "kind", "layer", "role")
    alone = pw.causal_trace(model, CLEAN, [1, 2, 3, 4], window=2, samples=4, kinds=("hidden", "mlp"), sigma=0.3)
    places = dict(zip(ROLES, ([1], [2, 3], [4], [5], [6, 7, 8, 9, 10], [11]), strict=True))
    for role, positions in places.items():
        expected = alone.values.sel(pos=positions).mean("pos")
        np.testing.assert_allclose(result.values.sel(pair=0, role=role), expected, atol=1e-6)
    short = result.values.sel(pair=1)
    assert short.sel(role=["first subject token", "middle subject tokens"]).isnull().all()
    assert short.sel(role=["last subject token", "first subsequent token", "further tokens", "last token"]).notnull().all()
    np.testing.assert_allclose(result.clean[0], alone.clean, atol=1e-6)
    assert result.mean().values.dims == ("kind", "layer", "role")
    assert result.info["tokens_by_pair"] == [[str(token) for token in tokens] for tokens in (CLEAN, CLEAN[:6])]
    figure = result.plot()
    assert sum(trace.type == "heatmap" for trace in figure.data) == 2  # a panel for each kind
    assert [note.text for note in figure.layout.annotations] == ["hidden", "mlp"]


def same_again(model, result) -> None:
    space = {"hf": model.hf, "tokenizer": model.tokenizer}
    exec(result.code(), space)
    xr.testing.assert_allclose(space["result"].values, result.values, atol=1e-6)
    assert space["result"].info["code"] == result.code()


def test_the_code_traces_the_same_again():
    model, prompt = tiny_model(), torch.tensor(CLEAN)
    own = int(model.logits(CLEAN)[-1].argmax())
    options = {"noise": 1.0, "samples": 3, "window": 2, "kinds": ["mlp"], "metric": "log_prob", "seed": 7, "layers": iter([1, 2])}
    same_again(model, pw.causal_trace(model, prompt, [3, 4], own, executor="hooked", **options))
    same_again(model, pw.causal_trace(model, CLEAN, [3, 4], kinds=["attn"], sigma=0.3, samples=2))
    plain = pw.causal_trace(model, CLEAN, [3])
    assert plain.code().splitlines()[-1] == f"result = pw.causal_trace(model, {CLEAN}, [3])"


def test_the_code_of_a_set_and_of_texts():
    model, _ = small()
    pair = pw.PromptPair("When John and Mary went", roles={"subject": "John"})
    options = {"samples": 2, "kinds": ("hidden",), "metric": "logit"}
    same_again(model, pw.causal_trace(model, [pair, pw.PromptPair("A man and John went", roles={"subject": ("man", 0)})], **options))
    same_again(model, pw.causal_trace(model, pair.clean, ("John", 0), **options))


def test_what_is_asked_for_wrongly():
    model = tiny_model()
    with pytest.raises(pw.PromptError, match="No subject was given"):
        pw.causal_trace(model, CLEAN)
    with pytest.raises(pw.PromptError, match="There is no fact to trace"):
        pw.causal_trace(model, CLEAN, [3], answer=0)
    with pytest.raises(pw.PromptError, match="Pair 0 has no subject"):
        pw.causal_trace(model, [pw.PromptPair(CLEAN)])
    with pytest.raises(pw.PatchError, match=r"kinds=.*is not known"):
        pw.causal_trace(model, CLEAN, [3], kinds=["heads"])


def test_the_users_model_is_left_as_it_was():
    model = tiny_model()
    with torch.no_grad():
        before = model.hf(torch.tensor([CLEAN])).logits
        pw.causal_trace(model, CLEAN, [3], samples=2, executor="hooked")
        torch.testing.assert_close(model.hf(torch.tensor([CLEAN])).logits, before)


def test_on_the_default_model(default_model):
    prompt = "The Eiffel Tower is in the city of"
    result = pw.causal_trace(default_model, prompt, "The Eiffel Tower", " Paris", samples=2, layers=[2, 20])
    tokens = default_model.encode(prompt)
    subject, answer = result.info["subject"], default_model.encode(" Paris", special=False)[0]
    with torch.no_grad():
        sigma = float(default_model.hf.get_input_embeddings()(torch.tensor(default_model.encode("The Eiffel Tower"))).std())
    end = len(tokens) - 1
    for kind, layer, pos in [("hidden", 2, subject[-1]), ("hidden", 20, end), ("mlp", 2, subject[-1]), ("mlp", 20, 0), ("attn", 20, end)]:
        expected = literal_trace(default_model.hf, tokens, subject, answer, sigma, kind, layer, pos, 10, samples=2)[1]
        assert float(result.values.sel(kind=kind, layer=layer, pos=pos)) == pytest.approx(expected, abs=1e-4)
    assert result.clean > 0.3
    assert result.corrupted < result.clean / 3
