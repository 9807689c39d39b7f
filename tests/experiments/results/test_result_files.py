"""Results on disk, compared and drawn."""

import json
import os
import stat
import zipfile

import numpy as np
import pytest
import xarray as xr

import patchwidget as pw
from patchwidget import whole_files
from patchwidget.experiments.results import result_files
from patchwidget.experiments.results.data import EXACT
from patchwidget.experiments.results.result import PatchResult
from tests.zoo import CLEAN, CORRUPTED, telling_pair, tiny_experiment, tiny_model


@pytest.fixture(scope="module")
def result():
    return tiny_experiment(metric=["logit_diff", "prob"]).sweep("resid_pre")


def same(one: PatchResult, other: PatchResult) -> None:
    xr.testing.assert_identical(one.values, other.values)
    for run in ("clean", "corrupted"):
        np.testing.assert_array_equal(getattr(one, run), getattr(other, run))
    np.testing.assert_array_equal(one.state, other.state)
    assert one.checks == other.checks
    assert one.noise == other.noise
    assert result_files.plain(one.info) == other.info
    assert list(one.others) == list(other.others)
    np.testing.assert_array_equal(one.recovery, other.recovery)
    assert one.to_frame().equals(other.to_frame())


def test_what_is_saved_is_what_is_opened(result, tmp_path):
    path = result.save(tmp_path / "grid.pw")
    opened = pw.open_result(path)
    same(result, opened)
    same(result["prob"], opened["prob"])
    assert opened.code() == result.code()
    assert opened.ok


def test_results_of_all_kinds(tmp_path):
    model = tiny_model()
    experiment = pw.Experiment(model, [telling_pair(model), telling_pair(model, CLEAN[:8], CORRUPTED[:8])])
    for made in (
        experiment.sweep("resid_pre"),
        experiment.sweep("z", positions=[[3, 4], [7]]),
        experiment.patch([pw.Patch("z", layer=1, head=2), pw.Patch("mlp_out", layer=0, pos=3)]),
        tiny_experiment().patch(pw.Patch("z", layer=1, source=pw.Noise(2.0))),
        experiment.sweep("z", positions="all", source=np.float32(0.0).item()),
    ):
        same(made, pw.open_result(made.save(tmp_path / "result")))
    assert pw.open_result(experiment.sweep("resid_pre").save(tmp_path / "set")).info["tokens_by_pair"] == [
        [str(token) for token in tokens] for tokens in (CORRUPTED, CORRUPTED[:8])
    ]


def test_a_file_cut_short(result, tmp_path):
    path = result.save(tmp_path / "grid.pw")
    whole = path.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(pw.PatchError, match="cut short, damaged or something else"):
            pw.open_result(path)
    path.write_bytes(whole[: len(whole) // 3] + b"xxxx" + whole[len(whole) // 3 + 4 :])
    with pytest.raises(pw.PatchError, match="cut short, damaged"):
        pw.open_result(path)


def test_a_crash_in_the_middle_leaves_the_old_file(result, tmp_path, monkeypatch):
    path = result.save(tmp_path / "grid.pw")
    before = path.read_bytes()

    def crash(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole_files.os, "fsync", crash)
    with pytest.raises(pw.PatchError, match="can't be written: No space left"):
        tiny_experiment().sweep("z", positions="all").save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["grid.pw"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_permissions_are_those_of_the_users_other_files(result, tmp_path):
    before = os.umask(0o027)
    try:
        path = result.save(tmp_path / "grid.pw")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o664)
        result.save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o664
        path.chmod(0o444)
        with pytest.raises(pw.PatchError, match="is write-protected"):
            result.save(path)
    finally:
        os.umask(before)


def test_only_plain_files_are_replaced(result, tmp_path):
    (tmp_path / "far").mkdir()
    link, target = tmp_path / "link.pw", tmp_path / "far" / "grid.pw"
    link.symlink_to(target)
    for _ in range(2):  # a link to nothing, and one to a file
        result.save(link)
        assert link.is_symlink()
        same(pw.open_result(target), result)
    assert [file.name for file in target.parent.iterdir()] == ["grid.pw"]
    os.mkfifo(tmp_path / "pipe")
    for strange in (tmp_path / "pipe", tmp_path / "far"):
        with pytest.raises(pw.PatchError, match="is no plain file"):
            result.save(strange)


def rewritten(path, change):
    with zipfile.ZipFile(path) as file:
        content = {name: file.read(name) for name in file.namelist()}
    header = json.loads(content["header.json"])
    change(header)
    content["header.json"] = json.dumps(header).encode()
    with zipfile.ZipFile(path, "w") as file:
        for name, data in content.items():
            file.writestr(name, data)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda header: header.update(version=2), "of version 2 of the format, and this patchwidget knows version 1"),
        (lambda header: header.update(format="notes"), "no result of patchwidget"),
        (lambda header: header.update(signature="x"), "has signature, which this patchwidget does not know"),
        (lambda header: header["results"][""].update(units="nats"), "has units, which this patchwidget does not know"),
        (lambda header: header["results"][""].pop("dims"), "cut short, damaged or something else"),
        (lambda header: header.update(results={}), "it holds no result"),
        (lambda header: header.update(results=["x"]), "it holds no result"),
    ],
)
def test_what_is_not_known_is_refused(result, tmp_path, change, match):
    path = result.save(tmp_path / "grid.pw")
    rewritten(path, change)
    with pytest.raises(pw.PatchError, match=match):
        pw.open_result(path)


