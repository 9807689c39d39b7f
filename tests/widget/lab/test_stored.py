"""What stays when the kernel has gone: the stored trait, the file, the picture."""

import base64
import json
import re
import struct
import zlib

import numpy as np
import pytest

from patchwidget.widget.lab import static_image as picture_module
from patchwidget.widget.lab.static_image import colour, picture_of, png_of
from patchwidget.widget.transport.html_export import as_stored
from tests.widget.fakes import FakeExperiment, Gate
from tests.widget.page import unpacked


def opened(stored):
    """A stored state as a page reads it."""
    return unpacked(stored["content"], [base64.b64decode(buffer) for buffer in stored["buffers"]])


def test_the_stored_trait_holds_what_was_measured(open_lab):
    lab, page = open_lab()
    assert lab.stored is None
    page.hello()
    heads = page.over(page.heads(1, 2))["view"]
    lab.wait(timeout=20.0)
    stored = opened(lab.stored)
    assert (stored["type"], stored["seq"], stored["lab"]["live"]) == ("hello", 0, False)
    assert [view["id"] for view in stored["views"]] == ["v1", heads]
    assert stored["lab"]["current"] == heads
    assert stored["views"][0]["values"].tolist() == [0, 1, 2, 3, 4, 5]
    assert not any(view["kept"] for view in stored["views"])
    sent = [data["state"]["stored"] for _, data, _, _ in page.comm.sent if "stored" in data.get("state", {})]
    assert sent[-1] == lab.stored


def test_the_stored_trait_is_bounded_and_keeps_what_is_at_hand(open_lab):
    lab, page = open_lab(FakeExperiment(tokens=tuple(f"t{n}" for n in range(1500)), cells_per_batch=5000))
    page.hello()
    for pos in range(12):
        page.over(page.heads(1, pos))
    for layer in range(2):
        page.over(page.request("positions", site="z", layer=layer))
        page.over(page.request("positions", site="q", layer=layer))
    lab.wait(timeout=20.0)
    assert len(json.dumps(lab.stored)) < 300_000
    stored = opened(lab.stored)
    assert stored["lab"]["current"] == page.lab_state["current"]
    assert 1 < len(stored["views"]) < len(page.lab_state["views"])


def test_nothing_is_stored_of_a_grid_beyond_all_bounds(open_lab):
    lab, page = open_lab(FakeExperiment(tokens=tuple(f"t{n}" for n in range(20_000)), cells_per_batch=50_000))
    page.hello()
    lab.wait(timeout=20.0)
    assert lab.status == "done"
    assert lab.stored is None


def test_the_file_holds_all_and_asks_for_nothing(open_lab, tmp_path):
    lab, page = open_lab(FakeExperiment(tokens=("A", "</script><script>alert(1)</script>", " to")))
    page.hello()
    for pos in range(3):
        page.over(page.heads(1, pos))
    lab.wait(timeout=20.0)
    path = lab.to_html(tmp_path / "lab.html")
    text = path.read_text()
    assert "alert(1)</script>" not in text
    stored = json.loads(re.search(r'<script type="application/json" id="stored">(.*?)</script>', text, re.DOTALL)[1])
    assert len(opened(stored)["views"]) == 4
    assert not re.search(r'(src|href)="http', text)
    assert json.loads(re.search(r'id="module">(.*?)</script>', text, re.DOTALL)[1]) == lab._esm


def test_a_file_of_nothing_yet_is_written_too(open_lab, tmp_path):
    gate = Gate("resid_pre")
    lab, page = open_lab(FakeExperiment(before_batch=gate))
    page.hello()
    gate.arrive()
    assert lab.to_html(tmp_path / "lab.html").exists()
    gate.open()
    assert lab.wait(timeout=20.0)


def test_stored_buffers_are_those_of_a_message(open_lab):
    lab, page = open_lab()
    page.hello()
    lab.wait(timeout=20.0)
    stored = as_stored(lab._session.stored())
    first = np.frombuffer(base64.b64decode(stored["buffers"][0]), "<f4")
    assert first.tolist() == [0, 1, 2, 3, 4, 5]


# ---- the picture


def test_the_picture_is_displayed_with_the_widget_and_drawn_when_the_grid_is_done(open_lab, monkeypatch):
    told = []
    monkeypatch.setattr(picture_module, "publish_display_data", lambda data, *rest, **more: told.append((data, more)))
    monkeypatch.setattr(picture_module, "display", lambda data, **more: told.append((data, more)))
    lab, _ = open_lab()
    lab._ipython_display_()
    lab.wait(timeout=20.0)
    assert "application/vnd.jupyter.widget-view+json" in told[0][0]
    assert told[1] == ({"text/html": ""}, {"raw": True, "display_id": lab.model_id})
    data, more = told[-1]
    assert more == {"transient": {"display_id": lab.model_id}, "update": True}
    assert f'class="patchwidget-picture" data-lab="{lab.model_id}"' in data["text/html"]
    assert "data:image/svg+xml;base64," in data["text/html"]


def test_a_lab_that_is_not_displayed_draws_none(open_lab, monkeypatch):
    monkeypatch.setattr(picture_module, "publish_display_data", lambda *rest, **more: pytest.fail("drawn"))
    lab, page = open_lab()
    page.hello()
    assert lab.wait(timeout=20.0)


def test_the_picture_names_what_it_shows(open_lab):
    lab, page = open_lab(FakeExperiment(tokens=("A", " <b>", " to")))
    page.hello()
    lab.wait(timeout=20.0)
    svg = picture_of(lab._session.main, repr(lab))
    for words in ("Recovery by layer and token", "PatchLab(tiny, resid_pre", "·&lt;b&gt;", "data:image/png;base64,"):
        assert words in svg


def test_colours_are_neutral_where_nothing_changes():
    recovery = np.array([-1, 0, 1, np.nan])
    white, red = [247, 247, 247], [178, 24, 43]
    assert colour(recovery, 1, 0).tolist() == [[33, 102, 172], white, red, white]
    assert colour(np.array([1.0, 2.0]), 1, 1).tolist() == [white, red]


def test_a_png_holds_its_pixels():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    data = png_of(image)
    assert data.startswith(b"\x89PNG")
    assert struct.unpack(">II", data[16:24]) == (4, 2)
    lines = zlib.decompress(data[data.index(b"IDAT") + 4 : data.index(b"IEND") - 8])
    assert lines == b"\0" + image[0].tobytes() + b"\0" + image[1].tobytes()
