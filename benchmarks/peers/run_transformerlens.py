"""TransformerLens: its own `transformer_lens.patching`, on the bridge to the Hugging Face model or on HookedTransformer.

Runs in the peers' environment: python -m benchmarks.peers.run_transformerlens FOLDER bridge|hooked
Weights are as they are in both: nothing folded, nothing centered.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
import torch
from transformer_lens import patching, utilities  # pyright: ignore[reportMissingImports]
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.peers.tasks import Measured, Task, measure, serve

# by site and by which of (pos, part) a cell has
SWEEPS: dict[tuple[str, bool, bool], Callable[..., torch.Tensor]] = {
    ("resid_pre", True, False): patching.get_act_patch_resid_pre,
    ("z", False, True): patching.get_act_patch_attn_head_out_all_pos,
    ("z", True, True): patching.get_act_patch_attn_head_out_by_pos,
    ("q", False, True): patching.get_act_patch_attn_head_q_all_pos,
    ("k", False, True): patching.get_act_patch_attn_head_k_all_pos,
    ("v", False, True): patching.get_act_patch_attn_head_v_all_pos,
    # it has no ready sweep of neurons; a head's setter does the same on [batch, pos, neuron]
    ("mlp_post", True, True): partial(
        patching.generic_activation_patch, patch_setter=patching.layer_pos_head_vector_patch_setter, activation_name="post"
    ),
}
HOOKS = {"mlp_post": "post"}  # its own name of a site, where it differs


def main() -> None:
    folder, kind = sys.argv[1:]
    serve(lambda: start(folder, kind))


def start(folder: str, kind: str) -> Callable[[Task], Measured]:
    torch.set_grad_enabled(False)
    model = LOADERS[kind](folder)
    return partial(measure, partial(record, model), partial(patch, model))


def load_bridge(folder: str) -> Any:
    from transformer_lens.model_bridge import TransformerBridge  # pyright: ignore[reportMissingImports]

    return TransformerBridge.boot_transformers(folder, hf_model=load_hf(folder), tokenizer=AutoTokenizer.from_pretrained(folder))


def load_hooked(folder: str) -> Any:
    """`HookedTransformer.from_pretrained` knows models by name only, so this is put together as it would do it for a Llama."""
    from transformer_lens import HookedTransformer, HookedTransformerConfig  # pyright: ignore[reportMissingImports]
    from transformer_lens.pretrained.weight_conversions import convert_llama_weights  # pyright: ignore[reportMissingImports]

    hf = load_hf(folder)
    given = hf.config
    config = HookedTransformerConfig(
        n_layers=given.num_hidden_layers,
        d_model=given.hidden_size,
        n_heads=given.num_attention_heads,
        n_key_value_heads=given.num_key_value_heads,
        d_head=given.head_dim,
        d_mlp=given.intermediate_size,
        d_vocab=given.vocab_size,
        n_ctx=2048,  # its masks and rotary tables are of this size; what it takes for other Llamas
        eps=given.rms_norm_eps,
        act_fn=given.hidden_act,
        gated_mlp=True,
        normalization_type="RMS",
        final_rms=True,
        positional_embedding_type="rotary",
        rotary_dim=given.head_dim,
        rotary_base=given.rope_theta,
        rotary_adjacent_pairs=False,
        original_architecture="LlamaForCausalLM",
        device="cpu",
    )
    model = HookedTransformer(config)
    weights = convert_llama_weights(hf, config)
    model.load_and_process_state_dict(weights, fold_ln=False, center_writing_weights=False, center_unembed=False, fold_value_biases=False)
    return model


def load_hf(folder: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


LOADERS = {"bridge": load_bridge, "hooked": load_hooked}


def record(model: Any, task: Task) -> Any:
    names = {utilities.get_act_name(HOOKS.get(task.site, task.site), layer) for layer in task.layers}
    return model.run_with_cache(torch.tensor([task.clean]), names_filter=names.__contains__)[1]


def patch(model: Any, task: Task, cache: Any) -> list[float]:
    first = task.cells[0]
    sweep = SWEEPS[task.site, first.pos is not None, first.part is not None]
    index = pd.DataFrame([[axis for axis in cell if axis is not None] for cell in task.cells])
    return sweep(model, torch.tensor([task.corrupted]), cache, task.metric, index_axis_names=None, index_df=index).tolist()


if __name__ == "__main__":
    main()
