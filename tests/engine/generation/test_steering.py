"""Steered generation: positions under the cache and left padding, against whole forwards with plain hooks; nothing left behind, turns taken."""

import threading

import pytest
import torch

import patchwidget as pw
from tests.engine.generation.families import FAR, HOOKED, PROMPTS, family, texts, vector_for
from tests.engine.test_isolation import traces_of
from tests.zoo import OLD, PACKED

# rule -> its positions in a prompt of n tokens
RULES = {
    "all": lambda n: (0, FAR),
    "prompt": lambda n: (0, n),
    "generated": lambda n: (n, FAR),
    "first 4": lambda n: (0, 4),
    (2, 9): lambda n: (2, 9),
    (-1, None): lambda n: (n - 1, FAR),
}
FAMILIES = [name for name in PACKED if name != "qwen3_moe"] + list(HOOKED)  # that one is mixtral's way again, and slow


def by_hand(model: pw.Model, prompt: list[int], steer: pw.Steer, n: int = 8) -> list[int]:
    """The same by whole forwards and plain hooks on the blocks' outputs, positions written out."""
    tokens, (start, stop) = list(prompt), RULES[steer.positions](len(prompt))
    for _ in range(n):

        def hook(layer):
            def add(module, args, output):
                hidden = (output[0] if isinstance(output, tuple) else output).clone()
                hidden[0, start : min(stop, len(tokens))] += steer.strength * steer.vector[layer]
                return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

            return model.anatomy.blocks[layer].module.register_forward_hook(add)

        handles = [hook(layer) for layer in steer.vector.layers]
        with torch.no_grad():
            logits = model.hf(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1]
        for handle in handles:
            handle.remove()
        tokens.append(int(logits.argmax()))
    return tokens[len(prompt) :]


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "bloom"])
def test_each_rule_steers_the_positions_it_names(name, rule):
    model = family(name)
    steer = pw.Steer(vector_for(model), 1.5, positions=rule)
    expected = [by_hand(model, prompt, steer) for prompt in PROMPTS]
    assert texts(model, PROMPTS, steer) == expected
    assert texts(model, PROMPTS) != expected


@pytest.mark.parametrize("name", FAMILIES)
def test_a_cache_and_left_padding_change_no_token(name):
    """Every rule at once, each with a vector of its own: one wrong position in any of them changes the text."""
    model, prompts = family(name), PROMPTS[:2]
    steers = [pw.Steer(vector_for(model, seed=seed), 0.7, positions=rule) for seed, rule in enumerate(RULES)]
    uncached = [texts(model, [prompt], steers, use_cache=False)[0] for prompt in prompts]
    assert [texts(model, [prompt], steers)[0] for prompt in prompts] == uncached
    assert texts(model, prompts, steers) == uncached
    assert texts(model, prompts, steers, use_cache=False) == uncached
    assert texts(model, prompts) != uncached


@pytest.mark.parametrize("site", ["resid_pre", "resid_mid", "attn_out", "mlp_out"])
@pytest.mark.parametrize("operator", ["add", "project_out", "cap"])
def test_every_site_and_operator_under_the_cache(site, operator):
    model = family("llama")
    strength = {"add": 0.3, "project_out": 1.0, "cap": -0.3}[operator]
    steer = pw.Steer(vector_for(model, site=site, size=2.0), strength, operator=operator)
    steered = texts(model, PROMPTS, steer)
    assert steered == [texts(model, [prompt], steer, use_cache=False)[0] for prompt in PROMPTS]
    assert steered != texts(model, PROMPTS)


def test_beams_and_several_sequences():
    model = family("llama")
    steer = pw.Steer(vector_for(model), 1.5, positions=(2, 9))
    beams = {"num_beams": 3, "num_return_sequences": 2}
    cached = texts(model, PROMPTS, steer, **beams)
    assert len(cached) == 6
    assert cached == [row for prompt in PROMPTS for row in texts(model, [prompt], steer, use_cache=False, **beams)]


