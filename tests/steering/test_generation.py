"""Generated text and its numbers, against transformers' own calls on the default model and forwards with plain hooks."""

import copy
import math
import pickle

import pytest
import torch
from transformers import SuppressTokensLogitsProcessor

import patchwidget as pw
from patchwidget import ModelError, PatchError, PromptError, Steer, SteeringVector
from patchwidget.steering.generation import Generation
from tests.engine.test_isolation import traces_of
from tests.steering.test_methods import _logits_with
from tests.zoo import tiny_model, tiny_module

PROMPT = "My opinion of the film is that"


@pytest.fixture(scope="module")
def mood(default_model) -> SteeringVector:
    return SteeringVector.from_pairs(default_model, ["I love it, it is wonderful"], ["I hate it, it is terrible"], 15)


# ---- numbers, on a tiny model


def test_the_numbers_are_those_of_whole_forwards():
    model, prompt = tiny_model("llama"), [9, 8, 7, 6, 5]
    vector = SteeringVector({1: 3 * torch.randn(32, generator=torch.Generator().manual_seed(0))})
    made = model.generate(prompt, Steer(vector, positions="generated"), max_new_tokens=6, eos_token_id=None)
    sequence = [*prompt, *made.tokens[:-1]]
    rows = torch.zeros(len(sequence), 32)
    rows[5:] = vector[1]  # the generated positions
    steered = _logits_with(model, sequence, 1, rows)[4:].log_softmax(-1)
    plain = _logits_with(model, sequence, 1, 0 * rows)[4:].log_softmax(-1)
    chosen = torch.tensor(made.tokens)[:, None]
    assert torch.allclose(torch.from_numpy(made.logprobs), steered.gather(1, chosen)[:, 0], atol=1e-4)
    assert torch.allclose(torch.from_numpy(made.base_logprobs), plain.gather(1, chosen)[:, 0], atol=1e-4)
    assert torch.allclose(torch.from_numpy(made.kl), (plain.exp() * (plain - steered)).sum(-1), atol=1e-4)
    assert made.perplexity == pytest.approx(math.exp(-float(plain.gather(1, chosen).mean())), rel=1e-4)
    assert made.kl[0] == 0 < made.kl[1:].min()  # the first token is chosen at the prompt's last position


def test_an_unsteered_text_is_not_moved():
    made = tiny_model("llama").generate([9, 8, 7], max_new_tokens=4, eos_token_id=None)
    assert made.kl.tolist() == [0, 0, 0, 0]
    assert (made.logprobs == made.base_logprobs).all()
    assert str(made) == " ".join(map(str, made.tokens))  # there is no tokenizer


def test_generations_can_be_taken_along():
    text = tiny_model("llama").generate([3, 4, 5], Steer({1: torch.ones(32)}, 2.0), max_new_tokens=4)
    for taken in (pickle.loads(pickle.dumps(text)), copy.deepcopy(text)):
        assert str(taken) == str(text)
        assert taken.kl.tolist() == text.kl.tolist()
        assert taken.perplexity == text.perplexity
        assert taken.tokens == text.tokens


def test_numbers_do_not_depend_on_the_batch():
    model, vector = tiny_model("gpt2", sliding_window=None), SteeringVector({1: torch.ones(32)})
    prompts = [[9, 8, 7, 6, 5], [1, 2]]
    together = model.generate(prompts, vector, max_new_tokens=4, eos_token_id=None)
    for one, prompt in zip(together, prompts, strict=True):
        alone = model.generate(prompt, vector, max_new_tokens=4, eos_token_id=None)
        assert (one.tokens, one.prompt_tokens) == (alone.tokens, prompt)
        assert one.kl == pytest.approx(alone.kl, abs=1e-6)


# ---- the default model, through transformers


def test_without_steering_it_is_transformers_own_text(default_model):
    hf, tokenizer = default_model.hf, default_model.tokenizer
    encoded = tokenizer(PROMPT, return_tensors="pt")
    expected = hf.generate(**encoded, max_new_tokens=10, do_sample=False)[0, encoded["input_ids"].shape[1] :]
    made = default_model.generate(PROMPT, max_new_tokens=10)
    assert made.tokens == expected.tolist()
    assert str(made) == made.text == tokenizer.decode(expected, skip_special_tokens=True)


