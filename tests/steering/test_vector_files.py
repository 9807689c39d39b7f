"""Vectors in files: everything comes back from safetensors, and control vectors are laid out as llama.cpp and repeng have them."""

import os

import numpy as np
import pytest
import torch
from gguf import GGUFReader, GGUFWriter
from safetensors.torch import save_file

from patchwidget import PatchError, SteeringVector
from patchwidget.steering import vector_files
from tests.steering.test_vector import NEGATIVE, POSITIVE
from tests.zoo import tiny_model


@pytest.fixture(scope="module")
def vector() -> SteeringVector:
    return SteeringVector.from_pairs(tiny_model("llama"), POSITIVE, NEGATIVE, layers=[1, 3], token_rule=(-2, None))


def same(a: SteeringVector, b: SteeringVector) -> bool:
    return a.layers == b.layers and all(torch.equal(a[layer], b[layer]) for layer in a.layers)


@pytest.mark.parametrize("name", ["v.safetensors", "v.gguf"])
def test_a_round_trip_keeps_everything(vector, tmp_path, name):
    vector.save(tmp_path / name)
    back = SteeringVector.load(tmp_path / name)
    assert same(back, vector)
    for field in ("site", "token_rule", "method", "residual_norms", "provenance"):
        assert getattr(back, field) == getattr(vector, field), field


def test_safetensors_says_what_it_holds(vector, tmp_path):
    from safetensors import safe_open

    vector.save(str(tmp_path / "v.safetensors"))
    with safe_open(tmp_path / "v.safetensors", "pt") as file:
        metadata = file.metadata()
        assert sorted(file.keys()) == ["layer.1", "layer.3"]
    assert {"site", "token_rule", "method", "norms", "residual_norms", "provenance"} <= set(metadata)
    for part in ("model", "weights", "date"):
        assert vector.provenance[part] in metadata["provenance"]


def test_a_vector_by_position_goes_into_safetensors_only(tmp_path):
    rows = SteeringVector({2: torch.randn(3, 4)}, "resid_pre", "positions", "actadd")
    rows.save(tmp_path / "v.safetensors")
    assert same(SteeringVector.load(tmp_path / "v.safetensors"), rows)
    with pytest.raises(PatchError, match="one per position"):
        rows.save(tmp_path / "v.gguf")


# ---- GGUF


def test_the_keys_of_a_control_vector(vector, tmp_path):
    vector.save(tmp_path / "v.gguf")
    reader = GGUFReader(tmp_path / "v.gguf")

    def text(key: str) -> str:
        return bytes(reader.get_field(key).parts[-1]).decode()

    assert text("general.architecture") == "controlvector"
    assert text("controlvector.model_hint") == "llama"
    assert int(reader.get_field("controlvector.layer_count").parts[-1][0]) == 2
    # the number is that of the block whose output it is added to, counted from 0
    assert {tensor.name: tensor.data.tolist() for tensor in reader.tensors} == {
        "direction.1": vector[1].tolist(),
        "direction.3": vector[3].tolist(),
    }
    assert all(tensor.tensor_type.name == "F32" and len(tensor.shape) == 1 for tensor in reader.tensors)


def test_what_enters_a_block_leaves_the_one_before(tmp_path):
    SteeringVector({3: torch.ones(4)}, "resid_pre").save(tmp_path / "v.gguf")
    assert [tensor.name for tensor in GGUFReader(tmp_path / "v.gguf").tensors] == ["direction.2"]
    back = SteeringVector.load(tmp_path / "v.gguf")
    assert (back.site, back.layers) == ("resid_pre", [3])


def test_what_llama_cpp_can_not_hold_is_refused(tmp_path):
    with pytest.raises(PatchError, match="begin with the second block"):
        SteeringVector({0: torch.ones(4)}).save(tmp_path / "v.gguf")
    with pytest.raises(PatchError, match="lives at mlp_out"):
        SteeringVector({1: torch.ones(4)}, "mlp_out").save(tmp_path / "v.gguf")
    assert not (tmp_path / "v.gguf").exists()