def test_no_such_place(result, tmp_path):
    with pytest.raises(pw.PatchError, match="can't be read: No such file"):
        pw.open_result(tmp_path / "nothing")
    with pytest.raises(pw.PatchError, match="can't be written: No such file"):
        result.save(tmp_path / "nowhere" / "grid.pw")


def test_compare():
    exact, zero = (tiny_experiment().sweep("resid_pre", source=source) for source in (None, "zero"))
    compared = pw.compare([exact, zero])
    assert list(compared.effects) == ["clean", "zero"]
    np.testing.assert_allclose(compared.difference, zero.effect - exact.effect, atol=1e-6)
    assert compared.agreement.loc["clean", "clean"] == pytest.approx(1)
    top = compared.top(3)
    assert float(top["apart"][0]) == pytest.approx(float(abs(compared.difference).max()), abs=1e-6)
    assert len(compared.plot().data) == 2
    assert "rank correlation" in repr(compared)
    part = pw.compare({"whole": exact, "part": tiny_experiment().sweep("resid_pre", layers=[1, 2])})
    assert part.to_frame().shape == (24, 4)
    bars = [tiny_experiment(direction=direction).sweep("mlp_out", positions="all") for direction in ("denoise", "noise")]
    assert [trace.type for trace in pw.compare(bars).plot().data] == ["bar", "bar"]
    one, other = (tiny_experiment().patch(pw.Patch("resid_post", layer=layer, pos=4)) for layer in (0, 3))
    single = pw.compare([one, other])
    assert single.to_frame().iloc[0].tolist() == pytest.approx([float(one.effect), float(other.effect)])
    assert single.top()["apart"].tolist() == pytest.approx([abs(float(one.effect - other.effect))])
    assert "Comparison of" in repr(single)
    with pytest.raises(pw.PatchError, match="at least two"):
        pw.compare([exact])
    with pytest.raises(pw.PatchError, match="different axes"):
        pw.compare([exact, bars[0]])
    with pytest.raises(pw.PatchError, match="no cell in common"):
        pw.compare([tiny_experiment().sweep("resid_pre", layers=[0]), tiny_experiment().sweep("resid_pre", layers=[1])])


def of_shape(dims, sizes, coords=None, pairs=0):
    random = np.random.default_rng(0)
    dims, sizes = (("pair", *dims), (pairs, *sizes)) if pairs else (dims, sizes)
    labels = {dim: list(range(n)) for dim, n in zip(dims, sizes, strict=True)} | (coords or {})
    values = xr.DataArray(random.normal(1, 0.3, sizes).astype(np.float32), dims=dims, coords=labels)
    ends = (xr.DataArray(np.full(pairs, end), dims="pair") if pairs else end for end in (2.0, 0.0))
    return PatchResult(
        values, *ends, np.full(sizes, EXACT, np.uint8), [], 1e-6, {"direction": "denoise", "site": "z", "metric": "logit_diff"}
    )


def test_every_kind_of_plot():
    levels = {"0", "1"}

    def lines(figure):
        return {f"{shape.y0:g}" for shape in figure.layout.shapes if shape.y0 == shape.y1}

    bars = of_shape(("layer",), (5,)).plot()
    assert bars.data[0].type == "bar"
    assert lines(bars) == levels
    heat = of_shape(("layer", "head"), (3, 4), pairs=8).plot()
    assert heat.data[0].type == "heatmap"
    assert heat.data[1].marker.symbol == "square-open"
    assert len(heat.data[1].x) == 12  # every planted cell is significant
    assert len(of_shape(("layer", "head"), (3, 4), pairs=8).plot(significant=False).data) == 1
    ranks = of_shape(("layer", "neuron"), (2, 50)).plot()
    assert ranks.layout.xaxis.type == "log"
    assert np.all(np.diff(np.abs(ranks.data[0].y)) <= 0)
    assert len(ranks.data[0].y) == 100
    assert lines(ranks) == levels
    dose = of_shape(("strength",), (4,), {"strength": [0.0, 0.5, 1.0, 2.0]}, pairs=3).plot()
    assert dose.data[0].mode == "lines+markers"
    assert list(dose.data[0].x) == [0.0, 0.5, 1.0, 2.0]
    assert dose.data[0].error_y.array is not None
    assert lines(dose) == levels
    assert len(of_shape(("layer", "strength"), (3, 4)).plot().data) == 3
    assert of_shape(("layer", "pos", "head"), (2, 3, 4)).plot().data[0].z.shape == (2, 3)
    assert of_shape(("layer", "head"), (3, 4)).plot(kind="ranks").data[0].type == "scatter"
    assert of_shape(("layer", "head"), (3, 4)).plot(kind="bars").data[0].type == "bar"
    for made, kind, match in [
        (of_shape(("layer",), (5,)), "heat", "A heat map has two axes"),
        (of_shape(("layer",), (5,)), "dose", "needs an axis 'strength'"),
        (of_shape(("layer",), (5,)), "pie", "no plot of kind 'pie'"),
        (of_shape((), ()), "auto", "nothing to draw"),
    ]:
        with pytest.raises(pw.PatchError, match=match):
            made.plot(kind)
