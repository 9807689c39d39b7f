"""Third-party numbers: TransformerLens's own sweeps on the same weights (see `made_with` in the files)."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

import patchwidget as pw
from tests.zoo import REFERENCE

GRIDS = {
    "resid_pre": ("resid_pre", "each"),
    "resid_mid": ("resid_mid", "each"),
    "attn_out": ("attn_out", "each"),
    "mlp_out": ("mlp_out", "each"),
    "attn_head_out_all_pos": ("z", "all"),
    "attn_head_out_by_pos": ("z", "each"),
    "attn_head_q_all_pos": ("q", "all"),
    "attn_head_q_by_pos": ("q", "each"),
    "attn_head_k_all_pos": ("k", "all"),
    "attn_head_k_by_pos": ("k", "each"),
    "attn_head_v_all_pos": ("v", "all"),
    "attn_head_v_by_pos": ("v", "each"),
    "attn_head_pattern_all_pos": ("pattern", "all"),
    "attn_head_pattern_by_pos": ("pattern", "each"),
    "attn_head_pattern_dest_src_pos": ("pattern", "entries"),
}


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def reference(request):
    folder = REFERENCE / request.param
    numbers = json.loads((folder / "transformerlens.json").read_text())
    model = pw.wrap(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), name=request.param)
    pair = pw.PromptPair(numbers["clean"], numbers["corrupted"], numbers["answer"], numbers["distractor"])
    return pw.Experiment(model, pair), numbers


def test_baselines(reference):
    experiment, numbers = reference
    assert experiment.baselines.clean == pytest.approx(numbers["clean_logit_diff"], abs=2e-4)
    assert experiment.baselines.corrupted == pytest.approx(numbers["corrupted_logit_diff"], abs=2e-4)


@pytest.mark.parametrize("executor", ["packed", "hooked"])
@pytest.mark.parametrize("grid", GRIDS)
def test_grids(reference, grid, executor):
    experiment, numbers = reference
    site, positions = GRIDS[grid]
    result = experiment.sweep(site, positions=positions, executor=executor)
    np.testing.assert_allclose(result.values, numbers["grids"][f"get_act_patch_{grid}"], atol=2e-4)


def test_the_copies_are_the_originals():
    original = Path(__file__).parents[4] / "shared" / "reference"
    if not original.exists():
        return
    for file in REFERENCE.glob("*/transformerlens.json"):
        assert file.read_bytes() == (original / file.relative_to(REFERENCE)).read_bytes()