def test_a_control_vector_of_others_is_read(tmp_path):
    writer = GGUFWriter(tmp_path / "v.gguf", "controlvector")  # as llama.cpp's cvector-generator
    writer.add_string("controlvector.model_hint", "qwen2")
    writer.add_uint32("controlvector.layer_count", 1)
    writer.add_tensor("direction.5", np.arange(4, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    vector = SteeringVector.load(tmp_path / "v.gguf")
    assert (vector.site, vector.layers, vector[5].tolist()) == ("resid_post", [5], [0, 1, 2, 3])
    assert vector.provenance["model_type"] == "qwen2"


def test_a_round_trip_through_repeng(vector, tmp_path, monkeypatch):
    monkeypatch.setattr(np, "float_", np.float64, raising=False)  # repeng 0.4 names it, and numpy 2 has it no more
    repeng = pytest.importorskip("repeng")
    vector.save(tmp_path / "ours.gguf")
    theirs = repeng.ControlVector.import_gguf(tmp_path / "ours.gguf")
    assert theirs.model_type == "llama"
    assert {layer: direction.tolist() for layer, direction in theirs.directions.items()} == {
        layer: vector[layer].tolist() for layer in vector.layers
    }
    theirs.export_gguf(tmp_path / "theirs.gguf")
    back = SteeringVector.load(tmp_path / "theirs.gguf")
    assert same(back, vector)
    assert same(SteeringVector.of(theirs), vector)
    assert back.site == "resid_post"


def test_repeng_steers_the_same_layer(vector, monkeypatch):
    """Its layer N is our resid_post of layer N: both give the same logits."""
    monkeypatch.setattr(np, "float_", np.float64, raising=False)
    repeng = pytest.importorskip("repeng")
    model, prompt = tiny_model("llama"), torch.tensor([POSITIVE[2]])
    ours = model.logits(POSITIVE[2], vector)
    control = repeng.ControlModel(model.hf, [1, 3])
    control.set_control(repeng.ControlVector("llama", {layer: vector[layer].numpy() for layer in vector.layers}), 1.0)
    with torch.no_grad():
        theirs = control(prompt).logits[0]
    control.unwrap()
    # it adds nothing at what it takes for padding, which is not what is compared here
    assert torch.allclose(ours, theirs, atol=1e-3)


# ---- what is not a vector


def test_files_that_are_none(tmp_path):
    (tmp_path / "text.safetensors").write_text("no tensors at all")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF\x03\x00\x00\x00" + b"\xff" * 40)
    (tmp_path / "empty.gguf").write_bytes(b"")
    save_file({"layer.1": torch.ones(3)}, tmp_path / "weights.safetensors")
    writer = GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    for name in ("text.safetensors", "broken.gguf", "empty.gguf", "weights.safetensors", "model.gguf"):
        with pytest.raises(PatchError, match=f"{name} is not a steering vector"):
            SteeringVector.load(tmp_path / name)
    with pytest.raises(PatchError, match="There is no file"):
        SteeringVector.load(tmp_path / "nowhere.gguf")
    with pytest.raises(PatchError, match="name end in"):
        SteeringVector({1: torch.ones(3)}).save(tmp_path / "v.pt")


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("v.safetensors", "residual_norms", [1.0]),
        ("v.safetensors", "residual_norms", {"x": 1.0}),
        ("v.safetensors", "residual_norms", {"1": "x"}),
        ("v.safetensors", "site", 3),
        ("v.safetensors", "method", None),
        ("v.safetensors", "provenance", "me"),
        ("v.gguf", "token_rule", 2),
    ],
)
def test_what_it_says_of_itself_is_damaged(tmp_path, name, field, value):
    vector_files.write(tmp_path / name, vector_files.Stored({1: torch.ones(3)}, {"site": "resid_post", field: value}))
    with pytest.raises(PatchError, match=rf"{name} is not a steering vector: what it says of itself is damaged \({field}\)"):
        SteeringVector.load(tmp_path / name)


@pytest.mark.parametrize("name", ["v.safetensors", "v.gguf"])
def test_a_file_is_replaced_at_once_or_not(vector, tmp_path, monkeypatch, name):
    with pytest.raises(PatchError, match="can't be written: No such file"):
        vector.save(tmp_path / "nowhere" / name)
    vector.save(tmp_path / name)
    before = (tmp_path / name).read_bytes()
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(PatchError, match="No space left"):
        (2 * vector).save(tmp_path / name)
    assert (tmp_path / name).read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_file_with_nan_is_refused(tmp_path):
    good = SteeringVector({1: torch.ones(3)})
    good.vectors[1][0] = float("nan")  # it was fine when it was made
    good.save(tmp_path / "v.safetensors")
    with pytest.raises(PatchError, match="not finite"):
        SteeringVector.load(tmp_path / "v.safetensors")