def test_steering_on_the_default_model_with_and_without_cache_and_padding(default_model, mood):
    """Every position rule at once, each with a direction of its own: one wrong position in any of them changes the text."""
    before = traces_of(default_model.hf)
    prompts = [PROMPT, "The food", "I think that the new"]
    noise = torch.Generator().manual_seed(0)
    steers = [Steer(mood, 1.5)]
    for rule in ("prompt", "generated", "first 2", (1, 9), (-1, None)):
        direction = SteeringVector({15: torch.randn(576, generator=noise)}, residual_norms=mood.residual_norms)
        steers.append(Steer(direction, 0.25, positions=rule, unit="residual norm"))
    uncached = [default_model.generate(prompt, steers, max_new_tokens=6, use_cache=False).tokens for prompt in prompts]
    assert [made.tokens for made in default_model.generate(prompts, steers, max_new_tokens=6)] == uncached
    assert default_model.generate(prompts[0], steers, max_new_tokens=6).tokens == uncached[0]
    for left_out in range(len(steers)):
        fewer = [*steers[:left_out], *steers[left_out + 1 :]]
        assert not torch.allclose(after(default_model, steers), after(default_model, fewer), atol=0.02), steers[left_out].positions
    assert traces_of(default_model.hf) == before


def after(model: pw.Model, steers: list[Steer]) -> torch.Tensor:
    """Log-probabilities of five fixed tokens after the prompt, under steering."""
    return torch.from_numpy(Generation(model, model.encode(PROMPT), [260] * 5, tuple(steers)).logprobs)


def test_a_vector_of_the_default_model_is_what_its_formula_says_and_files_keep_it(default_model, mood, tmp_path):
    tokens = [default_model.encode(text) for text in ("I love it, it is wonderful", "I hate it, it is terrible")]
    with torch.no_grad():
        ends = [default_model.hf(torch.tensor([ids]), output_hidden_states=True).hidden_states[16][0, -1] for ids in tokens]
    assert torch.allclose(mood[15], ends[0] - ends[1], atol=1e-3)
    expected = default_model.logits(PROMPT, mood)
    for name in ("mood.safetensors", "mood.gguf"):
        mood.save(tmp_path / name)
        back = SteeringVector.load(tmp_path / name)
        assert torch.equal(back[15], mood[15])
        assert back.provenance == mood.provenance
        assert torch.allclose(default_model.logits(PROMPT, back), expected, atol=1e-4)  # and nobody is warned of other weights


def test_a_conversation_goes_through_the_chat_template(default_model):
    asked = default_model.generate("What is the capital of France?", chat=True, max_new_tokens=12)
    assert "Paris" in str(asked)
    assert "<|im_start|>" in default_model.tokenizer.decode(asked.prompt_tokens)
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    assert default_model.generate(messages, max_new_tokens=12).tokens == asked.tokens
    assert default_model.generate([messages, messages], max_new_tokens=2)[1].tokens == asked.tokens[:2]


def test_stop_strings_end_each_row_where_it_should(default_model):
    prompts = ["One, two, three,", "The days of the week are Monday, Tuesday, Wednesday,"]
    free = default_model.generate(prompts, max_new_tokens=8)
    stopped = default_model.generate(prompts, max_new_tokens=8, stop_strings=[" five", ","])
    for one, other in zip(free, stopped, strict=True):
        first = next(n for n in range(1, 9) if any(s in default_model.tokenizer.decode(one.tokens[:n]) for s in (" five", ",")))
        assert other.tokens == one.tokens[:first]


def test_a_stream_on_the_default_model(default_model, mood):
    expected = default_model.generate(PROMPT, mood, max_new_tokens=8)
    stream = default_model.stream(PROMPT, mood, max_new_tokens=8)
    pieces = list(stream)
    assert "".join(pieces) == str(expected)
    assert len(pieces) == 8
    assert stream.result.tokens == expected.tokens
    assert stream.result.kl == pytest.approx(expected.kl)


def test_a_stream_holds_back_half_a_character(default_model):
    stream = default_model.stream("Repeat: 🎉🎉🎉🎉🎉🎉🎉🎉", max_new_tokens=6)
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(list(stream)[:-1])


