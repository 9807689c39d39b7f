"""Whatever is asked for: the packed executor gives what the hooked one gives."""

from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import patchwidget as pw
from patchwidget.engine.sites import SITES
from tests.zoo import CLEAN, EXPERTS, PACKED, PARALLEL, telling_pair, tiny_model

LENGTH = len(CLEAN)
OTHER = [54, 12, 9, 31, 81, 66, 2, 25, 45, 13, 39, 71]
HEADS = {"z", "q", "pattern", "k_per_head", "v_per_head"}
SOURCES = [None, "clean", "corrupted", "zero", pw.Noise(1.0), pw.Resample(OTHER), pw.Mean([CLEAN, OTHER])]


@cache
def experiment_on(architecture: str, direction: str) -> pw.Experiment:
    model = tiny_model(architecture)
    return pw.Experiment(model, telling_pair(model), direction=direction)


@st.composite
def sweeps(draw: st.DrawFn, architecture: str) -> tuple[str, str, dict]:
    missing = {"resid_mid"} if architecture in PARALLEL else {"mlp_post"} if architecture in EXPERTS else set()
    site = draw(st.sampled_from([site for site in SITES if site not in missing]))
    some = st.lists(st.integers(0, LENGTH - 1), min_size=1, max_size=4, unique=True)
    spans = st.lists(some, min_size=1, max_size=2)
    options = {
        "positions": draw(st.sampled_from(["each", "all"]) | some | spans),
        "layers": draw(st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True)),
        "source": draw(st.sampled_from(SOURCES)),
        "operator": draw(st.sampled_from(["replace", "replace", "add"])),
        "window": draw(st.sampled_from([1, 1, 2, 3])),
    }
    if site in HEADS:
        options["heads"] = draw(st.sampled_from([[0], [1, 3], [[0, 2], [3]]]))
    if site == "mlp_post":
        options["neurons"] = draw(st.sampled_from([[0, 63], [[1, 2, 3], list(range(64))]]))
    return draw(st.sampled_from(["denoise", "noise"])), site, options


@pytest.mark.filterwarnings("ignore:What is put into pattern has weight")
@pytest.mark.parametrize("architecture", PACKED)
@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_packed_equals_hooked(architecture, data):
    direction, site, options = data.draw(sweeps(architecture))
    experiment = experiment_on(architecture, direction)
    packed, hooked = (experiment.sweep(site, executor=executor, progress=False, **options) for executor in ("packed", "hooked"))
    size = max(abs(packed.clean - packed.corrupted), float(abs(hooked.values - hooked.corrupted).max()))
    np.testing.assert_allclose(packed.values, hooked.values, atol=1e-4 * size)
    assert packed.ok, packed.checks
