"""A small model of random weights with a tokenizer of words, for the mechanics: as code, so that a notebook's kernel can make it too."""

CODE = """
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

import patchwidget as pw

WORDS = "<s> A When and John Mary Tom Ann went to the store gave a drink old man Mar iam"
pieces = [piece for word in WORDS.split() for piece in (word, " " + word)]
words = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token="<s>"))
words.pre_tokenizer = pre_tokenizers.Split(Regex(" ?(?:Mar(?=iam)|[A-Za-z<>]+)"), "isolated")
torch.manual_seed(0)
config = GPT2Config(
    n_layer=3, n_head=2, n_embd=16, vocab_size=len(pieces), n_positions=512, initializer_range=0.5, bos_token_id=0, eos_token_id=0
)
model = pw.wrap(GPT2LMHeadModel(config).eval(), PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<s>"), name="small")
pair = pw.PromptPair("When John and Mary went to the store", "When Tom and Mary went to the store", answer=" Mary", distractor=" John")
"""


def small() -> tuple:
    """The model and a pair."""
    names: dict = {}
    exec(CODE, names)
    return names["model"], names["pair"]