def test_a_streamer_of_transformers(default_model):
    from transformers import TextStreamer

    class Kept(TextStreamer):
        def on_finalized_text(self, text, stream_end=False):
            kept.append(text)

    kept: list[str] = []
    made = default_model.generate(PROMPT, max_new_tokens=5, streamer=Kept(default_model.tokenizer, skip_prompt=True))
    assert "".join(kept) == str(made)


# ---- what is refused


def test_prompts_that_can_not_be_continued():
    model = tiny_model("llama")
    for prompt, message in [([], "empty"), ([[1, 2], []], "empty"), ([1] * 60, "are more than llama takes, 64"), ([100], "token 100")]:
        with pytest.raises(PromptError, match=message):
            model.generate(prompt, max_new_tokens=10)
    with pytest.raises(PromptError, match="has no chat template"):
        model.generate([{"role": "user", "content": "hello"}])
    with pytest.raises(PromptError, match="A stream continues one prompt"):
        model.stream(torch.tensor([[1, 2], [3, 4]]))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_new_tokens": 0}, PatchError, "max_new_tokens=0 is not possible"),
        ({"max_new_tokens": -1}, PatchError, "max_new_tokens=-1 is not possible"),
        ({"temperature": -1.0}, PatchError, r"temperature=-1\.0 is not possible"),
        ({"temperature": math.inf}, PatchError, "temperature=inf is not possible"),
        ({"temperature": math.nan}, PatchError, "temperature=nan is not possible"),
        ({"stop_strings": ["."]}, PromptError, "no tokenizer to look for stop_strings"),
        ({"foo": 1}, PatchError, "There is no option 'foo'"),
        ({"top_pp": 0.5}, PatchError, "Did you mean top_p"),
    ],
)
def test_options_that_can_not_be(options, error, message):
    model = tiny_model("llama")
    for ask in (model.generate, model.stream):  # a stream tells it before it is iterated
        with pytest.raises(error, match=message):
            ask([1, 2], **options)


def test_options_of_transformers_are_taken():
    model = tiny_model("llama")
    processors = [SuppressTokensLogitsProcessor(list(range(3, 99)), device="cpu")]
    made = model.generate([5, 6], max_new_tokens=3, top_k=4, num_return_sequences=2, temperature=0.7, logits_processor=processors, seed=0)
    assert all(token < 3 for one in made for token in one.tokens)


def test_conversations_that_are_none(default_model):
    for messages in ([{"who": "user", "content": "hello"}], [{"role": "user", "content": "hello"}, {"role": "user"}]):
        with pytest.raises(PromptError, match="is no message of a conversation"):
            default_model.generate(messages)
    tokenizer = copy.copy(default_model.tokenizer)
    tokenizer.chat_template = "{{ raise_exception('Roles must alternate') }}"
    with pytest.raises(PromptError, match="refuses the conversation: Roles must alternate"):
        pw.wrap(default_model.hf, tokenizer).generate("hello", chat=True)


@pytest.mark.parametrize("strength", [1e38, -3e38])
def test_a_strength_that_is_too_great_is_told(strength):
    model = tiny_model("llama")
    steer = Steer(SteeringVector({1: torch.ones(32)}), strength)
    for ask in (
        lambda: model.generate([1, 2], steer),
        lambda: model.generate([1, 2], steer, temperature=1.0),
        lambda: model.generate([[1, 2], [3]], steer, num_beams=2),
        lambda: list(model.stream([1, 2], steer)),
        lambda: model.logits([1, 2], steer),
        lambda: Generation(model, [1, 2], [3], (steer,)).kl,
    ):
        with pytest.raises(ModelError, match=r"logits are (not finite|all the same) at this strength.*Lower the strength"):
            ask()
    assert len(model.generate([1, 2], max_new_tokens=2, eos_token_id=None).tokens) == 2
    model.hf.lm_head.weight.data[3] = math.nan
    with pytest.raises(ModelError, match="a weight is NaN"):
        model.generate([1, 2])


def test_models_that_do_not_continue_texts():
    training = tiny_model("llama")
    training.hf.train()
    with pytest.raises(ModelError, match="training mode"):
        training.generate([1, 2])
    plain = pw.wrap(tiny_module("llama").model)
    with pytest.raises(ModelError, match="does not generate"):
        plain.generate([1, 2])