def test_a_long_prompt_in_chunks():
    model = family("llama")
    steer = pw.Steer(vector_for(model), 1.5, positions=(2, 9))
    if OLD:  # where transformers does not tell where a chunk begins
        with pytest.raises(pw.ModelError, match="prefill_chunk_size"):
            texts(model, PROMPTS[:1], steer, prefill_chunk_size=3)
        return
    assert texts(model, PROMPTS[:1], steer, prefill_chunk_size=3) == texts(model, PROMPTS[:1], steer)


@pytest.mark.skipif(OLD, reason="its static caches are compiled ahead, and that takes a compiler")
def test_a_static_cache():
    model = family("llama")
    steer = pw.Steer(vector_for(model), 1.5, positions=(-1, None))
    assert texts(model, PROMPTS, steer, cache_implementation="static", disable_compile=True) == texts(model, PROMPTS, steer)


def test_a_schedule_and_a_vector_by_position():
    model = family("llama")
    value = vector_for(model, [1])[1]
    factors = [2.0, -1.0, 0.5]
    by_position = pw.SteeringVector({1: torch.stack([factor * value for factor in factors])})
    scheduled = pw.Steer({1: value}, 1.0, schedule=lambda i: factors[i] if i < 3 else 0.0)
    assert texts(model, PROMPTS, scheduled) == texts(model, PROMPTS, pw.Steer(by_position))
    apart = [pw.Steer({1: value}, factor, positions=(i, i + 1)) for i, factor in enumerate(factors)]
    assert texts(model, PROMPTS, apart) == texts(model, PROMPTS, scheduled) != texts(model, PROMPTS)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_schedule_that_gives_no_number_is_told_of(bad):
    model = family("llama")
    steer = pw.Steer(vector_for(model), schedule=lambda i: bad if i == 8 else 1.0)
    with pytest.raises(pw.PatchError, match="The schedule gives the factors"):
        texts(model, PROMPTS, steer)
    with pytest.raises(pw.PatchError, match="The schedule gives the factors"):
        model.ladder(list(range(10)), steer, [1.0])


def test_rows_that_end_early_are_cut():
    """At the end of text, and at a place of their own each."""
    model = family("llama")
    free = texts(model, PROMPTS)
    end = free[0][2]
    made = [generation.tokens for generation in model.generate(PROMPTS, max_new_tokens=8, eos_token_id=end)]
    assert made == [row[: row.index(end) + 1] if end in row else row for row in free]


def test_a_seed_gives_what_torch_gives_and_leaves_its_random_numbers_alone():
    model, prompt = family("llama"), PROMPTS[0]
    torch.manual_seed(7)
    plain = model.hf.generate(torch.tensor([prompt]), do_sample=True, temperature=1.3, max_new_tokens=8, eos_token_id=None, pad_token_id=0)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    sampled = texts(model, [prompt], temperature=1.3, seed=7)[0]
    assert sampled == plain[0, len(prompt) :].tolist()
    assert torch.equal(torch.get_rng_state(), before)
    assert texts(model, [prompt], temperature=1.3, seed=8)[0] != sampled


# ---- nothing left, and nobody else steered


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "falcon", "mamba"])
def test_nothing_is_left_after_success_an_error_and_a_stop(name):
    model = family(name)
    vector, prompt = vector_for(model), PROMPTS[0]
    before, logits = traces_of(model.hf), model.hf(torch.tensor([prompt])).logits

    def unchanged() -> bool:
        return traces_of(model.hf) == before and torch.equal(model.hf(torch.tensor([prompt])).logits, logits) and _is_free(model.lock)

    texts(model, PROMPTS, vector)
    assert unchanged()
    with pytest.raises(ZeroDivisionError):
        model.generate(prompt, pw.Steer(vector, schedule=lambda i: 1 / (9 - i)), max_new_tokens=8, eos_token_id=None)
    assert unchanged()
    stream = iter(model.stream(prompt, vector, max_new_tokens=50, eos_token_id=None))
    next(stream)
    stream.close()
    assert unchanged()


def _is_free(lock: threading.RLock) -> bool:
    """Whether another thread could take it."""
    taken: list[bool] = []

    def take() -> None:
        taken.append(lock.acquire(blocking=False))
        if taken[0]:
            lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return taken[0]
